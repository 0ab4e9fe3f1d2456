"""Which study a launch shows: one of its own patient's, proved by our own sealed record of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cds_service.clients.errors import NotFound, Refused, Rejected, UpstreamError
from cds_service.hooks.authorization import FhirAuthorization, parse_scopes
from cds_service.hooks.errors import CallError
from cds_service.hooks.imaging import Chart, FoundStudy
from cds_service.hooks.invoke import HookDesk, key_of
from cds_service.hooks.request import HookContext, HookRequest
from cds_service.orders import UnreadableOrder, ref_of
from cds_service.queue.errors import QueueError, TamperedPayload
from cds_service.queue.state import StudyRecord
from cds_service.security.egress import NotAllowed
from cds_service.settings import TenantSettings
from cds_service.smart.configuration import LOGIN_POLICY
from cds_service.smart.errors import (
    NoBanner,
    NothingToShow,
    OtherPatient,
    QueueSilent,
    ServerSilent,
)
from cds_service.smart.exchange import Grant
from cds_service.wording import study_name
from fhir_mapping.banner import PatientBanner, patient_banner
from fhir_mapping.study import StudyRef

_KEY = re.compile(r"[0-9a-f]{32}")
DEADLINE_S = 5.0
"""For what is read of the chart with the user's token."""

STUDIES = 20
"""The most studies that a launch without a study offers."""


@dataclass(frozen=True)
class Explained:
    """A study of the launch's patient whose analysis has an explanation."""

    name: str
    record: StudyRecord


@dataclass(frozen=True)
class Launched:
    """Finds what a grant may see; `order_of` opens a record's sealed order."""

    desk: HookDesk
    order_of: Callable[[str], Mapping[str, Any]]

    def studies(self, grant: Grant, tenant: TenantSettings) -> Sequence[Explained]:
        """The study that the launch names, else the patient's explained ones, newest first.

        Raises:
            OtherPatient: the study that it names is not known in this patient's chart.
            NothingToShow: nothing of this patient has been explained.
            ServerSilent, QueueSilent: the chart or our records could not be read.
        """
        named = grant.app_context if _KEY.fullmatch(grant.app_context) else ""
        found = [self._named(named, grant, tenant)] if named else self._listed(grant, tenant)
        explained = [study for study in found if study.record.explanation_id]
        if not explained:
            raise NothingToShow
        return explained

    def whose(self, grant: Grant, tenant: TenantSettings) -> PatientBanner:
        """The patient of the launch, as the user may read the chart.

        Raises:
            NoBanner: the user may not, or the chart states neither a name nor a birth date.
            ServerSilent: the chart could not be read.
        """
        server = self.desk.open_fhir(tenant, grant.access_token, grant.user)
        try:
            read = server.read(f"Patient/{grant.patient_id}", LOGIN_POLICY)
        except (Refused, NotFound, Rejected) as error:
            raise NoBanner from error
        except (UpstreamError, NotAllowed) as error:
            raise ServerSilent from error
        finally:
            server.close()
        banner = patient_banner(read)
        if not (banner.name or banner.born):
            raise NoBanner
        return banner

    def _named(self, study: str, grant: Grant, tenant: TenantSettings) -> Explained:
        """The study of this opaque id; what is unknown and what is another's look the same."""
        (record,) = self._records([study])
        ref = self._ref(record, tenant) if record else None
        if record is None or ref is None or ref.patient_reference != f"Patient/{grant.patient_id}":
            raise OtherPatient
        return Explained(study_name(ref), record)

    def _ref(self, record: StudyRecord, tenant: TenantSettings) -> StudyRef | None:
        """What was ordered under this record, if it was for this tenant."""
        try:
            order = ref_of(self.order_of(record.sealed))
        except (TamperedPayload, UnreadableOrder):
            return None
        return order.ref if order.tenant == tenant.name else None

    def _listed(self, grant: Grant, tenant: TenantSettings) -> list[Explained]:
        """The patient's studies as the user may read them, each under its key in this chart."""
        found = self._charted(grant, tenant)
        wanted = [r for r in grant.references if r.startswith("ImagingStudy/")]
        if wanted:
            found = [study for study in found if study.ref.imaging_study_reference in wanted]
            if not found:
                raise OtherPatient
        records = self._records([key_of(study, tenant, self.desk) for study in found])
        both = zip(found, records, strict=True)
        return [Explained(study_name(s.ref), record) for s, record in both if record is not None]

    def _charted(self, grant: Grant, tenant: TenantSettings) -> list[FoundStudy]:
        request = HookRequest(
            hook="smart-launch",
            hook_instance="",
            context=HookContext(grant.patient_id, user_reference=grant.user),
            fhir_server=tenant.fhir_base,
            authorization=FhirAuthorization(grant.access_token, parse_scopes(grant.scope)),
        )
        archives = self.desk.archives(tenant)
        try:
            with Chart(request, tenant, archives, self.desk.open_fhir, DEADLINE_S) as chart:
                return chart.studies(STUDIES)
        except CallError as error:
            raise ServerSilent("The list of studies could not be read.") from error

    def _records(self, studies: Sequence[str]) -> list[StudyRecord | None]:
        try:
            return self.desk.records.get_many(studies)
        except QueueError as error:
            raise QueueSilent from error
