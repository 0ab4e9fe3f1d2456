"""``scanhook serve``: the web process."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from cds_service import logs, settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.web import web_app
from cds_service.cli.stopping import hear_signals
from cds_service.web import server


@click.command(name="serve")
@click.pass_obj
def command(config: Path | None) -> None:
    """Answer CDS Hooks until told to stop (SIGTERM, Ctrl-C)."""
    site = Site(settings.load(config))
    logs.configure(site.settings.log_level)
    running = server(web_app(site), site.settings)
    click.echo(f"listening on {site.settings.web.host}:{running.effective_port}", err=True)
    hear_signals()
    with contextlib.suppress(KeyboardInterrupt):
        running.run()
    running.close()
