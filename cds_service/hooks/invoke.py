"""One call of a hook, from the checked request to its cards.

studies -> what is known of each -> order what is missing -> perhaps wait -> cards

No pixel is touched here. When the queue does not answer, nothing else is asked of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cds_service import orders
from cds_service.cards import CardSite, study_card, unavailable_card
from cds_service.claims import Card
from cds_service.feedback import OVERRIDDEN
from cds_service.hooks.discovery import CdsService, Shows
from cds_service.hooks.imaging import Chart, FoundStudy, check_server
from cds_service.hooks.ports import Known, LookUp, OpenFhir, Queue, Records, StudyKey
from cds_service.hooks.request import HookRequest
from cds_service.hooks.stay import of_stay
from cds_service.known_study import KnownStudy
from cds_service.model_choice import ServedModels
from cds_service.orders import order_of
from cds_service.queue.content import changed, renewed
from cds_service.queue.errors import QueueError, QueueFull, QueueUnavailable
from cds_service.queue.state import Priority, State, StudyRecord
from cds_service.settings import HookSettings, TenantSettings
from cds_service.summary import ReasonSummary, StudySummary
from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.errors import MappingError
from fhir_mapping.study import StudyRef
from inference.analysis import Outcome

_log = logging.getLogger(__name__)

POLL_S = 0.02


@dataclass(frozen=True)
class HookDesk:
    """The neighbours of a hook call. `sleep` waits seconds.

    `look` says what is known now: the models in use for a tenant, the studies' records, and what
    was answered of them; `records` looks again at those that somebody waits for.
    """

    records: Records
    orders: Queue
    open_fhir: OpenFhir
    study_key: StudyKey
    look: LookUp
    archives: Callable[[TenantSettings], ArchiveAddresses]
    site: CardSite
    retry_failed_after_s: float = 3600
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def settings(self) -> HookSettings:
        """How the hook answers."""
        return self.site.hook

    def of(self, tenant: TenantSettings) -> HookDesk:
        """The desk that answers as this tenant has chosen."""
        hook = self.site.hook.model_copy(update=tenant.cards.chosen())
        site = replace(self.site, hook=hook, launched=bool(tenant.smart_app))
        return replace(self, site=site)


@dataclass(frozen=True)
class _Call:
    """One call: who asks what of whom, and what was known as it came."""

    service: CdsService
    tenant: TenantSettings
    desk: HookDesk
    known: Known

    @property
    def served(self) -> ServedModels:
        """The models that are in use while it is answered."""
        return self.known.served


@dataclass(frozen=True)
class _Seen:
    found: FoundStudy
    key: str
    content: str
    record: StudyRecord | None


def answer(
    request: HookRequest, service: CdsService, tenant: TenantSettings, desk: HookDesk
) -> list[Card]:
    """The cards of one call.

    Raises:
        ServerNotAllowed, DataMissing: answered with 403 and 412.
    """
    check_server(request, tenant)
    desk = desk.of(tenant)
    with Chart(
        request,
        tenant,
        desk.archives(tenant),
        desk.open_fhir,
        desk.settings.fhir_deadline_s,
        desk.monotonic,
    ) as chart:
        found = chart.studies(desk.settings.studies)
        if service.shows is Shows.LOOSE_ENDS:
            found = of_stay(found, request.context.encounter_id, chart.encounter)
        if not found:
            return []
        try:
            keys = [key_of(study, tenant, desk) for study in found]
            call = _Call(service, tenant, desk, desk.look(tenant.name, keys))
            seen, refused = _ordered(found, keys, chart, call)
        except QueueError as error:
            _log.warning("records not read", extra={"kind": error.kind})
            return _unavailable(service, desk)
    if not refused:
        seen = _waited(seen, desk)
    cards = _cards(seen, call, count=not refused)
    return [*cards, *(_unavailable(service, desk) if refused else [])]


def _unavailable(service: CdsService, desk: HookDesk) -> list[Card]:
    return [unavailable_card(desk.site)] if service.answers_pending else []


def _ordered(
    found: list[FoundStudy], keys: list[str], chart: Chart, call: _Call
) -> tuple[list[_Seen], bool]:
    """Each study with its record, ordered if need be; and whether an order was refused."""
    tenant, desk = call.tenant, call.desk
    seen, refused = [], False
    for study, key, record in zip(found, keys, call.known.records, strict=True):
        known = _Seen(study, key, content_of(study.ref, tenant, desk), record)
        if study.problem is not None:
            known = replace(known, record=_not_orderable(known, study.problem))
        elif _is_current(known, call):
            known = _learnt(known, desk)
        elif not refused:
            try:
                known = replace(known, record=_order(known, chart, call))
            except MappingError as error:
                _log.warning("study not ordered", extra={"kind": error.kind, "study": key})
                known = replace(known, record=_not_orderable(known, error))
            except QueueError as error:
                _log.warning("study not ordered", extra={"kind": error.kind, "study": key})
                # the next study would fare no better, and a frozen Redis costs 200 ms each time
                refused = isinstance(error, QueueFull | QueueUnavailable)
        seen.append(known)
    return seen, refused


def _is_current(seen: _Seen, call: _Call) -> bool:
    """Whether the record speaks of this content and these models, and nothing hurries it."""
    record = seen.record
    if record is None or record.models != call.served.version:
        return False
    if changed(record.content_key, seen.content):
        return False
    if record.state is State.FAILED:
        age_s = call.desk.site.clock_s() - record.updated_ms / 1000
        return age_s < call.desk.retry_failed_after_s
    waits = record.state is State.RECEIVED
    return not (waits and Priority(call.service.priority).before(record.priority))


def _learnt(seen: _Seen, desk: HookDesk) -> _Seen:
    """Keep what this announcement adds, so that the next one has more to be compared with."""
    record = seen.record
    if record is None or record.state is State.FAILED:  # a write would put its retry off
        return seen
    if renewed(record.content_key, seen.content) == record.content_key:
        return seen
    try:
        return replace(seen, record=desk.orders.learn(record, seen.content))
    except QueueError as error:
        _log.warning("content not noted", extra={"kind": error.kind, "study": seen.key})
        return seen


def key_of(study: FoundStudy, tenant: TenantSettings, desk: HookDesk) -> str:
    """The opaque id of the study in this patient's chart, and in no other."""
    return desk.study_key(tenant.name, study.ref.patient_reference, study.name)


def content_of(ref: StudyRef, tenant: TenantSettings, desk: HookDesk) -> str:
    """Names the study's content to the queue, as far as the EHR announces it."""
    return orders.content_of(ref, tenant.name, desk.study_key)


def _order(seen: _Seen, chart: Chart, call: _Call) -> StudyRecord:
    ref = chart.orderable(seen.found)
    return call.desk.orders.submit(
        order_of(ref, call.tenant.name),
        seen.key,
        seen.content,
        call.served.version,
        call.service.priority,
    )


def _not_orderable(seen: _Seen, error: MappingError) -> StudyRecord:
    """What is known of a study whose images we may not fetch; nothing of it is kept."""
    reason = ReasonSummary(kind=error.kind, sentence=error.sentence)
    said = StudySummary(outcome=Outcome.NOT_ANALYSED, not_analysed=(reason,))
    return StudyRecord(seen.key, state=State.ABSTAINED, summary=said.to_json())


def _waited(seen: list[_Seen], desk: HookDesk) -> list[_Seen]:
    """Look again until every analysis has ended or the configured wait is over."""
    until = desk.monotonic() + desk.settings.wait_ms / 1000
    while any(_open(each) for each in seen) and desk.monotonic() < until:
        desk.sleep(min(POLL_S, max(0.0, until - desk.monotonic())))
        try:
            news = desk.records.get_many([each.key for each in seen])
        except QueueError:
            return seen
        both = zip(seen, news, strict=True)
        seen = [replace(each, record=new or each.record) for each, new in both]
    return seen


def _open(seen: _Seen) -> bool:
    return seen.record is not None and not seen.record.ended


def _cards(seen: list[_Seen], call: _Call, *, count: bool) -> list[Card]:
    """The card of each study that has one; `count` asks how many wait before it."""
    cards, service, desk = [], call.service, call.desk
    answers = call.known.answers
    for each in seen:
        if each.record is None:
            continue
        ahead: int | None = None
        if count and service.answers_pending and each.record.state is State.RECEIVED:
            ahead, count = _ahead(each.record, desk)
        settled = _settled(answers.get(each.key, {}), service)
        served, tenant = call.served.ids, call.tenant.name
        known = KnownStudy(each.found.ref, each.record, ahead, served, settled, tenant)
        findings_only = service.shows is Shows.FINDINGS or (
            # what has ended without a finding is no loose end
            service.shows is Shows.LOOSE_ENDS and each.record.ended
        )
        card = study_card(known, desk.site, findings_only=findings_only)
        cards += [card] if card is not None else []
    return cards


def _settled(answers: Mapping[str, str], service: CdsService) -> frozenset[str]:
    """What is not said again: what was overridden, and to who is busy whatever was answered."""
    interrupts = service.shows is not Shows.EVERYTHING
    return frozenset(claim for claim, said in answers.items() if interrupts or said == OVERRIDDEN)


def _ahead(record: StudyRecord, desk: HookDesk) -> tuple[int | None, bool]:
    """How many wait before this one, and whether it is worth while to ask for the next."""
    try:
        return desk.orders.ahead_of(record), True
    except QueueError:
        return None, False


def without_work(service: CdsService, desk: HookDesk) -> list[Card]:
    """The answer when replay cannot be excluded: it says nothing of anybody."""
    return _unavailable(service, desk)
