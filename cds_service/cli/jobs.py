"""``scanhook jobs``: what waits, what ended, what failed; put one back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.table import Table

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.cli import NotThere
from cds_service.cli.output import add_row, console, folding_table
from cds_service.queue import JobRow, dead_letters, jobs
from cds_service.wording import age


@click.group(name="jobs", invoke_without_command=True)
@click.option("--failed", is_flag=True, help="Only dead letters: studies that were given up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on the standard output.")
@click.option("--limit", default=50, show_default=True, help="The most rows.")
@click.pass_context
def command(context: click.Context, failed: bool, as_json: bool, limit: int) -> None:
    """Studies in the queue, ended and failed, by their opaque ids."""
    if context.invoked_subcommand is not None:
        return
    site = _site(context)
    rows = (dead_letters if failed else jobs)(site.dispatcher(patient=True).records, limit)
    told = site.evidence_ledger(patient=True).told([row.study for row in rows])
    evidence = {study: each.words for study, each in told.items()}
    if as_json:
        found = [dataclasses.asdict(r) | {"evidence": evidence.get(r.study, "")} for r in rows]
        click.echo(json.dumps(found, indent=2))
    else:
        console().print(_table(rows, evidence))


@command.command("requeue")
@click.argument("study")
@click.pass_context
def requeue(context: click.Context, study: str) -> None:
    """Try the failed STUDY (its opaque id) again now."""
    parent = context.parent or context
    record = _site(parent).dispatcher(patient=True).requeue(study)
    if record is None:
        raise NotThere("there is no study with this id; `scanhook jobs` lists them")
    click.echo(f"{record.id}: {record.state}")


def _site(context: click.Context) -> Site:
    config: Path | None = context.obj
    return Site(settings.load(config))


def _table(rows: Sequence[JobRow], evidence: Mapping[str, str]) -> Table:
    """`evidence` is what became of it, by study; there is no column for none."""
    names = ("study", "state", "priority", "attempts", "kind of failure", "age", "quiet for")
    table = folding_table(*names, *(["evidence"] if evidence else []))
    study = table.columns[0]  # `requeue` wants it letter by letter, in one piece
    study.no_wrap, study.min_width = True, max((len(row.study) for row in rows), default=0)
    for row in rows:
        add_row(
            table,
            row.study,
            row.state,
            row.priority,
            str(row.attempts),
            row.error_kind,
            age(row.age_s),
            age(row.quiet_s),
            *([evidence.get(row.study, "")] if evidence else []),
        )
    return table
