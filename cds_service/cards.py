"""What is known of a study -> the card that says so (CDS Hooks 2.0.1, Card Attributes).

Waiting, not analysed and negative are three different texts, and nothing negative is said before
the record is final. Each state has one card or, by `HookSettings`, none.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cds_service.claims import EXTENSION, Card, claims_of, images_of, stated_on
from cds_service.known_study import KnownStudy
from cds_service.paragraphs import provenance, recalled, results_of, size_of, why
from cds_service.queue.state import State, StudyRecord
from cds_service.recalls import Concerned, nothing_recalled
from cds_service.settings import HookSettings
from cds_service.summary import (
    MeasurementSummary,
    ResultSummary,
    StudySummary,
)
from cds_service.wording import (
    UNREVIEWED,
    counted,
    cut,
    plain,
    proper,
    study_name,
    summary,
)
from fhir_mapping.wording import in_sentence, listed, probability_band
from inference.analysis import Outcome

TOPIC = {
    "system": "https://scanhook.org/fhir/CodeSystem/card-topic",
    "code": "imaging-ai",
    "display": "Imaging AI",
}

OVERRIDE_SYSTEM = "https://scanhook.org/fhir/CodeSystem/override-reason"
OVERRIDE_REASONS: Mapping[str, str] = {
    "already-known": "The finding is already known",
    "image-quality": "The image quality does not allow it",
    "disagree": "I disagree with the finding",
    "not-my-patient": "Not my patient",
    "not-relevant-now": "Not relevant now",
}

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://scanhook.org/cards")


class CardLinks(Protocol):
    """Where a card leads (see `security.links.Links`)."""

    def explanation_url(self, explanation_id: str, study_key: str, now_s: float) -> str:
        """A short-lived link to the page that shows why."""

    def status_url(self, study_key: str, now_s: float) -> str:
        """A short-lived link to how far an analysis is."""

    @property
    def launch_url(self) -> str:
        """Where an EHR launches the explanation as a SMART app."""

    def model_card_url(self, model_id: str, version: str) -> str:
        """The page of a model's card."""


@dataclass(frozen=True)
class CardSite:
    """Who speaks and how: the organisation, the settings of the hook, links, the time in s."""

    organisation: str
    hook: HookSettings
    links: CardLinks
    clock_s: Callable[[], float]
    demo: bool = False
    launched: bool = False
    """Whether the EHR launches the explanation from the chart, so that no link has a secret."""

    recalled: Concerned = nothing_recalled
    """Whether the answers of some models were recalled."""


def study_card(study: KnownStudy, site: CardSite, *, findings_only: bool = False) -> Card | None:
    """The card of one study, ``None`` when its state has none on this site."""
    left = study.without_recalled(site.recalled)
    card = _card_of(left, site)
    if left.recalled and (_is_settled(card, study) or not _states(card)):
        card = _recalled(study, site)
    if card is None or _is_settled(card, study):
        return None
    return card if card["extension"][EXTENSION].get("label") or not findings_only else None


def _card_of(study: KnownStudy, site: CardSite) -> Card | None:
    state = study.record.state
    if state is State.FINAL and study.summary is not None:
        return _final(study, study.summary, site)
    if study.earlier_finding is not None:
        return _finding(study, study.earlier_finding, site, outdated=True)
    if state is State.ABSTAINED and study.summary is not None:
        return _abstained(study, study.summary, site)
    return _without_result(study, site)


def _is_settled(card: Card | None, study: KnownStudy) -> bool:
    return card is None or claims_of(card).keys() <= study.settled


def _states(card: Card | None) -> bool:
    said = (Outcome.FINDING, Outcome.MEASURED, Outcome.NO_FINDING)
    return card is not None and stated_on(card).get("outcome") in said


def _recalled(study: KnownStudy, site: CardSite) -> Card:
    """Whoever has seen the result must hear that it does not hold; nothing of it is repeated."""
    text = f"AI result on {plain(study_name(study.ref))} was recalled: it must not be used"
    detail = f"{_RECALLED} That says nothing about the images. Please read them as usual."
    record = study.record
    name = _uuid("recalled", record.id, record.instance_digest, record.models)
    return _card(site, name, "info", text, detail, {"study": record.id, "state": "recalled"})


_RECALLED = "The version of the model that made it was found not to be reliable."


def unavailable_card(site: CardSite) -> Card:
    """What is said when neither the record nor the queue can be reached; it names no study."""
    text = "AI analysis is not available at the moment"
    detail = f"{text}. That says nothing about the images. Please read them as usual."
    return _card(site, _uuid("unavailable"), "info", text, detail, {"state": "unavailable"})


def _final(study: KnownStudy, found: StudySummary, site: CardSite) -> Card | None:
    if found.finding is not None:
        return _finding(study, found, site)
    if found.outcome not in (Outcome.NO_FINDING, Outcome.MEASURED):
        return _abstained(study, found, site)
    if not any(result.outcome is Outcome.NO_FINDING for result in found.results):
        return _measured(study, found, site)
    if not site.hook.show_no_finding:
        return None
    name = study_name(study.ref)
    text = f"AI found none of the findings it looks for on {plain(name)}; not reviewed by a person"
    lines = [UNREVIEWED, *results_of(found), provenance(found)]
    return _result_card(study, found, site, "info", text, lines)


def _finding(
    study: KnownStudy, found: StudySummary, site: CardSite, *, outdated: bool = False
) -> Card | None:
    result = study.leading(found)
    if result is None or result.finding is None:
        return None
    label, name = plain(result.finding.display, 48), plain(study_name(study.ref))
    band = probability_band(result.finding.probability)
    sizes = [size_of(outline.measurements[0]) for outline in found.outlines_of(result)]
    size = f", {sizes[0]}" if sizes else ""
    end = f" on {name}; not reviewed by a person"
    text = summary(
        f"AI suggests possible {label} ({band}{size}){end}",
        f"AI suggests possible {label} ({band}){end}",
        f"AI suggests possible {cut(label, _LABEL_UNITS)} ({band}){end}",
    )
    lines = [UNREVIEWED, *results_of(found), provenance(found)]
    if outdated:
        lines.insert(1, f"**Outdated:** {_WHY_OUTDATED[study.record.state]}")
    return _result_card(study, found, site, site.hook.finding_indicator, text, lines)


def _measured(study: KnownStudy, found: StudySummary, site: CardSite) -> Card | None:
    if not site.hook.show_measured:
        return None
    results = [result for result in found.results if result.outcome is Outcome.MEASURED]
    sizes = [size_of(each) for result in results for each in result.measurements[:1]]
    what = listed((plain(in_sentence(result.structure), 40) for result in results), "and")
    size = f" ({', '.join(sizes)})" if sizes else ""
    outlined = f"AI outlined {what}{size}" if any(r.outlined for r in results) else _NOTHING
    end = f" on {plain(study_name(study.ref))}; not reviewed by a person"
    text = summary(outlined + end, cut(outlined, _OUTLINE_UNITS) + end)
    lines = [UNREVIEWED, *results_of(found), provenance(found)]
    return _result_card(study, found, site, "info", text, lines)


_NOTHING = "AI outlined nothing"

_LABEL_UNITS, _OUTLINE_UNITS = 22, 56
"""Room for what is suggested or outlined beside the longest name of a study: what is cut is a name
that the detail says in full, never that nobody has reviewed it."""


_AGAIN = "the study or the models changed since, and it is being analysed again."
_WHY_OUTDATED = dict.fromkeys(State, _AGAIN) | {
    State.FAILED: "the study or the models changed since, and the new analysis failed."
}


def _abstained(study: KnownStudy, found: StudySummary, site: CardSite) -> Card | None:
    name = plain(study_name(study.ref))
    if found.results:
        text = f"AI gave no usable answer on {name}: indeterminate"
    elif site.hook.show_not_analysed:
        text = f"{name} was not analysed by AI"
    else:
        return None
    if any(result.outcome is Outcome.MEASURED for result in found.results):
        lines = ["**There is no AI answer on any finding.** This says nothing about the images."]
    else:
        lines = ["**There is no AI result.** This says nothing about the images."]
    others = why(found.not_analysed)
    if found.results and others:  # else they read as reasons of the model that was run
        others = f"Other models were not run:\n\n{others}"
    lines += [*results_of(found), others, provenance(found)]
    return _result_card(study, found, site, "info", text, lines)


def _without_result(study: KnownStudy, site: CardSite) -> Card | None:
    state, name = study.record.state, plain(study_name(study.ref))
    if state is State.FAILED or state.ended:
        shown, text = site.hook.show_failed, f"AI analysis of {name} could not be completed"
        detail = "There is no AI result. This says nothing about the images."
    elif state is State.RECEIVED:
        shown, text = site.hook.show_pending, f"AI analysis of {name} is waiting; no result yet"
        detail = "The result, if there is one, is on the card the next time this chart is opened."
        if study.ahead:
            before = counted(study.ahead, "study", "studies")
            text = f"AI analysis of {name} is waiting with {before} before it; no result yet"
    else:
        shown, text = site.hook.show_pending, f"AI analysis of {name} is running; no result yet"
        detail = "The result, if there is one, is on the card the next time this chart is opened."
    if not shown:
        return None
    reasons = [study.record.error_kind] if state is State.FAILED else []
    card = _card(
        site,
        _uuid(study.record.id, study.record.content_key, study.record.models, state),
        "info",
        text,
        detail,
        {"study": study.record.id, "state": str(state), "reasons": reasons},
    )
    if state.ended:
        return card
    url = site.links.status_url(study.record.id, site.clock_s())
    return card | {"links": [{"label": "How far it is", "url": url, "type": "absolute"}]}


def _result_card(
    study: KnownStudy,
    found: StudySummary,
    site: CardSite,
    indicator: str,
    text: str,
    lines: Sequence[str],
) -> Card:
    record, result = study.record, study.leading(found) or next(iter(found.results), None)
    label = result.finding if result else None
    speaking = [r for r in found.results if r.finding] or found.results
    models = dict.fromkeys((r.model_id, r.model_version) for r in speaking)
    gone = [f"{r.model_id}@{r.model_version}" for r in study.recalled]
    extension = {
        "study": record.id,
        "state": str(record.state),
        "outcome": str(found.outcome),
        "model": result.model_id if result else None,
        "version": result.model_version if result else None,
        "models": [{"model": model_id, "version": version} for model_id, version in models],
        "images": images_of(record.instance_digest),
        "label": label.key if label else None,
        "probability": label.probability if label else None,
        "measurements": [_measurement(r, m) for r in found.results for m in r.measurements],
        "steps_ms": dict(found.steps_ms),
        "reasons": _reason_kinds(found),
        "recalled": gone,
    }
    named = (*_named(result), found.outcome, *gone)
    name = _uuid(record.id, record.instance_digest, record.models, *named)
    lines = [lines[0], *recalled(study.recalled), *lines[1:]]
    card = _card(site, name, indicator, text, "\n\n".join(filter(None, lines)), extension)
    return card | _links(record, found, site) | {"overrideReasons": override_reasons()}


def _measurement(result: ResultSummary, measured: MeasurementSummary) -> dict[str, Any]:
    numbers = {"key": measured.key, "value": measured.value, "unit": measured.unit}
    return {"model": result.model_id, **numbers}


def _named(result: ResultSummary | None) -> tuple[str, ...]:
    return (result.model_id, result.model_version) if result else ()


def override_reasons() -> list[dict[str, str]]:
    """The reasons for which a clinician may set a card aside, as Codings."""
    return [
        {"code": code, "system": OVERRIDE_SYSTEM, "display": display}
        for code, display in OVERRIDE_REASONS.items()
    ]


def _card(
    site: CardSite, name: str, indicator: str, text: str, detail: str, extension: Mapping[str, Any]
) -> Card:
    """A card without any null, empty string, array or object (CDS Hooks 2.0.1, JSON)."""
    demo = "\n\nDemonstration with test data; the models are for research." if site.demo else ""
    return {
        "uuid": name,
        "summary": summary(text),
        "detail": detail + demo,
        "indicator": indicator,
        "source": {"label": proper(site.organisation) or "scanhook", "topic": TOPIC},
        "extension": {
            EXTENSION: {k: v for k, v in extension.items() if v not in (None, "", [], {})}
        },
    }


def _links(record: StudyRecord, found: StudySummary, site: CardSite) -> dict[str, Any]:
    links = []
    if record.explanation_id:
        links.append({"label": "Why: images, heat map, limits", **_way(record, site)})
    models = {(r.model_id, r.model_version): plain(r.model_title) for r in found.results}
    for (model_id, version), title in models.items():
        url = site.links.model_card_url(model_id, version)
        links.append({"label": f"About the model: {title}", "url": url, "type": "absolute"})
    return {"links": links} if links else {}


def _way(record: StudyRecord, site: CardSite) -> dict[str, str]:
    """To the explanation: a launch that names the study, or a link that carries its own proof."""
    if site.launched:
        return {"url": site.links.launch_url, "type": "smart", "appContext": record.id}
    url = site.links.explanation_url(record.explanation_id, record.id, site.clock_s())
    return {"url": url, "type": "absolute"}


def _reason_kinds(found: StudySummary) -> list[str]:
    reasons = [*found.not_analysed, *(r for result in found.results for r in result.reasons)]
    return list(dict.fromkeys(reason.kind for reason in reasons))


def _uuid(*parts: str) -> str:
    """The same card has the same uuid, so that feedback on it needs nothing but this name."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))
