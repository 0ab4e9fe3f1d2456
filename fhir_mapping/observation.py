"""One model's result on one series -> Observation (R4)."""

from __future__ import annotations

from fhir_mapping import wording
from fhir_mapping.codes import (
    ABSENT,
    AREA,
    FINDING,
    IMAGING,
    INDETERMINATE,
    NEGATIVE,
    POSITIVE,
    PROBABILITY,
    UCUM,
    UNKNOWN,
    Code,
    concept,
)
from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.device import device_name
from fhir_mapping.identity import IDENTIFIER_ROOT, device_identity, observation_identity
from fhir_mapping.narrative import narrative
from fhir_mapping.references import about, effective, imaging_study
from fhir_mapping.study import StudyRef
from fhir_mapping.text import plain, said
from inference.analysis import Analysis, LabelProbability, Measurement, ModelResult, Outcome

_INTERPRETATIONS = {
    Outcome.FINDING: POSITIVE,
    Outcome.NO_FINDING: NEGATIVE,
    Outcome.INDETERMINATE: INDETERMINATE,
}
"""What was only measured has none: a size is neither positive nor negative."""


def observation(
    result: ModelResult, analysis: Analysis, ref: StudyRef, context: ReportContext
) -> Resource:
    """Return what one model says of one series; `result` must not be `NOT_ANALYSED`.

    ``code`` is DCM 121071 "Finding"; the value is the stated finding, or DCM 121054 "Absent" for
    the findings that the text names. An abstention has a data-absent-reason, and neither a value
    (obs-6) nor probabilities: numbers that the gates refused are not put into a chart.

    Of an outline ``code`` is SCT 42798000 "Area" and the value its size, in mm² or, where the
    spacing of the pixels is not known, as a part of the image.
    """
    study = imaging_study(ref)
    facts = context.facts(result.model_id)
    made: Resource = {
        "resourceType": "Observation",
        **context.meta(ai=True),
        "text": _narrative(result, context),
        "identifier": [
            observation_identity(
                context.tenant, ref, result, context.identifier_root, context.edition
            ).identifier()
        ],
        "partOf": [study],
        "status": "preliminary",
        "category": [IMAGING.concept()],
        "code": _code(result),
        **about(ref),
        **{k: v for k, v in effective(ref).items() if not k.startswith("_")},
        "issued": context.instant,
        **context.performer(),
        **_answer(result),
        **_interpretation(result),
        "note": [{"time": context.instant, "text": wording.limits(result, facts, analysis)}],
        "method": {"text": _method(result)},
        "device": _device(result, context),
        "derivedFrom": [study],
    }
    if facts.body_site:
        made["bodySite"] = facts.body_site.concept()
    return made


def _code(result: ModelResult) -> Resource:
    if result.task != "segmentation":
        return FINDING.concept(f"AI assessment for {wording.assessed(result)}")
    text = f"Size of what AI outlined as {wording.outlined(result)}"
    measured = result.measurements[:1]
    # where only a part of the image is known, it is no area in the sense of the code
    return concept(text, *(AREA for each in measured if each.unit == "mm2"))


def _interpretation(result: ModelResult) -> Resource:
    code = _INTERPRETATIONS.get(result.outcome)
    return {"interpretation": [code.concept()]} if code else {}


def _method(result: ModelResult) -> str:
    """The model, its precision, the probabilities from which this site wants a finding stated (its
    own may be above the model's), and how a size was measured."""
    how = dict.fromkeys(item.method for item in result.measurements if item.method)
    labels = (item for item in result.probabilities if not item.negative)
    stated = ", ".join(f"{plain(item.display, 60)} from {item.threshold:.3g}" for item in labels)
    states = [f"states {stated}"] * bool(stated)
    return plain("; ".join([f"{device_name(result)}, {result.precision}", *states, *how]), 400)


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
    if result.outcome is Outcome.MEASURED:
        return _measured(result)
    components = [_probability(result.model_id, item) for item in result.probabilities]
    probabilities = {"component": components} if components else {}
    if result.finding is not None:
        return {"valueCodeableConcept": finding_concept(result.finding), **probabilities}
    nothing = ABSENT.concept(f"No sign of {wording.assessed(result)}")
    return {"valueCodeableConcept": nothing, **probabilities}


def _measured(result: ModelResult) -> Resource:
    """Return the first measurement as the value, and the others and the structure beside it."""
    if not result.outlines or not result.measurements:
        return {"valueCodeableConcept": {"text": "Nothing was outlined"}}
    first, *others = result.measurements
    components = [_measurement(result.model_id, item) for item in others]
    components += _structure(result, first)
    made: Resource = {"valueQuantity": _quantity(first)}
    return made | ({"component": components} if components else {})


def _measurement(model_id: str, item: Measurement) -> Resource:
    own = _own_code("measurement", f"{model_id}#{item.key}", item.display)
    return {"code": own, "valueQuantity": _quantity(item)}


def _structure(result: ModelResult, measured: Measurement) -> list[Resource]:
    """Return what was outlined; "possible", since an outline is an algorithm's opinion as well."""
    text = plain(f"Possible {wording.outlined(result)}", 200)
    codes = [measured.coding] if measured.coding else []
    value = concept(text, *(Code(c.system, c.code, said(c.display), "manifest") for c in codes))
    own = _own_code("measurement", f"{result.model_id}#structure", "Outlined structure")
    return [{"code": own, "valueCodeableConcept": value}]


def _own_code(system: str, code: str, display: str) -> Resource:
    return Code(f"{IDENTIFIER_ROOT}:{system}", code, said(display), "manifest").concept(
        said(display)
    )


def _quantity(item: Measurement) -> Resource:
    return {
        "value": wording.rounded(item.value, item.unit),
        "unit": wording.unit_name(item.unit),
        "system": UCUM,
        "code": item.unit,
    }


def _probability(model_id: str, label: LabelProbability) -> Resource:
    """Return the probability of one label.

    DCM 122157 says "probability" but not of what, and the label's own code means the disease and
    not its probability. So each component has a code of this model (``model#label``) beside it,
    which tells the components apart.
    """
    of_what = f"Probability of {wording.in_sentence(label.display)}"
    own = Code(f"{IDENTIFIER_ROOT}:probability", f"{model_id}#{label.key}", of_what, "manifest")
    value = {"value": label.stored, "unit": "1", "system": UCUM, "code": "1"}
    return {"code": concept(of_what, own, PROBABILITY), "valueQuantity": value}


def _narrative(result: ModelResult, context: ReportContext) -> Resource:
    rows = (
        ("Model", device_name(result)),
        ("Images", wording.images_sentence(result)),
        ("Analysed", context.instant),
    )
    sentences = (wording.result_sentence(result), wording.AI_NOTICE)
    return narrative("AI imaging result", sentences, rows, context.explanation_url)
