"""The addresses to which FHIR servers and archives send their notifications.

Who sends is known by a secret in the Authorization header, or by a token as of a hook. What is sent
is bounded, read strictly, and good for nothing but to say where to look.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, jsonify, request

from cds_service.hooks.body import json_body
from cds_service.hooks.errors import InvalidCall, NotJson, Unavailable
from cds_service.hooks.routes import Gate
from cds_service.queue.errors import QueueError
from cds_service.security.errors import InvalidToken, Refusal, ReplayUnknown
from cds_service.settings import TenantSettings
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.notices import Asks, Notice, Notices
from cds_service.triggers.secrets import NotificationSecrets
from fhir_mapping.notification import Kind, Notification, notification
from fhir_mapping.reading import text, uid

_log = logging.getLogger(__name__)

FHIR_PATH, ARCHIVE_PATH = "/notifications/fhir/{}", "/notifications/archive/{}"
JSON_TYPES = ("application/json", "application/fhir+json", "text/json")
XML_TYPES = ("application/fhir+xml", "application/xml", "text/xml")
"""Not read: it counts as a notification without a payload."""


Counted = Callable[[str, str], None]
"""(kind of a notification or "", what became of it): ``Metrics.notification_received``."""


def _nobody(kind: str, outcome: str) -> None:
    """Nobody counts."""


@dataclass(frozen=True)
class NotificationDesk:
    """The neighbours of a notification. `tenants` are those whose FHIR server we may read."""

    tenants: Callable[[], Iterable[TenantSettings]]
    gate: Gate
    secrets: NotificationSecrets
    notices: Notices
    ledger: FollowLedger
    counted: Counted = _nobody
    clock_s: Callable[[], float] = time.time

    def admit(self, source: str, name: str, tenants: list[TenantSettings]) -> None:
        """Let the sender in; whoever is not known learns nothing of what is configured.

        Raises:
            InvalidToken: another secret, or a token of somebody else.
            Unavailable: it cannot be told whether the token was used before.
        """
        written = request.headers.get("Authorization")
        proved = self.secrets.proves(written, source, name)
        if not proved:
            try:
                path = {"fhir": FHIR_PATH, "archive": ARCHIVE_PATH}[source].format(name)
                proved = self.gate.admit(path).tenant in tenants
            except ReplayUnknown:
                raise Unavailable("The caller cannot be checked at the moment.") from None
        if not proved or not tenants:
            raise InvalidToken(Refusal.ISSUER)


def notifications_blueprint(desk: NotificationDesk) -> Blueprint:
    """``/notifications/...``: 200 when the hint is safe in the queue, 503 when it is not."""
    blueprint = Blueprint("notifications", __name__)

    @blueprint.route(FHIR_PATH.format("<tenant>"), methods=["POST"])
    @blueprint.route(FHIR_PATH.format("<tenant>/<path:rest>"), methods=["POST", "PUT"])
    def fhir(tenant: str, rest: str = "") -> Response:
        del rest  # what a server puts there stands in the body, too
        with _counted(desk.counted) as seen:
            known = [each for each in desk.tenants() if each.name == tenant]
            desk.admit("fhir", tenant, known)
            said = notification(_body(), known[0].fhir_base)
            seen.append(str(said.kind))
            return _accepted(lambda: _noted(said, known[0].name, desk))

    @blueprint.post(ARCHIVE_PATH.format("<archive>"))
    def images(archive: str) -> Response:
        with _counted(desk.counted) as seen:
            seen.append("archive")
            tenants = [each for each in desk.tenants() if archive in each.archives]
            desk.admit("archive", archive, tenants)
            notice = _of_archive(_body() or {}, archive)
            return _accepted(
                lambda: [
                    desk.notices.give(replace(notice, tenant=each.name), notice.version)
                    for each in tenants
                ]
            )

    return blueprint


def _of_archive(body: dict[str, Any], archive: str) -> Notice:
    study_uid = uid(text(body, "StudyInstanceUID", 64))
    if study_uid is None:
        raise InvalidCall("StudyInstanceUID is missing, or no DICOM UID.")
    return Notice(Asks.IMAGES, "", study_uid, archive, text(body, "version", 64) or "")


@contextmanager
def _counted(counted: Counted) -> Iterator[list[str]]:
    """Count what becomes of a notification; its kind is put into the list when it is known."""
    seen: list[str] = []
    outcome = "unavailable"
    try:
        yield seen
        outcome = "accepted"
    except InvalidToken:
        outcome = "refused"
        raise
    except (InvalidCall, NotJson):
        outcome = "invalid"
        raise
    finally:
        counted(seen[0] if seen else "", outcome)


def _accepted(give: Callable[[], object]) -> Response:
    try:
        give()
    except QueueError as error:
        _log.warning("notification not kept", extra={"kind": error.kind})
        raise Unavailable("The notification cannot be kept at the moment.") from None
    return jsonify(accepted=True)


def _noted(said: Notification, tenant: str, desk: NotificationDesk) -> None:
    """Give what was said to the queue, then note which number its events have reached.

    In this order: a fault in between leads to a search too many, never to one too few.
    """
    name = (tenant, said.subscription or "")
    last = desk.ledger.events(*name) if said.reached is not None else None
    begins = said.kind is Kind.HANDSHAKE or (last is None and said.kind is not Kind.CHANGE)
    missed = said.missed_after(last) and not begins
    for study in said.studies:
        about = Notice(Asks.STUDY, tenant, study.reference)
        desk.notices.give(about, _state(said, study.version))
    if said.search or missed or begins:
        desk.notices.give(Notice(Asks.SEARCH, tenant))
    if said.reached is not None and said.reached != last:
        desk.ledger.event(said.reached, *name)
    if said.kind is not Kind.CHANGE:
        desk.ledger.hear(desk.clock_s(), tenant)
    extra = {"kind": str(said.kind), "count": len(said.studies), "tenant": tenant}
    _log.info("notification received", extra=extra)
    if missed:
        _log.warning("events may have been missed, searching", extra={"tenant": tenant})
    if said.status in ("error", "off"):
        _log.error("a subscription does not work any more", extra={"tenant": tenant})


def _state(said: Notification, version: str | None) -> str:
    """What tells a change that is told twice from the next one; empty if nothing does.

    The number of an event does not: a server that was restarted counts anew. Such a study is read
    again, and its content says whether it is another.
    """
    return f"version {version}" if version and said.kind is Kind.CHANGE else ""


def _body() -> dict[str, Any] | None:
    """What `json_body` reads; None if nothing was sent, or XML."""
    sent = bool(request.get_data().strip()) and request.mimetype not in XML_TYPES
    return json_body(*JSON_TYPES) if sent else None
