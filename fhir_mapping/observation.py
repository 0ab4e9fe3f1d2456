"""One model's result on one series -> Observation (R4)."""

from __future__ import annotations

from fhir_mapping import wording
from fhir_mapping.codes import (
    ABSENT,
    FINDING,
    IMAGING,
    INDETERMINATE,
    NEGATIVE,
    POSITIVE,
    PROBABILITY,
    UCUM,
    UNKNOWN,
    Code,
)
from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.device import device_name
from fhir_mapping.identity import IDENTIFIER_ROOT, device_identity, observation_identity
from fhir_mapping.narrative import narrative
from fhir_mapping.references import about, effective, imaging_study
from fhir_mapping.study import StudyRef
from fhir_mapping.text import plain, said
from inference.analysis import Analysis, LabelProbability, ModelResult, Outcome

_INTERPRETATIONS = {
    Outcome.FINDING: POSITIVE,
    Outcome.NO_FINDING: NEGATIVE,
    Outcome.INDETERMINATE: INDETERMINATE,
}


def observation(
    result: ModelResult, analysis: Analysis, ref: StudyRef, context: ReportContext
) -> Resource:
    """Return what one model says of one series; `result` must not be `NOT_ANALYSED`.

    ``code`` is DCM 121071 "Finding"; the value is the stated finding, or DCM 121054 "Absent" for
    the findings that the text names. An abstention has a data-absent-reason, and neither a value
    (obs-6) nor probabilities: numbers that the gates refused are not put into a chart.
    """
    study = imaging_study(ref)
    facts = context.facts(result.model_id)
    made: Resource = {
        "resourceType": "Observation",
        **context.meta(ai=True),
        "text": _narrative(result, context),
        "identifier": [
            observation_identity(context.tenant, ref, result, context.identifier_root).identifier()
        ],
        "partOf": [study],
        "status": "preliminary",
        "category": [IMAGING.concept()],
        "code": FINDING.concept(f"AI assessment for {wording.assessed(result)}"),
        **about(ref),
        **{k: v for k, v in effective(ref).items() if not k.startswith("_")},
        "issued": context.instant,
        **context.performer(),
        **_answer(result),
        "interpretation": [_INTERPRETATIONS[result.outcome].concept()],
        "note": [{"time": context.instant, "text": wording.limits(result, facts, analysis)}],
        "method": {"text": plain(f"{device_name(result)}, {result.precision}", 300)},
        "device": _device(result, context),
        "derivedFrom": [study],
    }
    if facts.body_site:
        made["bodySite"] = facts.body_site.concept()
    return made


def _device(result: ModelResult, context: ReportContext) -> Resource:
    named: Resource = {"type": "Device", "display": device_name(result)}
    if "Device" not in context.resource_types:
        return named
    return {"reference": device_identity(result, context.identifier_root).urn, **named}


def finding_concept(finding: LabelProbability) -> Resource:
    """Return a stated finding: coded if the manifest has a code, and always in words."""
    text = plain(f"Possible {wording.in_sentence(finding.display)}", 200)
    if finding.coding is None:
        return {"text": text}
    coding = finding.coding
    return Code(coding.system, coding.code, said(coding.display), "manifest").concept(text)


def _answer(result: ModelResult) -> Resource:
    if result.outcome is Outcome.INDETERMINATE:
        reason = f"The algorithm abstained: {wording.abstention_reason(result)}"
        return {"dataAbsentReason": UNKNOWN.concept(reason)}
    components = [_probability(result.model_id, item) for item in result.probabilities]
    probabilities = {"component": components} if components else {}
    if result.finding is not None:
        return {"valueCodeableConcept": finding_concept(result.finding), **probabilities}
    nothing = ABSENT.concept(f"No sign of {wording.assessed(result)}")
    return {"valueCodeableConcept": nothing, **probabilities}


def _probability(model_id: str, label: LabelProbability) -> Resource:
    """Return the probability of one label.

    DCM 122157 says "probability" but not of what, and the label's own code means the disease and
    not its probability. So each component has a code of this model (``model#label``) beside it,
    which tells the components apart.
    """
    of_what = f"Probability of {wording.in_sentence(label.display)}"
    own = Code(f"{IDENTIFIER_ROOT}:probability", f"{model_id}#{label.key}", of_what, "manifest")
    concept = {"coding": [own.coding(), PROBABILITY.coding()], "text": of_what}
    value = {"value": round(label.probability, 3), "unit": "1", "system": UCUM, "code": "1"}
    return {"code": concept, "valueQuantity": value}


def _narrative(result: ModelResult, context: ReportContext) -> Resource:
    rows = (
        ("Model", device_name(result)),
        ("Images", wording.images_sentence(result)),
        ("Analysed", context.instant),
    )
    sentences = (wording.result_sentence(result), wording.AI_NOTICE)
    return narrative("AI imaging result", sentences, rows, context.explanation_url)
