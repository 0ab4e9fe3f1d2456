"""``scanhook feedback``: what clinicians did with cards, by model version; let cards come back."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.cli import NotThere
from cds_service.cli.output import add_row, console, folding_table
from cds_service.feedback import OUTCOMES, OVERRIDDEN, REASONS, CardLedger, Tally


@click.group(name="feedback", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on the standard output.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Accepted and overridden cards by model version, and the reasons given."""
    if context.invoked_subcommand is not None:
        return
    tallies = _ledger(context.obj).tallies()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(tally) for tally in tallies], indent=2))
    else:
        console().print(_table(tallies))


@command.command("forget")
@click.argument("study")
@click.pass_context
def forget(context: click.Context, study: str) -> None:
    """Let the overridden cards of STUDY (its opaque id) come back; the counts stay."""
    parent = context.parent or context
    if not _ledger(parent.obj).forget(study):
        raise NotThere("no card of a study with this id was answered; `scanhook jobs` lists ids")
    click.echo(f"{study}: its cards are shown again")


def _ledger(config: Path | None) -> CardLedger:
    return Site(settings.load(config)).card_ledger(patient=True)


def _table(tallies: Iterable[Tally]) -> Table:
    """One row for each model version; cards that nobody answered are never reported."""
    counts: dict[tuple[str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for tally in tallies:
        counts[tally.model, tally.version][tally.outcome, tally.reason] = tally.cards
    table = folding_table("model", "version", *OUTCOMES, "acceptance", *REASONS)
    for name, answers in sorted(counts.items()):
        by_outcome = [sum(n for (o, _), n in answers.items() if o == each) for each in OUTCOMES]
        share = f"{by_outcome[0] / sum(by_outcome):.0%}"
        reasons = [str(answers.get((OVERRIDDEN, reason), 0)) for reason in REASONS]
        add_row(table, *name, *map(str, by_outcome), share, *reasons)
    return table
