"""``scanhook worker``: the worker process."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cds_service import logs, settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.worker import work


@click.command(name="worker")
@click.pass_obj
def command(config: Path | None) -> None:
    """Take studies from the queue until told to stop; SIGTERM finishes the one in hand."""
    site = Site(settings.load(config))
    logs.configure(site.settings.log_level)
    sys.exit(work(site))
