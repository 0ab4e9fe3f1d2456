"""``scanhook subscribe``: ask FHIR servers to notify us, and show how an archive can."""

from __future__ import annotations

from pathlib import Path

import click

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.triggers import archive_hook, subscribe
from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.output import printable
from cds_service.errors import sentence_of
from cds_service.triggers.lua import stable_study_script


@click.command(name="subscribe")
@click.option("--tenant", "tenants", multiple=True, help="Only this tenant; repeatable.")
@click.option("--orthanc", help="Print the Lua script for the Orthanc that is this archive.")
@click.pass_obj
def command(config: Path | None, tenants: tuple[str, ...], orthanc: str | None) -> None:
    """Make or renew the Subscription of every tenant that has one in the settings."""
    site = Site(settings.load(config))
    if orthanc is not None:
        if orthanc not in {archive.name for archive in site.settings.archives}:
            raise NotThere("there is no archive with this name")
        click.echo(stable_study_script(*archive_hook(site, orthanc)))
        return
    known = [each.tenant for each in site.settings.triggers.subscriptions]
    if not known:
        raise NotThere("the settings name no subscription ([[triggers.subscriptions]])")
    for tenant in tenants:
        if tenant not in known:
            raise NotThere(f"no subscription in the settings is of a tenant named {tenant}")
    if not all([_subscribed(site, tenant) for tenant in tenants or known]):
        raise SystemExit(EXIT_BAD_ANSWER)


def _subscribed(site: Site, tenant: str) -> bool:
    """One server that is away, or does not want to, does not stop the others."""
    try:
        made = subscribe(site, tenant)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        click.echo(f"{tenant}: {printable(sentence)}", err=True)
        return False
    click.echo(f"{tenant}: {made} is active")
    return True
