"""The model as a FHIR Device: one for each version and file of weights."""

from __future__ import annotations

from fhir_mapping.codes import UCUM
from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.identity import device_identity
from fhir_mapping.narrative import narrative
from fhir_mapping.text import plain, said
from inference.analysis import ModelResult

DEVICE_TYPE = "Artificial intelligence algorithm"


def device_name(result: ModelResult) -> str:
    """Return title and version: how people call the model."""
    return f"{_title(result)} {said(result.model_version, 100)}"


def _title(result: ModelResult) -> str:
    return plain(result.model_title, 200) or said(result.model_id)


def device(result: ModelResult, context: ReportContext) -> Resource:
    """Return the Device that made `result`; the same model file gives the same Device.

    There is no UDI to state (a research model has none), and no published code for the type:
    AI Transparency on FHIR is in ballot, so ``type`` is text.
    """
    facts = context.facts(result.model_id)
    made: Resource = {
        "resourceType": "Device",
        **context.meta(ai=False),
        "text": _narrative(result, context),
        "identifier": [device_identity(result, context.identifier_root).identifier()],
        "status": "active",
        "deviceName": [
            {"name": _title(result), "type": "user-friendly-name"},
            {"name": said(result.model_id), "type": "model-name"},
        ],
        "modelNumber": said(result.model_id),
        "type": {"text": DEVICE_TYPE},
        "version": [
            {"type": {"text": "Model version"}, "value": said(result.model_version)},
            {"type": {"text": "SHA-256 of the weights"}, "value": said(result.model_sha256)},
            {"type": {"text": "Precision"}, "value": said(result.precision)},
        ],
        "property": [_threshold(item.display, item.threshold) for item in result.probabilities],
    }
    developer = plain(facts.developer, 200)
    if developer:
        made["manufacturer"] = developer
    if facts.card_url:
        made["url"] = facts.card_url
    return {name: value for name, value in made.items() if value != []}


def _threshold(display: str, value: float) -> Resource:
    quantity = {"value": round(value, 3), "unit": "1", "system": UCUM, "code": "1"}
    kind = {"text": f"Probability from which it is stated: {said(display, 80)}"}
    return {"type": kind, "valueQuantity": [quantity]}


def _narrative(result: ModelResult, context: ReportContext) -> Resource:
    facts = context.facts(result.model_id)
    sentences = [DEVICE_TYPE + ".", *([facts.intended_use] if facts.intended_use else [])]
    rows = (("Developer", facts.developer), ("Precision", result.precision))
    return narrative(device_name(result), sentences, rows, None)
