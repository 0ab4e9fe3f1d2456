"""The worker's door: a queue outside, models and clients inside its child."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from cds_service.bootstrap.evidence import keeping, keeping_again, report_extras
from cds_service.bootstrap.models import ServingModels, in_both
from cds_service.bootstrap.site import Site
from cds_service.bootstrap.triggers import ask_to_subscribe, follow_up, watch_for_silence
from cds_service.card_files import served_files
from cds_service.clients.dicomweb import Archive
from cds_service.evidence.again import EvidenceAgain
from cds_service.evidence.lane import is_evidence_order
from cds_service.explanation import ModelNotes, notes_of
from cds_service.ops.drift import DriftNotes
from cds_service.orders import as_held, content_of
from cds_service.queue import JobContext, QueueUnavailable, WorkerPolicy, run_worker
from cds_service.reports import FhirReports, NoReports
from cds_service.rights import PermittedReports
from cds_service.settings import TenantSettings
from cds_service.shadow import ShadowLane, is_shadow
from cds_service.shadow.run import ShadowRun
from cds_service.tasks import ReportWriter, StudyTask, both
from cds_service.triggers.followup import FollowUp
from cds_service.triggers.notices import is_notice
from cds_service.writing.writer import FhirWriter
from fhir_mapping import ModelFacts, WriteForm, model_facts, warm_up
from inference.analysis import SeriesUse
from inference.limits import MIB
from inference.pipeline import Analyser
from models.contract import SeriesFacts

log = logging.getLogger(__name__)

EXPIRE_EVERY_S = 3600

FORMS = {
    "auto": None,
    "conditional": WriteForm.CONDITIONAL_UPDATE,
    "client-assigned": WriteForm.CLIENT_ASSIGNED_IDS,
}


def work(site: Site) -> int:
    """Take studies from the queue until told to stop; the exit status.

    Raises:
        UnsafeRedis: in production, when Redis would lose work.
        WorkerUnfit: the models cannot be loaded.
    """
    _wait_for_queue(site)
    task, dispatcher = WarmStudyTask(site), site.dispatcher(patient=True)
    ask_to_subscribe(site, dispatcher)
    upkeep = partial(watch_for_silence, site, dispatcher)
    return run_worker(dispatcher, task, task.warm_up, worker_policy(site), upkeep)


def _wait_for_queue(site: Site) -> None:
    """Whoever starts first waits: a worker without a queue has nothing else to do."""
    while True:
        try:
            return site.check_queue()
        except QueueUnavailable:
            log.warning("Redis is not there yet")
            time.sleep(1)


def worker_policy(site: Site) -> WorkerPolicy:
    """How the worker runs."""
    worker = site.settings.worker
    return WorkerPolicy(
        folder=site.settings.state_dir / "work",
        jobs_per_child=worker.jobs_per_child,
        memory_bytes=worker.memory_bytes,
        nice=worker.nice,
    )


class WarmStudyTask:
    """The queue's function: built in the child, after the fork, and kept for every job."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._expired_s = 0.0

    @cached_property
    def _models(self) -> ServingModels:
        return ServingModels(self._site)

    @cached_property
    def _task(self) -> StudyTask:
        return study_task(self._site, self._models.analyser)

    @cached_property
    def _shadow(self) -> ShadowRun:
        return shadow_run(self._site, self._models)

    @cached_property
    def _evidence(self) -> EvidenceAgain:
        return keeping_again(self._site, lambda: self._task)

    @cached_property
    def _follow_up(self) -> FollowUp:
        served = self._site.models_in_use(self._site.disabled_models(patient=True))

        def planned(tenant: str, series: Sequence[SeriesFacts]) -> Sequence[SeriesUse]:
            return self._models.analyser.plan(series, served(tenant).withheld).series

        return follow_up(self._site, planned)

    def warm_up(self) -> None:
        """Load everything that a job needs."""
        _ = self._task

    def __call__(self, order: dict[str, Any], job: JobContext) -> None:
        """Run one attempt, and once an hour remove what is old and renew what ends."""
        if self._models.follow():
            self._task = replace(self._task, analyser=self._models.analyser)
        if is_shadow(order):
            self._shadow(order, job)
        elif is_notice(order):
            self._follow_up(order, job)
        elif is_evidence_order(order):
            self._evidence(order, job)
        else:
            self._task(order, job)
        if time.monotonic() - self._expired_s > EXPIRE_EVERY_S:
            self._expired_s = time.monotonic()
            expire_explanations(self._site, time.time())
            ask_to_subscribe(self._site, self._site.dispatcher(patient=True))


def expire_explanations(site: Site, now_s: float) -> None:
    """Remove explanations older than the setting says; the FHIR record stays."""
    before_s = now_s - site.settings.keep_explanations_days * 86_400
    removed = site.store.expire(int(before_s * 1000))
    if removed:
        log.info("explanations expired", extra={"count": removed})


def study_task(site: Site, analyser: Analyser) -> StudyTask:
    """What the child runs: models loaded, FHIR definitions warm."""
    warm_up()
    dispatcher = site.dispatcher(patient=True)
    writers = {t.name: report_writer(site, t) for t in site.settings.tenants}
    shadows = ShadowLane(dispatcher, site.settings.models.shadow_share, in_both(site))
    return StudyTask(
        archives=_archives(site),
        writers=writers,
        analyser=analyser,
        records=dispatcher.records,
        store=site.store,
        notes=_notes(site),
        models=site.models_in_use(site.disabled_models(patient=True)),
        slices_bytes=site.settings.pages.slices_mib * MIB,
        unverified=frozenset(t.name for t in site.settings.tenants if t.accept_unverified_patients),
        ended=both(keeping(site, writers, shadows.offer), DriftNotes(site.drift_ledger())),
        watch=site.outside.audits.watch_retrievals,
        content=lambda tenant, ref, read: content_of(
            as_held(ref, read), tenant, site.sealer.study_key, read=read
        ),
    )


def shadow_run(site: Site, models: ServingModels) -> ShadowRun:
    """What the child runs for a share of the studies once more."""
    return ShadowRun(
        archives=_archives(site),
        serving=lambda: models.analyser,
        open_other=models.other,
        records=site.dispatcher(patient=True).records,
        ledger=site.shadow_ledger(patient=True),
        models=site.models_in_use(site.disabled_models(patient=True)),
        limits={
            package.manifest.id: package.manifest.precision.disagreement_limit
            for package in site.registry.packages
        },
    )


def _archives(site: Site) -> dict[str, Archive]:
    return {a.name: site.outside.archive(a) for a in site.settings.archives}


def report_writer(site: Site, tenant: TenantSettings) -> ReportWriter:
    """What writes this tenant's reports."""
    server = site.outside.backend(tenant) if tenant.write_back else None
    if server is None:
        return NoReports()
    reports = FhirReports(
        writer=FhirWriter(server, FORMS[tenant.fhir_ids]),
        tenant=tenant.name,
        links=site.links,
        organisation=site.settings.organisation,
        demo=site.settings.demo,
        models=_facts(site),
        accept_unverified_patients=tenant.accept_unverified_patients,
        extras=report_extras(site, tenant),
        recalled=site.recalls.concern,
    )
    return PermittedReports(reports, tenant.name, partial(site.outside.may, tenant))


def _notes(site: Site) -> Mapping[str, ModelNotes]:
    return {p.manifest.id: notes_of(p.manifest, served_files(p)) for p in site.registry.packages}


def _facts(site: Site) -> Mapping[str, ModelFacts]:
    card_url = site.links.model_card_url
    return {
        p.manifest.id: model_facts(p.manifest, card_url(p.manifest.id, p.manifest.version))
        for p in site.registry.packages
    }
