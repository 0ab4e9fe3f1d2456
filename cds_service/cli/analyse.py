"""``scanhook analyse DIR``: the pipeline on a folder, without any server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.output import add_row, console, plainly, printable
from cds_service.folder import NotRead, StudyFiles, files_in, group_studies
from fhir_mapping.wording import (
    in_sentence,
    listed,
    outlined,
    possible,
    probability_band,
    quantity,
)
from inference.analysis import Analysis, LabelProbability, ModelResult, Outcome
from inference.errors import InferenceError
from inference.limits import Limits
from inference.pipeline import analyse
from models.registry import Registry, load_registry

T = TypeVar("T")

WORDS = {
    Outcome.FINDING: "possible finding",
    Outcome.NO_FINDING: "no finding",
    Outcome.INDETERMINATE: "indeterminate",
    Outcome.MEASURED: "measured",
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
    """Analyse the DICOM files under FOLDER, study by study.

    Exit 0 if each study has an answer or it is known why there is none, 1 if a study cannot be
    analysed or a DICOM file is damaged, 3 if there is nothing to read.
    """
    terminal, limits, registry = Console(stderr=True), Limits(), load_registry(folders)
    files = files_in(folder)
    studies, not_read = group_studies(_shown(files, "reading", terminal), limits)
    if not studies:
        damaged = sum(each.damaged for each in not_read)
        looked_at = f"{len(files)} files looked at, {damaged} damaged or not readable"
        raise NotThere(f"there is no DICOM study under {folder} ({looked_at})")
    answers = [_answer(study, registry, limits) for study in _shown(studies, "analysing", terminal)]
    for number, answer in enumerate(answers, start=1):
        if png is not None and isinstance(answer, Analysis):
            _write_pictures(answer, png / f"study-{number}" if len(answers) > 1 else png)
    if as_json:
        click.echo(json.dumps(_report(answers, not_read), indent=2))
    else:
        _print_all(answers, not_read)
    failed = any(isinstance(answer, InferenceError) for answer in answers)
    if failed or any(each.damaged for each in not_read):
        raise SystemExit(EXIT_BAD_ANSWER)


def _shown(items: Sequence[T], what: str, terminal: Console) -> Iterable[T]:
    quiet = not terminal.is_terminal
    return track(items, what, console=terminal, transient=True, disable=quiet)


def _answer(study: StudyFiles, registry: Registry, limits: Limits) -> Analysis | InferenceError:
    try:
        return analyse(study.instances(), registry, limits)
    except InferenceError as error:
        return error


def _report(
    answers: Sequence[Analysis | InferenceError], not_read: Sequence[NotRead]
) -> dict[str, Any]:
    return {
        "studies": [
            as_values(answer)
            if isinstance(answer, Analysis)
            else {"outcome": "failed", "kind": answer.kind, "sentence": answer.sentence}
            for answer in answers
        ],
        "not_read": [
            {"file": str(each.file), "kind": each.kind, "sentence": each.sentence}
            for each in not_read
        ],
    }


def _print_all(answers: Sequence[Analysis | InferenceError], not_read: Sequence[NotRead]) -> None:
    for number, answer in enumerate(answers, start=1):
        if len(answers) > 1:
            click.echo(click.style(f"\nStudy {number} of {len(answers)}", bold=True))
        if isinstance(answer, Analysis):
            _print(answer)
        else:
            click.echo(f"failed: {answer.sentence} ({answer.kind})")
    for each in not_read:
        click.echo(f"not read: {printable(str(each.file))}: {each.sentence}", err=True)


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
        "precision_reason": result.precision_reason,
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
        "prediction_set": list(result.prediction_set),
        "task": result.task,
        "structure": result.structure,
        "follows": result.follows,
        "measurements": [
            {
                "key": measured.key,
                "display": measured.display,
                "value": round(measured.value, 3),
                "unit": measured.unit,
                "slice": measured.slice_number,
                "method": measured.method,
            }
            for measured in result.measurements
        ],
        "outlines": [
            {
                "slice": outline.slice_number,
                "area_fraction": round(outline.area_fraction, 5),
                "area_mm2": outline.area_mm2 and round(outline.area_mm2, 2),
                "mean_probability": round(outline.mean_probability, 4),
                "contours": [contour.round(2).tolist() for contour in outline.contours],
            }
            for outline in result.outlines
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
    if not analysis.results:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(analysis.results, start=1):
        if result.explanation is None:
            continue
        stem = f"{result.model_id}-{number}"
        (folder / f"{stem}-image.png").write_bytes(result.explanation.image_png)
        (folder / f"{stem}-overlay.png").write_bytes(result.explanation.overlay_png)
        (folder / f"{stem}-figure.png").write_bytes(result.explanation.figure_png)


def _print(analysis: Analysis) -> None:
    out = console()
    out.print(_series_table(analysis))
    for result in analysis.results:
        out.print(_result_table(result))
        for gate in result.reasons:
            out.print(plainly(f"  not stated: {gate.sentence}"))
        if unsure := possible(result):
            names = listed(_could_be(label) for label in unsure)
            out.print(plainly(f"  could be: {names}"))
    for use in analysis.models_not_run:
        for reason in use.reasons:
            out.print(plainly(f"  {use.model_id} was not run: {reason.sentence}"))
    out.print(f"Outcome: [bold]{WORDS[analysis.outcome]}[/]. AI, not reviewed.")


def _series_table(analysis: Analysis) -> Table:
    table = Table("series", "modality", "images", "used", "why", title="Series")
    for series in analysis.series:
        add_row(
            table,
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
    if result.task == "segmentation":
        return _measured_table(result, title)
    table = Table("label", "probability", "stated from", title=plainly(title))
    for label in result.probabilities:
        add_row(table, label.display, probability_band(label.probability), f"{label.threshold:.0%}")
    return table


def _measured_table(result: ModelResult, title: str) -> Table:
    table = Table("measured", "size", "slice", "how", title=plainly(title))
    for measured in result.measurements:
        size = quantity(measured.value, measured.unit)
        add_row(table, measured.display, size, str(measured.slice_number), measured.method)
    if not result.measurements:
        add_row(table, f"nothing outlined as {outlined(result)}", "-", "-", "")
    return table


def _could_be(label: LabelProbability) -> str:
    name = "none of these" if label.negative else in_sentence(label.display)
    return f"{name} ({probability_band(label.probability)})"
