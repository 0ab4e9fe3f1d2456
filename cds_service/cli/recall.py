"""``scanhook recall``: take back what one version of a model has written."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, time, timedelta
from importlib.metadata import version
from pathlib import Path

import click

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.output import add_row, console, folding_table
from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.recalls import ALWAYS_MS, Recalled
from cds_service.writing.recall import STATES, UNASKED, Recaller, Row
from fhir_mapping.recall import Recall

DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command(name="recall")
@click.option("--device", required=True, metavar="MODEL@VERSION", help="The model version.")
@click.option("--from", "since", type=DAY, help="First day (UTC) of the results, as 2026-01-31.")
@click.option("--to", "until", type=DAY, help="Last day (UTC) of the results.")
@click.option("--reason", default="", help="Why, for the Provenance; no word about a patient.")
@click.option("--tenant", "tenants", multiple=True, help="Only this tenant (repeatable).")
@click.option("--dry-run", is_flag=True, help="Only list what would be taken back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on the standard output.")
@click.pass_context
def command(
    context: click.Context,
    device: str,
    since: datetime | None,
    until: datetime | None,
    reason: str,
    tenants: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set what a model version wrote to entered-in-error, with a Provenance of the reason.

    Cards and pages state nothing of it from the start on. It may be stopped and run again: it goes
    on with what is left. What a person has signed or changed is listed and not touched.
    """
    config: Path | None = context.obj
    site = Site(settings.load(config))
    model_id, _, model_version = device.rpartition("@")
    if not model_id or not model_version:
        raise click.UsageError("--device is MODEL@VERSION, as `scanhook models list` shows them")
    if since and until and until < since:
        raise click.UsageError("--to is before --from")
    recall = Recall(
        model_id,
        model_version,
        reason or "The model version was recalled",
        datetime.now(UTC),
        site.settings.organisation,
        version("scanhook"),
    )
    days = (since.date() if since else None, until.date() if until else None)
    known = tuple(tenant.name for tenant in site.settings.tenants)
    chosen = tuple(dict.fromkeys(tenants)) or known
    for name in chosen:
        if name not in known:
            raise NotThere(f"there is no tenant named {name}")
    if not _may_be_known(site, recall):
        raise NotThere(
            f"neither an installed package nor a FHIR server that we may ask knows {device}: "
            "look at `scanhook models list`, or install the package that made the results"
        )
    if not dry_run:
        note(site, recall, days, tenants)
    found = [(name, row) for name in chosen for row in _rows(site, name, recall, days, dry_run)]
    _show(found, as_json=as_json)
    if any(row.state not in STATES for _, row in found):
        context.exit(EXIT_BAD_ANSWER)


def _may_be_known(site: Site, recall: Recall) -> bool:
    """Whether the model version is known here or there; a server that does not say may know it."""
    if site.device_names(recall.model_id, recall.model_version):
        return True
    return any(_may_know(site.outside.backend(tenant), recall) for tenant in site.settings.tenants)


def _may_know(server: FhirServer | None, recall: Recall) -> bool:
    if server is None:
        return False
    try:
        return Recaller(server, recall).knows()
    except UpstreamError:
        return True
    finally:
        server.close()


def note(
    site: Site,
    recall: Recall,
    days: tuple[date | None, date | None],
    tenants: tuple[str, ...] = (),
) -> None:
    """Let cards and pages of these tenants, or of all, know before anything else can fail."""
    since, until = days
    end = _ms(until + timedelta(days=1)) - 1 if until else ALWAYS_MS
    begin = _ms(since) if since else 0
    own = tuple(sorted(set(tenants)))
    site.recalls.add(Recalled(recall.model_id, recall.model_version, begin, end, own))


def _ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp() * 1000)


def _rows(
    site: Site,
    name: str,
    recall: Recall,
    days: tuple[date | None, date | None],
    dry_run: bool,
) -> list[Row]:
    tenant = site.settings.tenant(name)
    server = site.outside.backend(tenant) if tenant else None
    if server is None:
        return [Row("", "", UNASKED)]
    rows: list[Row] = []
    try:
        names = site.device_names(recall.model_id, recall.model_version)
        rows.extend(Recaller(server, recall, names, *days).rows(dry_run=dry_run))
    except UpstreamError as error:  # the other tenants' servers may answer
        rows.append(Row("", "", f"failed: {error.kind}"))
    finally:
        server.close()
    return rows


def _show(found: list[tuple[str, Row]], *, as_json: bool) -> None:
    if as_json:
        rows = [{"tenant": name, **dataclasses.asdict(row)} for name, row in found]
        click.echo(json.dumps(rows, indent=2))
        return
    table = folding_table("tenant", "resource", "issued", "state")
    for name, row in found:
        add_row(table, name, row.reference, row.issued, row.state)
    console().print(table)
    click.echo(_summary([row for _, row in found]))


def _summary(rows: list[Row]) -> str:
    """How many were found; 0 is said only where everything could be looked for."""
    count = sum(bool(row.reference) for row in rows)
    said = [f"{count} found"] if count or not rows else []
    return "; ".join([*said, *(["not all could be looked for"] if count < len(rows) else [])])
