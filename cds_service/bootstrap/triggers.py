"""What starts an analysis before a hook: built for the web, the worker's child and the commands."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cds_service.bootstrap.site import Site
from cds_service.features import SEARCH, covered
from cds_service.hooks.routes import Gate
from cds_service.queue import Dispatcher, QueueError
from cds_service.settings import TenantSettings
from cds_service.triggers.chart import OpenChart
from cds_service.triggers.errors import NoBackend
from cds_service.triggers.followup import FollowUp, Planned
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import Asks, Notice, Notices
from cds_service.triggers.polling import ArchiveDays, Poll
from cds_service.triggers.routes import ARCHIVE_PATH, FHIR_PATH, Counted, NotificationDesk
from cds_service.triggers.secrets import NotificationSecrets
from cds_service.triggers.silence import Silence
from cds_service.triggers.subscribing import Subscriber
from fhir_mapping import ArchiveAddresses

log = logging.getLogger(__name__)


def readable(site: Site) -> list[TenantSettings]:
    """The tenants whose FHIR server we may read without a user."""
    return [tenant for tenant in site.settings.tenants if tenant.backend != "none"]


def searchable(site: Site) -> list[TenantSettings]:
    """Those of them in whose charts we may look for a study."""
    return [each for each in readable(site) if covered(site.settings, each, SEARCH)]


def notices(site: Site, dispatcher: Dispatcher, *, patient: bool = True) -> Notices:
    """Gives notices to the queue; the web must not be `patient`."""
    in_use = site.models_in_use(site.disabled_models(patient=patient))
    return Notices(
        dispatcher,
        dispatcher.records,
        site.sealer.study_key,
        lambda name: in_use(name).version,
    )


def ledger(dispatcher: Dispatcher) -> FollowLedger:
    """How far each source was followed."""
    return FollowLedger(dispatcher.transport.connection)


def notification_secrets(site: Site) -> NotificationSecrets:
    """Knows the senders of notifications."""
    return NotificationSecrets([s.get_secret_value() for s in site.settings.site_secrets])


def notification_desk(
    site: Site, dispatcher: Dispatcher, gate: Gate, counted: Counted
) -> NotificationDesk:
    """For the routes of the web process."""
    secrets = notification_secrets(site)
    given, follow = notices(site, dispatcher, patient=False), ledger(dispatcher)
    return NotificationDesk(lambda: readable(site), gate, secrets, given, follow, counted)


def follow_up(site: Site, planned: Planned) -> FollowUp:
    """For the worker's child; `planned` as in `FollowUp`."""
    dispatcher = site.dispatcher(patient=True)
    return FollowUp(
        charts={tenant.name: _chart(site, tenant) for tenant in readable(site)},
        archives={a.name: site.outside.archive(a) for a in site.settings.archives},
        planned=planned,
        notices=notices(site, dispatcher),
        records=dispatcher.records,
        ledger=ledger(dispatcher),
        study_key=site.sealer.study_key,
        subscribe=lambda tenant: subscribe(site, tenant),
        look_back=timedelta(days=site.settings.triggers.look_back_days),
    )


def _chart(site: Site, tenant: TenantSettings) -> OpenChart:
    server = site.outside.backend(tenant)
    if server is None:
        raise NoBackend("this tenant's FHIR server may not be read without a user")
    bases = {a.name: a.base_url for a in site.settings.archives if a.name in tenant.archives}
    return OpenChart(tenant, server, ArchiveAddresses(bases, default=tenant.archive))


def subscribe(site: Site, name: str) -> str:
    """Make or renew a tenant's Subscription, and search for what came before it.

    Raises:
        NoBackend, NotActive, UpstreamError, QueueError: see `triggers.subscribing`.
    """
    wanted = [each for each in site.settings.triggers.subscriptions if each.tenant == name]
    tenant = site.settings.tenant(name)
    server = site.outside.backend(tenant) if tenant else None
    if not wanted or server is None:
        raise NoBackend("this tenant has no subscription in the settings, or no backend")
    endpoint = site.settings.base_url.rstrip("/") + FHIR_PATH.format(name)
    header = notification_secrets(site).header("fhir", name)
    made = Subscriber(server, wanted[0], endpoint, header).ensure()
    notices(site, site.dispatcher(patient=True)).give(Notice(Asks.SEARCH, name))
    return made


def ask_to_subscribe(site: Site, dispatcher: Dispatcher) -> None:
    """Let a worker see to every Subscription; the queue being away is not worth an end."""
    try:
        for each in site.settings.triggers.subscriptions:
            notices(site, dispatcher).give(Notice(Asks.SUBSCRIBE, each.tenant))
    except QueueError as error:
        log.warning("subscriptions not seen to", extra={"kind": error.kind})


def watch_for_silence(site: Site, dispatcher: Dispatcher) -> None:
    """Search where heartbeats have stopped; a worker looks again soon if the queue is away."""
    wanted = site.settings.triggers.subscriptions
    if not wanted:
        return
    try:
        Silence(wanted, notices(site, dispatcher), ledger(dispatcher)).look()
    except QueueError as error:
        log.warning("heartbeats not looked at", extra={"kind": error.kind})


def archive_days(site: Site, dispatcher: Dispatcher) -> list[ArchiveDays]:
    """The archives, each with the tenants whose studies lie there by default."""
    given = notices(site, dispatcher)
    sources = (
        ArchiveDays(
            archive.name, site.outside.archive(archive), _tenants_of(site, archive.name), given
        )
        for archive in site.settings.archives
    )
    return [source for source in sources if source.tenants]


def _tenants_of(site: Site, archive: str) -> Sequence[str]:
    return [tenant.name for tenant in searchable(site) if archive in tenant.archives]


def poll(site: Site, dispatcher: Dispatcher) -> Poll:
    """For the command."""
    triggers = site.settings.triggers
    return Poll(
        archive_days(site, dispatcher),
        [tenant.name for tenant in searchable(site)],
        notices(site, dispatcher),
        ledger(dispatcher),
        timedelta(days=triggers.look_back_days),
        timedelta(days=triggers.overlap_days),
        lambda: datetime.now(UTC).date(),
    )


def archive_hook(site: Site, archive: str) -> tuple[str, str]:
    """(address, header) for the webhook of an archive."""
    url = site.settings.base_url.rstrip("/") + ARCHIVE_PATH.format(archive)
    return url, notification_secrets(site).header("archive", archive)
