"""``scanhook worker``: the worker process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from cds_service import logs, settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.worker import work
from cds_service.cli.stopping import hear_signals


@click.command(name="worker")
@click.pass_obj
def command(config: Path | None) -> None:
    """Take studies from the queue until told to stop; SIGTERM finishes the one in hand."""
    # until the loop hears them itself: process 1 of a container ignores a signal without a handler
    hear_signals()
    site = Site(settings.load(config))
    logs.configure(site.settings.log_level)
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(work(site))
