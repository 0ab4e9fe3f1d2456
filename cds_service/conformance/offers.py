"""What a card offers to do: suggestions, actions and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cds_service.conformance.examination import Examination
from cds_service.conformance.requirement import requirement
from cds_service.conformance.shapes import (
    LOOPBACK,
    RELATIVE,
    is_absolute,
    is_text,
    missing,
    objects,
)

CLAUSE = "CDS Hooks 2.0.1, Card Attributes"
SUGGESTION = "CDS Hooks 2.0.1, Suggestion"
ACTION = "CDS Hooks 2.0.1, Action"
LINK = "CDS Hooks 2.0.1, Link"

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SECRET = re.compile(r"(?:^|[?&])(access_token|token|password|apikey|api_key)=", re.I)

Part = Mapping[str, Any]


def _suggestions(exam: Examination) -> Iterator[tuple[str, Part, Part]]:
    for where, card in exam.cards:
        for number, suggestion in enumerate(objects(card.get("suggestions")), 1):
            yield f"{where}, suggestion {number}", suggestion, card


def _actions(exam: Examination) -> Iterator[tuple[str, Part, bool]]:
    """(where, action, whether it stands in a suggestion)."""
    for where, suggestion, _ in _suggestions(exam):
        for number, action in enumerate(objects(suggestion.get("actions")), 1):
            yield f"{where}, action {number}", action, True
    for service, answer in exam.answered:
        for number, action in enumerate(objects(answer.members.get("systemActions")), 1):
            yield f"{service['id']}, systemAction {number}", action, False


def _links(exam: Examination) -> Iterator[tuple[str, Part]]:
    for where, card in exam.cards:
        for number, link in enumerate(objects(card.get("links")), 1):
            yield f"{where}, link {number}", link


def _each_is_an_object(card: Part, name: str) -> bool:
    value = card.get(name, [])
    return isinstance(value, list) and len(objects(value)) == len(value)


@requirement(
    "A67",
    "SHALL",
    "selectionBehavior is at-most-one or any, and stands with suggestions.",
    CLAUSE,
)
def selection_behavior_goes_with_suggestions(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        wanted = "suggestions" in card or "selectionBehavior" in card
        if wanted and card.get("selectionBehavior") not in ("at-most-one", "any"):
            yield f"{where}: selectionBehavior is missing or unknown"


@requirement(
    "A68", "SHALL", "A suggestion has a label; its optional members have their types.", SUGGESTION
)
def suggestions_are_well_formed(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        if not _each_is_an_object(card, "suggestions"):
            yield f"{where}: suggestions is not an array of objects"
    for where, suggestion, _ in _suggestions(exam):
        for sentence in missing(suggestion, "label"):
            yield f"{where}: {sentence}"
        if not is_text(suggestion.get("uuid", "none")):
            yield f"{where}: uuid is not a string"
        if not isinstance(suggestion.get("isRecommended", False), bool):
            yield f"{where}: isRecommended is not a boolean"
        actions = suggestion.get("actions", [{}])
        if not actions or not _each_is_an_object({"actions": actions}, "actions"):
            yield f"{where}: actions is not an array with objects"


@requirement("A68", "SHALL", "Each suggestion of an answer has a uuid of its own.", SUGGESTION)
def suggestion_uuids_are_unique(exam: Examination) -> Iterator[str]:
    named = Counter(
        (where.rpartition(", card ")[0], str(suggestion["uuid"]))
        for where, suggestion, _ in _suggestions(exam)
        if "uuid" in suggestion
    )
    for (service, _), count in named.items():
        if count > 1:
            yield f"{service}: {count} suggestions have the same uuid"


@requirement("A68", "SHALL", "With at-most-one, no two suggestions are recommended.", SUGGESTION)
def one_suggestion_is_recommended(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        suggestions = objects(card.get("suggestions"))
        recommended = [s for s in suggestions if s.get("isRecommended") is True]
        if card.get("selectionBehavior") == "at-most-one" and len(recommended) > 1:
            yield f"{where}: {len(recommended)} suggestions are recommended"


@requirement("A69", "SHALL", "An action is create, update or delete and says what it does.", ACTION)
def actions_are_well_formed(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        if not _each_is_an_object(answer.members, "systemActions"):
            yield f"{service['id']}: systemActions is not an array of objects"
    for where, action, suggested in _actions(exam):
        if action.get("type") not in ("create", "update", "delete"):
            yield f"{where}: type is not create, update or delete"
        if suggested and not is_text(action.get("description")):
            yield f"{where}: description is missing"
        resource = action.get("resource")
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if action.get("type") in ("create", "update") and not is_text(kind):
            yield f"{where}: resource is not a FHIR resource"
        if not is_text(action.get("resourceId", "none")):
            yield f"{where}: resourceId is not a string"


@requirement("A69", "SHOULD", "An action that deletes names what it deletes by resourceId.", ACTION)
def deletions_name_a_resource(exam: Examination) -> Iterator[str]:
    for where, action, _ in _actions(exam):
        named = RELATIVE.fullmatch(str(action.get("resourceId")))
        if action.get("type") == "delete" and not named:
            yield f"{where}: resourceId is missing, or no relative reference"


@requirement("A69", "SHOULD", "What is updated is there in its entirety, with its id.", ACTION)
def updates_name_a_resource(exam: Examination) -> Iterator[str]:
    for where, action, _ in _actions(exam):
        resource = action.get("resource")
        named = isinstance(resource, dict) and is_text(resource.get("id"))
        if action.get("type") == "update" and not named:
            yield f"{where}: resource has no id"


@requirement(
    "A70",
    "SHALL",
    "actionSelectionBehavior is not sent to a client of 2.0.",
    "CDS Hooks 3.0 ballot, Suggestion",
)
def actions_are_not_selected_one_by_one(exam: Examination) -> Iterator[str]:
    for where, suggestion, _ in _suggestions(exam):
        if "actionSelectionBehavior" in suggestion:
            yield f"{where}: actionSelectionBehavior is sent"


@requirement(
    "A72", "SHALL", "A link has a label, an absolute URL, and type absolute or smart.", LINK
)
def links_are_well_formed(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        if not _each_is_an_object(card, "links"):
            yield f"{where}: links is not an array of objects"
    for where, link in _links(exam):
        for sentence in missing(link, "label"):
            yield f"{where}: {sentence}"
        if not is_absolute(link.get("url")):
            yield f"{where}: url is not an absolute URL"
        if link.get("type") not in ("absolute", "smart"):
            yield f"{where}: type is not absolute or smart"


@requirement("A72", "SHALL", "appContext is a string, and only a link of type smart has one.", LINK)
def app_context_belongs_to_smart_links(exam: Examination) -> Iterator[str]:
    for where, link in _links(exam):
        if "appContext" not in link:
            continue
        if link.get("type") != "smart":
            yield f"{where}: appContext stands with type {str(link.get('type'))[:20]}"
        if not isinstance(link["appContext"], str):
            yield f"{where}: appContext is not a string"


@requirement("A75", "SHOULD", "A link carries no secret and does not name the patient.", LINK)
def links_carry_no_secret(exam: Examination) -> Iterator[str]:
    patient = exam.subject.who.patient_id
    named = re.compile(rf"(?:^|[/=]){re.escape(patient)}(?:$|[/&#?])")
    for where, link in _links(exam):
        url = str(link.get("url", ""))
        parts = urlsplit(url) if is_absolute(url) else urlsplit("")
        below = f"{parts.path}?{parts.query}"
        if _JWT.search(url) or _SECRET.search(f"?{parts.query}") or parts.username:
            yield f"{where}: url carries a credential"
        if named.search(below):
            yield f"{where}: url names the patient"


@requirement("A75", "SHOULD", "A link leads to https.", LINK)
def links_lead_to_https(exam: Examination) -> Iterator[str]:
    for where, link in _links(exam):
        if not is_absolute(link.get("url")):
            continue
        parts = urlsplit(str(link["url"]))
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            yield f"{where}: url is not https"


CHECKS = (
    selection_behavior_goes_with_suggestions,
    suggestions_are_well_formed,
    suggestion_uuids_are_unique,
    one_suggestion_is_recommended,
    actions_are_well_formed,
    deletions_name_a_resource,
    updates_name_a_resource,
    actions_are_not_selected_one_by_one,
    links_are_well_formed,
    app_context_belongs_to_smart_links,
    links_carry_no_secret,
    links_lead_to_https,
)
