"""``scanhook backfill``: analyse studies of the past, behind everything that is urgent."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.triggers import archive_days, ledger
from cds_service.cli import NotThere
from cds_service.cli.output import console
from cds_service.cli.searching import look_before
from cds_service.queue import Dispatcher, Priority
from cds_service.triggers.backfill import Backfill

DAY = click.DateTime(["%Y-%m-%d"])
DEPTH = click.IntRange(1)


@click.command(name="backfill")
@click.option("--from", "first", type=DAY, required=True, help="The first Study Date.")
@click.option("--to", "last", type=DAY, required=True, help="The last Study Date.")
@click.option("--modality", "modalities", multiple=True, help="Only this, as CT; repeatable.")
@click.option("--archive", "names", multiple=True, help="Only this archive; repeatable.")
@click.option("--depth", default=50, show_default=True, type=DEPTH, help="Most that wait.")
@click.option("--again", is_flag=True, help="From the first day, and look at every study again.")
@click.pass_obj
def command(
    config: Path | None,
    first: datetime,
    last: datetime,
    modalities: tuple[str, ...],
    names: tuple[str, ...],
    depth: int,
    again: bool,
) -> None:
    """Give the studies of these days to the workers; stopped, it goes on where it was."""
    if last < first:
        raise click.UsageError("--to is before --from")
    site = Site(settings.load(config))
    look_before(site)
    dispatcher = site.dispatcher(patient=True)
    run = secrets.token_hex(8) if again else ""
    wanted = tuple(each.upper() for each in modalities)
    total = 0
    for fill in _fills(site, dispatcher, wanted, names, depth, run):
        if again:
            fill.restart(first.date(), last.date())
        total += _run(fill, first.date(), last.date())
    click.echo(f"{total} studies given to the workers; `scanhook jobs` shows them")


def _fills(
    site: Site,
    dispatcher: Dispatcher,
    modalities: Sequence[str],
    names: Sequence[str],
    depth: int,
    run: str,
) -> list[Backfill]:
    sources = archive_days(site, dispatcher)
    missing = set(names) - {source.archive for source in sources}
    if missing or not sources:
        raise NotThere("no tenant whose charts may be searched has its images in such an archive")

    def waiting() -> int:
        return dispatcher.transport.waiting()[Priority.BACKFILL]

    return [
        Backfill(source, ledger(dispatcher), waiting, depth, modalities, run)
        for source in sources
        if not names or source.archive in names
    ]


def _run(fill: Backfill, first: date, last: date) -> int:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days, {task.fields[studies]} studies"),
        TimeRemainingColumn(),
    )
    days, done, total = (last - first).days + 1, (fill.begins(first, last) - first).days, 0
    with Progress(*columns, console=console(), disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task(fill.source.archive, total=days, completed=done, studies=0)
        for each in fill.days(first, last):
            total += each.studies
            progress.update(bar, advance=1, studies=total)
    return total
