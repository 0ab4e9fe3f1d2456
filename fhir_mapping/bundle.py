"""Analysis + StudyRef -> one transaction Bundle: all of a result, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.device import device
from fhir_mapping.errors import Contradiction, NotOurs, PatientNotKnown
from fhir_mapping.forms import Item, transaction
from fhir_mapping.identity import (
    device_identity,
    observation_identity,
    provenance_identity,
    report_identity,
)
from fhir_mapping.observation import observation
from fhir_mapping.provenance import provenance
from fhir_mapping.report import report
from fhir_mapping.study import StudyRef
from fhir_mapping.validation import require_valid
from inference.analysis import Analysis, ModelResult, Outcome, StudyIdentity


def report_bundle(analysis: Analysis, ref: StudyRef, context: ReportContext) -> Resource | None:
    """Return the transaction that writes an analysis; ``None`` when no model answered.

    Raises what `report_items` raises.
    """
    items = report_items(analysis, ref, context)
    return transaction(items, context.form) if items else None


def report_items(analysis: Analysis, ref: StudyRef, context: ReportContext) -> tuple[Item, ...]:
    """Return the resources that state an analysis, validated; none when no model answered.

    Only what was computed is written: a result `NOT_ANALYSED` makes no resource, and a study
    without any other result makes no report. They stand in the order Device, Observation,
    DiagnosticReport, Provenance, so that each refers to those before it alone.

    Raises `Contradiction` (another study; the same result twice), `NotOurs` (another patient),
    `PatientNotKnown`, `InvalidResource`.
    """
    require_same_study(analysis.identity, ref, accept_unverified=context.accept_unverified_patients)
    results = tuple(r for r in analysis.results if r.outcome is not Outcome.NOT_ANALYSED)
    if not results:
        return ()
    made = _items(analysis, results, ref, context)
    items = tuple(item for item in made if item.kind in context.resource_types)
    bundle = transaction(items, context.form)
    require_unique(bundle)
    require_valid(bundle)
    return items


def require_same_study(
    identity: StudyIdentity, ref: StudyRef, *, accept_unverified: bool = False
) -> None:
    """Refuse to write about another study or patient than the one that was asked for.

    Raises `Contradiction` when the study UID or a stated accession number differs, `NotOurs` when
    the images state a PatientID that is none of the patient's identifiers, `PatientNotKnown` when
    they state one and the chart's are unknown or incomplete. `accept_unverified` takes a chart
    that states no identifier at all. What the images do not state cannot be compared.
    """
    if identity.study_uid != ref.study_uid:
        raise Contradiction("The images belong to another study.")
    patient_id = identity.patient_id.strip()
    if patient_id and patient_id not in ref.patient_identifiers:
        _refuse_patient(ref, accept_unverified=accept_unverified)
    accession = identity.accession_number.strip()
    if accession and ref.accession_number and accession != ref.accession_number.strip():
        raise Contradiction("The images state another accession number than the study.")


def _refuse_patient(ref: StudyRef, *, accept_unverified: bool) -> None:
    """Say why the images' PatientID does not do; no identifier at all may be let through."""
    if ref.identifiers_left_out:
        raise PatientNotKnown("The chart's identifiers could not all be compared with the images.")
    if ref.patient_identifiers:
        raise NotOurs("The images' patient is not the patient of the chart.")
    if not accept_unverified:
        raise PatientNotKnown("The chart's identifiers are not known.")


def require_unique(bundle: Resource) -> None:
    """Refuse a Bundle in which two entries are one resource: servers fail or drop one of them."""
    entries = bundle["entry"]
    for key in _keys(entries if isinstance(entries, list) else []):
        if len(set(key)) != len(key):
            raise Contradiction("Two results would be written as the same resource.")


def _keys(entries: Iterable[Resource]) -> tuple[list[str], list[str]]:
    requests = [entry["request"] for entry in entries]
    urls = [str(request["url"]) for request in requests if isinstance(request, dict)]
    return [str(entry["fullUrl"]) for entry in entries], urls


def _items(
    analysis: Analysis, results: tuple[ModelResult, ...], ref: StudyRef, context: ReportContext
) -> Iterator[Item]:
    tenant, root, edition = context.tenant, context.identifier_root, context.edition
    devices = {device_identity(result, root): result for result in results}
    for identity, result in devices.items():
        yield Item(identity, device(result, context))
    observed = [(observation_identity(tenant, ref, r, root, edition), r) for r in results]
    for identity, result in observed:
        yield Item(identity, observation(result, analysis, ref, context))
    about = report_identity(tenant, ref, root, edition)
    yield Item(about, report(analysis, results, ref, context))
    own = provenance_identity(about, analysis.instance_digest, tuple(devices), root)
    written = "Observation" in context.resource_types
    targets = [about.urn, *(identity.urn for identity, _ in observed if written)]
    yield Item(own, provenance(analysis, results, ref, context, own=own, targets=targets))
