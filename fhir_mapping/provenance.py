"""Who made a report, when, and from what -> Provenance (R4)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_mapping import wording
from fhir_mapping.codes import AI_ASSERTED, ASSEMBLER, AUTHOR, CREATE, TEST_DATA
from fhir_mapping.context import ReportContext, Resource
from fhir_mapping.device import device_name
from fhir_mapping.identity import Identity, device_identity, images_identity
from fhir_mapping.narrative import narrative
from fhir_mapping.references import imaging_study
from fhir_mapping.study import StudyRef
from fhir_mapping.text import plain
from inference.analysis import Analysis, ModelResult


def provenance(
    analysis: Analysis,
    results: Sequence[ModelResult],
    ref: StudyRef,
    context: ReportContext,
    *,
    own: Identity,
    targets: Sequence[str],
) -> Resource:
    """Return how `targets` (fullUrls) came to be.

    Provenance has no ``identifier``, so its own (`own`) is a ``meta.tag``: servers can find it by
    ``_tag``, and a repeated write does not add a second one.
    """
    tags = [TEST_DATA.coding()] * context.demo
    models = ", ".join(dict.fromkeys(device_name(result) for result in results))
    rows = (("Made by", models), ("Recorded", context.instant))
    return {
        "resourceType": "Provenance",
        "meta": {"tag": [*tags, {"system": own.system, "code": own.value}]},
        "text": narrative("How this AI report was made", (wording.AI_NOTICE,), rows, None),
        "target": [{"reference": target} for target in targets],
        "recorded": context.instant,
        "reason": [AI_ASSERTED.concept() if context.label_ai else {"text": AI_ASSERTED.display}],
        "activity": CREATE.concept(),
        "agent": [*_authors(results, context), *_assembler(context)],
        "entity": [
            {"role": "source", "what": _images(analysis, ref, context)},
            *_cards(results, context),
        ],
    }


def _authors(results: Sequence[ModelResult], context: ReportContext) -> list[Resource]:
    written = "Device" in context.resource_types
    authors: dict[str, Resource] = {}
    for result in results:
        urn = device_identity(result, context.identifier_root).urn
        named: Resource = {"type": "Device", "display": device_name(result)}
        who = {"reference": urn, **named} if written else named
        authors[urn] = {"type": AUTHOR.concept(), "who": who}
    return list(authors.values())


def _assembler(context: ReportContext) -> list[Resource]:
    program = plain(f"scanhook {context.software_version}", 100)
    return [{"type": ASSEMBLER.concept(), "who": {"type": "Device", "display": program}}]


def _cards(results: Sequence[ModelResult], context: ReportContext) -> list[Resource]:
    """The page of each model's card, as AI Transparency on FHIR has it for a DocumentReference."""
    cards: dict[str, Resource] = {}
    for result in results:
        url = context.facts(result.model_id).card_url
        if url:
            page = {"system": "urn:ietf:rfc:3986", "value": url}
            what = {"identifier": page, "display": f"Model card: {device_name(result)}"}
            cards[url] = {"role": "derivation", "what": what}
    return list(cards.values())


def _images(analysis: Analysis, ref: StudyRef, context: ReportContext) -> Resource:
    """Refer to the study, and say which of its images were there, by their digest."""
    images = images_identity(analysis.instance_digest, context.identifier_root)
    return {**imaging_study(ref), "display": f"Images read: {images.value}"}
