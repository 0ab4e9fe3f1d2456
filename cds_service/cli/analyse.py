"""``scanhook analyse DIR``: the pipeline on a folder, without any server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from inference.analysis import Analysis, ModelResult, Outcome
from inference.errors import InferenceError
from inference.limits import Limits
from inference.pipeline import analyse
from models.registry import load_registry

WORDS = {
    Outcome.FINDING: "possible finding",
    Outcome.NO_FINDING: "no finding",
    Outcome.INDETERMINATE: "indeterminate",
    Outcome.NOT_ANALYSED: "not analysed",
}


@click.command(name="analyse")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on the standard output.")
@click.option(
    "--png", type=click.Path(path_type=Path, file_okay=False), help="Write pictures here."
)
@click.option(
    "--models-dir",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A further folder of model packages.",
)
def command(folder: Path, as_json: bool, png: Path | None, folders: tuple[Path, ...]) -> None:
    """Analyse the DICOM files under FOLDER, which hold one study.

    Exit 0 if an answer was computed or it is known why there is none, 1 if the study cannot be
    read, 3 if there is nothing to read.
    """
    files = _files(folder)
    if not files:
        raise NotThere(f"there is no file under {folder}")
    console = Console(stderr=True)
    try:
        analysis = analyse(_read(files, console), load_registry(folders), Limits())
    except InferenceError as error:
        click.echo(f"scanhook: {error.sentence} ({error.kind})", err=True)
        raise SystemExit(EXIT_BAD_ANSWER) from None
    if png is not None:
        _write_pictures(analysis, png)
    if as_json:
        click.echo(json.dumps(as_values(analysis), indent=2))
    else:
        _print(analysis)


def _files(folder: Path) -> Sequence[Path]:
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def _read(files: Sequence[Path], console: Console) -> Iterator[bytes]:
    quiet = not console.is_terminal
    for path in track(files, "reading", console=console, transient=True, disable=quiet):
        yield path.read_bytes()


def as_values(analysis: Analysis) -> dict[str, Any]:
    """Analysis -> JSON values, without the patient's identity and without pictures."""
    return {
        "outcome": str(analysis.outcome),
        "instance_digest": analysis.instance_digest,
        "results": [_result_values(result) for result in analysis.results],
        "series": [
            {
                "series_number": series.series_number,
                "modality": series.modality,
                "used": series.used,
                "instances": series.instances,
                "reasons": [{"kind": r.kind, "sentence": r.sentence} for r in series.reasons],
            }
            for series in analysis.series
        ],
        "models_not_run": [
            {
                "model": use.model_id,
                "version": use.model_version,
                "reasons": [{"kind": r.kind, "sentence": r.sentence} for r in use.reasons],
            }
            for use in analysis.models_not_run
        ],
        "steps_ms": {step: round(ms, 1) for step, ms in analysis.steps_ms.items()},
    }


def _result_values(result: ModelResult) -> dict[str, Any]:
    explanation = result.explanation
    return {
        "model": result.model_id,
        "version": result.model_version,
        "sha256": result.model_sha256,
        "precision": result.precision,
        "outcome": str(result.outcome),
        "finding": result.finding.key if result.finding else None,
        "probabilities": {p.key: round(p.probability, 4) for p in result.probabilities},
        "gates": [
            {
                "gate": gate.gate,
                "passed": gate.passed,
                "kind": gate.kind,
                "sentence": gate.sentence,
                "value": gate.value,
                "limit": gate.limit,
            }
            for gate in result.gates
        ],
        "slices": len(result.slices),
        "slices_used": list(result.slices_used),
        "deciding_slice": result.deciding_slice,
        "explanation": explanation
        and {
            "method": explanation.method,
            "label": explanation.label_key,
            "slice": explanation.slice_number,
            "deletion_drop": explanation.deletion_drop,
        },
    }


def _write_pictures(analysis: Analysis, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(analysis.results, start=1):
        if result.explanation is None:
            continue
        stem = f"{result.model_id}-{number}"
        (folder / f"{stem}-image.png").write_bytes(result.explanation.image_png)
        (folder / f"{stem}-overlay.png").write_bytes(result.explanation.overlay_png)
        (folder / f"{stem}-figure.png").write_bytes(result.explanation.figure_png)


def _print(analysis: Analysis) -> None:
    console = Console()
    console.print(_series_table(analysis))
    for result in analysis.results:
        console.print(_result_table(result))
        for gate in result.reasons:
            console.print(f"  not stated: {gate.sentence}", highlight=False)
    for use in analysis.models_not_run:
        for reason in use.reasons:
            console.print(f"  {use.model_id} was not run: {reason.sentence}", highlight=False)
    console.print(f"Outcome: [bold]{WORDS[analysis.outcome]}[/]. AI, not reviewed.")


def _series_table(analysis: Analysis) -> Table:
    table = Table("series", "modality", "images", "used", "why", title="Series")
    for series in analysis.series:
        table.add_row(
            str(series.series_number if series.series_number is not None else "-"),
            series.modality or "-",
            str(series.instances if series.instances is not None else "-"),
            "yes" if series.used else "no",
            " ".join(reason.sentence for reason in series.reasons),
        )
    return table


def _result_table(result: ModelResult) -> Table:
    title = f"{result.model_title} {result.model_version} ({result.precision})"
    if result.deciding_slice is not None:
        title += f", slice {result.deciding_slice} of {len(result.slices)}"
    table = Table("label", "probability", "stated from", title=title)
    for label in result.probabilities:
        table.add_row(label.display, f"{label.probability:.2f}", f"{label.threshold:.2f}")
    return table
