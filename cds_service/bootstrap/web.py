"""The web's door: hooks, pages, health and metrics, over an impatient queue."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial

from flask import Blueprint, Flask
from prometheus_client.registry import Collector
from redis import Redis

from cds_service.bootstrap.ops import operations
from cds_service.bootstrap.site import Site
from cds_service.bootstrap.smart import launch_door
from cds_service.bootstrap.triggers import notification_desk
from cds_service.card_files import CardShelf
from cds_service.cards import CardSite
from cds_service.clients.credentials import ForwardedToken, NoCredential
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient
from cds_service.clients.interactions import on_behalf_of
from cds_service.clients.policy import HOOK_POLICY
from cds_service.feedback import CardLedger
from cds_service.health import Check, NotReady, heartbeat
from cds_service.hooks.invoke import HookDesk
from cds_service.hooks.look import Look
from cds_service.hooks.routes import Gate
from cds_service.metrics import Metrics
from cds_service.ops.depth import failed_studies, open_studies
from cds_service.queue import Dispatcher, Priority, QueueUnavailable, workers
from cds_service.queue.listing import live_hosts
from cds_service.queue.shares import tenant_loads
from cds_service.queue.transport import Transport
from cds_service.scrapes import DisabledModels, FeedbackCounts, Gauges, ShadowRuns, TenantLoads
from cds_service.security.jwt import Verifier
from cds_service.security.replay import UsedTokens
from cds_service.serving import ServingBoard, not_served
from cds_service.settings import TenantSettings
from cds_service.smart import smart_blueprint
from cds_service.switches import Disabled
from cds_service.triggers.routes import notifications_blueprint
from cds_service.viewer.routes import viewer_blueprint
from cds_service.web import WebDependencies, create_app, web_metrics
from fhir_mapping import ArchiveAddresses
from inference.analysis import Outcome

_log = logging.getLogger(__name__)


def web_app(site: Site) -> Flask:
    """The WSGI application.

    Raises:
        UnsafeRedis: in production, when Redis would lose work.
    """
    with suppress(QueueUnavailable):  # /readyz says so, and hooks answer without it
        site.check_queue()
    site.outside.published_keys()  # one that is unfit is found out now
    settings, dispatcher = site.settings, site.dispatcher(patient=False)
    for sentence in settings.warnings:
        _log.warning(sentence)
    redis = dispatcher.transport.connection
    ledger = site.card_ledger(patient=False)
    disabled = site.disabled_models(patient=False)
    desk = _desk(site, dispatcher, ledger)
    metrics = web_metrics(settings, _gauges(dispatcher), _scraped(site, ledger, disabled, redis))
    return create_app(
        WebDependencies(
            settings=settings,
            desk=desk,
            verifier=Verifier(settings.tenant_of, site.outside.caller_keys, time.time),
            used_tokens=UsedTokens(redis, time.time),
            ledger=ledger,
            metrics=metrics,
            details=partial(site.model_standing, redis),
            rights=site.rights_board(patient=False).standing,
            checks=_checks(site, dispatcher, disabled),
            signing_keys=site.outside.published_keys,
            blueprints=[
                _viewer(site, dispatcher, ledger),
                *_launches(site, desk, dispatcher),
                *operations(site, dispatcher),
            ],
            gated=[partial(_notifications, site, dispatcher, metrics)],
        )
    )


def _desk(site: Site, dispatcher: Dispatcher, ledger: CardLedger) -> HookDesk:
    settings = site.settings
    bases = {archive.name: archive.base_url for archive in settings.archives}
    addresses = {
        t.name: ArchiveAddresses({name: bases[name] for name in t.archives}, default=t.archive)
        for t in settings.tenants
    }
    return HookDesk(
        records=dispatcher.records,
        orders=dispatcher,
        open_fhir=_Charts(site).open,
        study_key=site.sealer.study_key,
        look=Look(dispatcher.transport.connection, dispatcher.records, ledger, site.served_to),
        archives=lambda tenant: addresses[tenant.name],
        site=CardSite(
            settings.organisation,
            settings.hook,
            site.links,
            time.time,
            demo=settings.demo,
            recalled=site.recalls.concern,
        ),
        retry_failed_after_s=dispatcher.policy.retry_failed_after_s,
    )


class _Charts:
    """The tenants' FHIR servers with the rights of one call; connections outlive the call."""

    def __init__(self, site: Site) -> None:
        self._watches = {
            tenant.name: site.outside.audits.watch(tenant) for tenant in site.settings.tenants
        }
        self._clients = {
            tenant.name: HttpClient(site.outside.fhir_allowance(tenant), policy=HOOK_POLICY)
            for tenant in site.settings.tenants
        }

    def open(self, tenant: TenantSettings, token: str | None, user: str) -> FhirServer:
        """The token lives as long as the server that is returned, and no longer."""
        client = self._clients[tenant.name]
        origin = client.allowance.origin
        credential = ForwardedToken(token, origin) if token else NoCredential()
        watch = on_behalf_of(user, self._watches[tenant.name])
        return FhirServer(client.allowance, client=client.acting_as(credential), watch=watch)


def _gauges(dispatcher: Dispatcher) -> Gauges:
    transport, records = dispatcher.transport, dispatcher.records
    waiting = {
        f"queue_waiting_{priority}": partial(_waiting, transport, priority) for priority in Priority
    }
    return {
        **waiting,
        "studies_open": partial(open_studies, records),
        "studies_failed": partial(failed_studies, records),
    }


def _scraped(site: Site, ledger: CardLedger, disabled: Disabled, redis: Redis) -> list[Collector]:
    names = site.model_names
    tenants = [tenant.name for tenant in site.settings.tenants]
    return [
        _shadow(site),
        FeedbackCounts(ledger.tallies, names),
        DisabledModels(disabled, names),
        TenantLoads(partial(tenant_loads, redis, tenants)),
    ]


def _shadow(site: Site) -> ShadowRuns:
    outcomes = [str(outcome) for outcome in Outcome]
    labels = {
        name: frozenset([*outcomes, *(label.key for label in package.manifest.labels)])
        for name, package in zip(site.model_names, site.registry.packages, strict=True)
    }
    return ShadowRuns(site.shadow_ledger(patient=False).watched, labels)


def _waiting(transport: Transport, priority: Priority) -> float:
    return transport.waiting()[priority]


def _checks(site: Site, dispatcher: Dispatcher, disabled: Disabled) -> dict[str, Check]:
    redis = dispatcher.transport.connection

    def models() -> None:
        if not site.registry.packages:
            raise NotReady("no model is enabled")
        off = disabled()
        names = [name for name in site.model_names if name.id not in off]
        if not names:
            raise NotReady("every model is switched off")
        board = ServingBoard(redis)
        heard = board.heard(live_hosts(redis, time.time()))
        silent = {each.name for each in not_served(heard)}
        if all(name in silent for name in names):
            raise NotReady("no model passed its self-test on any worker")

    def last_beat_s() -> float | None:
        rows = workers(redis, time.time())
        return max((time.time() - row.heard_s for row in rows), default=None)

    return {
        "queue": site.check_queue,
        "worker": heartbeat(last_beat_s, time.time),
        "models": models,
        "store": site.store.ping,
    }


def _launches(site: Site, desk: HookDesk, dispatcher: Dispatcher) -> list[Blueprint]:
    """The page as a SMART app, if an EHR is configured to launch it; else no address of it."""
    if not _launched(site):
        return []
    return [smart_blueprint(launch_door(site, desk, dispatcher), site.settings.web.frame_ancestors)]


def _launched(site: Site) -> bool:
    return any(tenant.smart_app for tenant in site.settings.tenants)


def _notifications(site: Site, dispatcher: Dispatcher, metrics: Metrics, gate: Gate) -> Blueprint:
    counted = metrics.notification_received
    return notifications_blueprint(notification_desk(site, dispatcher, gate, counted))


def _viewer(site: Site, dispatcher: Dispatcher, ledger: CardLedger) -> Blueprint:
    # a launch that needs the patient's banner shows the page in a frame of ours
    ours = ("'self'",) if _launched(site) else ()
    return viewer_blueprint(
        site.store,
        site.links,
        CardShelf(site.registry),
        frame_ancestors=(*ours, *site.settings.web.frame_ancestors),
        studies=dispatcher.records,
        ledger=ledger,
        bounds=site.settings.pages,
        recalled=site.recalls.concern,
    )
