"""Answers: the cards that the good calls were answered with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.conformance.examination import Examination
from cds_service.conformance.requirement import requirement
from cds_service.conformance.shapes import (
    empties,
    is_absolute,
    is_coding,
    is_text,
    missing,
    objects,
    strange_names,
)

CLAUSE = "CDS Hooks 2.0.1, Card Attributes"
RESPONSE = "CDS Hooks 2.0.1, CDS Service Response"
SUMMARY_CHARACTERS = 140
"""A summary has fewer than these."""

_MEMBERS: Mapping[str, frozenset[str]] = {
    "answer": frozenset({"cards", "systemActions"}),
    "card": frozenset(
        {"uuid", "summary", "detail", "indicator", "source", "suggestions"}
        | {"selectionBehavior", "overrideReasons", "links"}
    ),
    "source": frozenset({"label", "url", "icon", "topic"}),
    "link": frozenset({"label", "url", "type", "appContext", "autolaunchable"}),
    "suggestion": frozenset(
        {"label", "uuid", "isRecommended", "actions", "actionSelectionBehavior"}
    ),
    "action": frozenset({"type", "description", "resource", "resourceId"}),
}
"""What may stand where, in 2.0.1 and in the 3.0 ballot."""

_ACTIVE = re.compile(r"<\s*(script|iframe|object|embed|form|style)\b|javascript:|\bon\w+\s*=", re.I)


@requirement("A60", "SHALL", "A good call is answered 200 with an object with cards.", RESPONSE)
def calls_are_answered_with_cards(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        if answer.status == 412:  # a matter of the data, which is examined elsewhere
            continue
        fault = answer.fault_as_json()
        if answer.status != 200:
            yield f"{service['id']} answers {answer.status}"
        elif fault:
            yield f"{service['id']}: {fault}"
        elif not isinstance(answer.members.get("cards"), list):
            yield f"{service['id']}: cards is missing or not an array"


@requirement(
    "A07",
    "SHALL",
    "Nothing is null or empty but cards and services.",
    "CDS Hooks 2.0.1, Use of JSON",
)
def nothing_is_empty_in_answers(exam: Examination) -> Iterator[str]:
    for service, answer in exam.answered:
        for path in empties(answer.members) if answer.status == 200 else ():
            yield f"{service['id']}: {path} is null or empty"


@requirement("A61", "SHALL", "A card has summary, indicator and source with a label.", CLAUSE)
def cards_have_what_is_required(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        for sentence in missing(card, "summary", "indicator"):
            yield f"{where}: {sentence}"
        source = card.get("source")
        if not isinstance(source, dict) or not is_text(source.get("label")):
            yield f"{where}: source.label is missing or not a string"


@requirement("A62", "SHALL", f"A summary has fewer than {SUMMARY_CHARACTERS} characters.", CLAUSE)
def summaries_are_short(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        length = len(str(card.get("summary", "")))
        if length >= SUMMARY_CHARACTERS:
            yield f"{where}: summary has {length} characters"


@requirement("A62", "SHOULD", "A summary is one sentence: it has one line.", CLAUSE)
def summaries_are_one_line(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        if len(str(card.get("summary", "")).splitlines()) > 1:
            yield f"{where}: summary has several lines"


@requirement("A63", "SHALL", "indicator is info, warning or critical.", CLAUSE)
def indicators_are_known(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        if "indicator" in card and card["indicator"] not in ("info", "warning", "critical"):
            yield f"{where}: indicator is {str(card['indicator'])[:40]!r}"


@requirement("A64", "SHALL", "detail is a string of GitHub Flavored Markdown.", CLAUSE)
def details_are_text(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        if not is_text(card.get("detail", "none")):
            yield f"{where}: detail is not a string"


@requirement("A64", "SHOULD", "detail holds no markup that a client might run.", CLAUSE)
def details_hold_no_active_markup(exam: Examination) -> Iterator[str]:
    # a summary is plain text, which no client may render
    for where, card in exam.cards:
        if _ACTIVE.search(str(card.get("detail", ""))):
            yield f"{where}: detail holds markup that may run"


@requirement("A65", "SHALL", "uuid is a string, and each card of an answer has its own.", CLAUSE)
def uuids_are_unique(exam: Examination) -> Iterator[str]:
    named = [(where, card["uuid"]) for where, card in exam.cards if "uuid" in card]
    for where, name in named:
        if not is_text(name):
            yield f"{where}: uuid is not a string"
    # the same card may come from two services; what it may not is stand twice in one answer
    counted = Counter((where.rpartition(",")[0], str(name)) for where, name in named)
    for (service, _), count in counted.items():
        if count > 1:
            yield f"{service}: {count} cards have the same uuid"


@requirement(
    "A66",
    "SHALL",
    "source.url and source.icon are absolute, source.topic a Coding.",
    "CDS Hooks 2.0.1, Source",
)
def sources_are_well_formed(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        source = card.get("source")
        if not isinstance(source, dict):
            continue
        for name in ("url", "icon"):
            if name in source and not is_absolute(source[name]):
                yield f"{where}: source.{name} is not an absolute URL"
        if "topic" in source and not is_coding(source["topic"], "code", "system"):
            yield f"{where}: source.topic is not a Coding with code and system"


@requirement("A71", "SHALL", "overrideReasons are Codings with code, system and display.", CLAUSE)
def override_reasons_are_codings(exam: Examination) -> Iterator[str]:
    for where, card in exam.cards:
        reasons = card.get("overrideReasons", [])
        whole = isinstance(reasons, list) and all(
            is_coding(reason, "code", "system", "display") for reason in reasons
        )
        if not whole:
            yield f"{where}: overrideReasons is not an array of whole Codings"


def _parts(exam: Examination) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(where, what, object) of everything in the answers that CDS Hooks itself defines."""
    for service, answer in exam.answered:
        where = str(service["id"])
        yield where, "answer", answer.members
        for action in objects(answer.members.get("systemActions")):
            yield f"{where}, a systemAction", "action", action
        for number, card in enumerate(objects(answer.members.get("cards")), 1):
            yield from _parts_of(f"{where}, card {number}", card)


def _parts_of(where: str, card: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    yield where, "card", card
    for source in objects([card.get("source")]):
        yield f"{where}, source", "source", source
    for link in objects(card.get("links")):
        yield f"{where}, a link", "link", link
    for suggestion in objects(card.get("suggestions")):
        yield f"{where}, a suggestion", "suggestion", suggestion
        for action in objects(suggestion.get("actions")):
            yield f"{where}, an action", "action", action


@requirement("A08", "SHOULD", "An answer has no member that no specification knows.", CLAUSE)
def members_of_answers_are_known(exam: Examination) -> Iterator[str]:
    for where, what, part in _parts(exam):
        for name in sorted(set(part) - _MEMBERS[what] - {"extension"}):
            yield f"{where}: {name[:40]} is unknown; extensions belong into extension"


@requirement("A10", "SHALL", "An extension is an object.", "CDS Hooks 2.0.1, Extensions")
def extensions_of_answers_are_objects(exam: Examination) -> Iterator[str]:
    for where, _, part in _parts(exam):
        if not isinstance(part.get("extension", {}), dict):
            yield f"{where}: extension is not an object"


@requirement(
    "A10", "SHOULD", "Names in an extension are in reverse DNS.", "CDS Hooks 2.0.1, Extensions"
)
def extensions_have_reverse_dns_names(exam: Examination) -> Iterator[str]:
    for where, _, part in _parts(exam):
        for sentence in strange_names(part.get("extension")):
            yield f"{where}: {sentence}"


CHECKS = (
    calls_are_answered_with_cards,
    nothing_is_empty_in_answers,
    cards_have_what_is_required,
    summaries_are_short,
    summaries_are_one_line,
    indicators_are_known,
    details_are_text,
    details_hold_no_active_markup,
    uuids_are_unique,
    sources_are_well_formed,
    override_reasons_are_codings,
    members_of_answers_are_known,
    extensions_of_answers_are_objects,
    extensions_have_reverse_dns_names,
)
