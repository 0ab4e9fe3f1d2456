"""``scanhook demo``: everything on this machine, with one URL to open."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cds_service.cli import EXIT_BAD_ANSWER
from cds_service.cli.output import add_row, console, folding_table, printable
from cds_service.cli.stopping import hear_signals
from cds_service.demo import Demo, running
from cds_service.sandbox import Walk, WalkRow, walk
from fhir_mapping.wording import probability_band

KEY_WIDTH = 16
"""The demo's own studies have keys so short; of one's own it is the description that is shown."""


@click.command(name="demo")
@click.option("--once", is_flag=True, help="Open every chart, print what came of it, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object.")
@click.option(
    "--studies",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of your own DICOM files, beside the demo's studies.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in this folder; without it nothing remains.",
)
@click.option("--within", default=120.0, show_default=True, help="With --once: seconds to wait.")
def command(
    once: bool, as_json: bool, studies: Path | None, state: Path | None, within: float
) -> None:
    """A demo EHR, a demo archive and scanhook on this machine, until Ctrl-C.

    With --once the exit code is 0 only if every study ended as it should.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    since = time.monotonic()
    terminal = Console(stderr=True)
    hear_signals()
    if not terminal.is_terminal:  # which draws no spinner
        click.echo("drawing the studies...", err=True)
    walked: Walk | None = None
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        with terminal.status("starting", spinner="dots") as status:
            tell = lambda part: status.update(f"starting {part}")  # noqa: E731  one use
            demo = stack.enter_context(running(studies, state, tell))
        started_s = time.monotonic() - since
        if once:
            walked = walk(demo.ehr_url, within)
            _report(walked, started_s, as_json)
        else:
            _invite(demo, started_s)
    if once and (walked is None or not walked.all_as_expected):
        raise SystemExit(EXIT_BAD_ANSWER)


def _invite(demo: Demo, started_s: float) -> None:
    click.echo(f"\n  {click.style(demo.ehr_url + '/', bold=True)}   open a chart here\n")
    click.echo(f"Operations: {demo.ops_url} (any user name, password {demo.ops_secret})")
    click.echo(f"scanhook answers at {demo.web_url}/cds-services (started in {started_s:.1f} s).")
    click.echo("Invented patients, a research model: not for diagnosis. Ctrl-C ends everything.")
    while True:
        demo.company.check()
        time.sleep(0.5)


def _report(walked: Walk, started_s: float, as_json: bool) -> None:
    if as_json:
        values = {"started_s": round(started_s, 2), "as_expected": walked.all_as_expected}
        click.echo(json.dumps({**values, "studies": [_values(r) for r in walked.rows]}, indent=2))
        return
    out = console()
    out.print(_table(walked))
    for row in walked.rows:
        for line in (*_steps(row), *(f"{label}: {url}" for label, url in row.links.items())):
            text = printable(f"{row.study}: {line}")
            out.print(text, highlight=False, markup=False, soft_wrap=True)
    out.print("The links have ended with the demo; without --once they can be opened.")
    out.print(f"started in {started_s:.1f} s; AI, not reviewed, not for diagnosis")


def _steps(row: WalkRow) -> Iterator[str]:
    """Which model, and where the milliseconds went; summed over slices, which go side by side."""
    if row.model:
        steps = (f"{step} {_ms(took)}" for step, took in row.steps_ms.items() if step != "total")
        yield f"{row.model} {row.version}: ms for {', '.join(steps)}"


def _values(row: WalkRow) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    return {**values, "expected": sorted(row.expected), "as_expected": row.as_expected}


def _table(walked: Walk) -> Table:
    """One line for each study; `_steps` has all the steps."""
    models = {f"{row.model} {row.version}" for row in walked.rows if row.model}
    table = folding_table(
        *("patient", "study", "outcome", "finding", "probability"),
        *("total\nms", "infer\nms", "as it\nshould"),
        title="Every chart of the demo EHR, opened once",
        caption=printable("; ".join([*sorted(models), "infer: sum over slices, side by side"])),
    )
    _, study, outcome = table.columns[:3]  # names fold between their words; a key should not
    outcome.no_wrap, study.no_wrap = True, all(len(row.study) <= KEY_WIDTH for row in walked.rows)
    for row in walked.rows:
        add_row(
            table,
            row.patient,
            row.study,
            row.outcome,
            row.label or "-",
            probability_band(row.probability) if row.probability is not None else "-",
            *(_ms(row.steps_ms.get(step)) for step in ("total", "infer")),
            "yes" if row.as_expected else "NO",
        )
    return table


def _ms(took_ms: float | None) -> str:
    return "-" if took_ms is None else f"{took_ms:.0f}"
