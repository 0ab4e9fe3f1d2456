"""Analysis -> DiagnosticReport (R4): preliminary, always."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_mapping import wording
from fhir_mapping.codes import IMAGING_STUDY_REPORT, RADIOLOGY, RADIOLOGY_LOINC, Code, concept
from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.device import device_name
from fhir_mapping.evidence_series import attach
from fhir_mapping.identity import Identity, images_identity, observation_identity, report_identity
from fhir_mapping.narrative import narrative
from fhir_mapping.observation import finding_concept
from fhir_mapping.references import about, effective, imaging_study
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, ModelResult


def report(
    analysis: Analysis, results: Sequence[ModelResult], ref: StudyRef, context: ReportContext
) -> Resource:
    """Return the report on `results`, which must not be empty.

    ``status`` is ``preliminary``: only a person's sign-off may make it anything else, and that is
    not written here. ``performer`` is an Organization: a Device may not be one (R4), so the
    algorithm is in Observation.device and in Provenance.
    """
    own = report_identity(context.tenant, ref, context.identifier_root, context.edition)
    made: Resource = {
        "resourceType": "DiagnosticReport",
        **context.meta(ai=True),
        "text": _narrative(analysis, results, context),
        "identifier": [own.identifier(), _images(analysis, context)],
        "status": "preliminary",
        "category": [concept("Radiology", RADIOLOGY, RADIOLOGY_LOINC)],
        "code": _code(results, context).concept(),
        **about(ref),
        **effective(ref),
        "issued": context.instant,
        **context.performer(),
        "imagingStudy": [imaging_study(ref)],
        "conclusion": wording.conclusion(results),
    }
    if "Observation" in context.resource_types:
        made["result"] = [{"reference": item.urn} for item in _observations(results, ref, context)]
    stated = [finding_concept(item.finding) for item in results if item.finding is not None]
    if stated:
        made["conclusionCode"] = [c for i, c in enumerate(stated) if c not in stated[:i]]
    if context.attach_explanation:
        made["presentedForm"] = [_explanation(context)]
    return attach(made, context.evidence, ref, context.instant)


def _images(analysis: Analysis, context: ReportContext) -> Resource:
    identity = images_identity(analysis.instance_digest, context.identifier_root)
    return {"use": "secondary", "type": {"text": "Images read"}, **identity.identifier()}


def _observations(
    results: Sequence[ModelResult], ref: StudyRef, context: ReportContext
) -> list[Identity]:
    tenant, root, edition = context.tenant, context.identifier_root, context.edition
    return [observation_identity(tenant, ref, result, root, edition) for result in results]


def _code(results: Sequence[ModelResult], context: ReportContext) -> Code:
    """Name the kind of study if every model that answered agrees on it."""
    codes = {context.facts(result.model_id).report_code for result in results}
    only = codes.pop() if len(codes) == 1 else None
    return only or IMAGING_STUDY_REPORT


def _explanation(context: ReportContext) -> Resource:
    return {
        "contentType": "text/html",
        "url": context.explanation_url,
        "title": "Why: images, heat-map, model and its limits",
        "creation": context.instant,
    }


def _narrative(
    analysis: Analysis, results: Sequence[ModelResult], context: ReportContext
) -> Resource:
    left_out = sum(not series.used for series in analysis.series)
    rows = [
        *(("Model", device_name(result)) for result in results),
        *(("Images", wording.images_sentence(result)) for result in results),
        ("Analysed", context.instant),
        ("Series not analysed", str(left_out) if left_out else ""),
    ]
    sentences = [wording.conclusion(results)]
    if any(context.facts(result.model_id).research for result in results):
        sentences.append(wording.RESEARCH_NOTICE)
    return narrative(
        "Preliminary AI report", sentences, dict.fromkeys(rows), context.explanation_url
    )
