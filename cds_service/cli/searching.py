"""What the commands that look for studies check before they begin."""

from __future__ import annotations

import click

from cds_service.bootstrap import Site
from cds_service.bootstrap.triggers import readable, searchable
from cds_service.cli import NotThere

_NEEDED = (
    "needs a backend and, where that is smart, [triggers] in the settings "
    "or scopes of its own for ImagingStudy (rs) and Patient (r)"
)


def look_before(site: Site) -> None:
    """Name the tenants that are left out.

    Raises:
        NotThere: no chart may be searched without a user, so that each study would fail later.
    """
    may = searchable(site)
    if not may:
        raise NotThere(f"no tenant's charts may be searched: a tenant {_NEEDED}")
    for tenant in readable(site):
        if tenant not in may:
            click.echo(f"scanhook: {tenant.name} is left out: it {_NEEDED}", err=True)
