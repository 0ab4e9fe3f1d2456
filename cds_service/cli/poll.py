"""``scanhook poll``: ask archives and FHIR servers that tell nobody what is new."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import click

from cds_service import logs, settings
from cds_service.bootstrap import Site
from cds_service.bootstrap.triggers import ask_to_subscribe, poll
from cds_service.cli import EXIT_BAD_ANSWER
from cds_service.cli.searching import look_before
from cds_service.cli.stopping import hear_signals
from cds_service.clients.errors import UpstreamError
from cds_service.queue import Dispatcher, QueueError
from cds_service.triggers.polling import Poll

log = logging.getLogger(__name__)

SUBSCRIBE_EVERY_S = 86_400


@click.command(name="poll")
@click.option("--once", is_flag=True, help="One look, then end (for a timer of your own).")
@click.pass_obj
def command(config: Path | None, once: bool) -> None:
    """Ask the archives and FHIR servers again and again what is new."""
    hear_signals()
    site = Site(settings.load(config))
    logs.configure(site.settings.log_level)
    look_before(site)
    dispatcher = site.dispatcher(patient=True)
    looking = poll(site, dispatcher)
    if once:
        raise SystemExit(0 if _look(looking) else EXIT_BAD_ANSWER)
    with contextlib.suppress(KeyboardInterrupt):
        _keep_looking(site, dispatcher, looking)


def _keep_looking(site: Site, dispatcher: Dispatcher, looking: Poll) -> None:
    subscribed_s = float("-inf")
    while True:
        if time.monotonic() - subscribed_s > SUBSCRIBE_EVERY_S:
            subscribed_s = time.monotonic()
            ask_to_subscribe(site, dispatcher)
        _look(looking)
        time.sleep(site.settings.triggers.poll_every_s)


def _look(looking: Poll) -> bool:
    """Look everywhere once; whether all went well. One that is away does not hide the others."""
    well = True
    try:
        looking.search_charts()
    except QueueError as error:
        well = _told(error)
    for source in looking.sources:
        try:
            looking.look_at(source)
        except (UpstreamError, QueueError) as error:
            well = _told(error)
    return well


def _told(error: UpstreamError | QueueError) -> bool:
    log.warning("poll not finished", extra={"kind": error.kind})
    return False
