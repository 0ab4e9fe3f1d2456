"""Open every chart of the demo EHR as a clinician would, and wait for what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from cds_service.sandbox.results import CardResult, card_result

REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class WalkRow:
    """What became of one study.

    `outcome` is the analysis' own word, ``no-card`` when the service had nothing to say, and
    ``unreachable`` when it could not be asked. `hook_ms` is the time of the last answer, `ready_s`
    from the first hook to the end of the analysis as the charts saw it. `expected` is empty for a
    study of which nothing is known.
    """

    patient: str
    study: str
    truth: str
    expected: frozenset[str]
    expected_labels: tuple[str, ...]
    state: str
    outcome: str
    model: str
    version: str
    label: str
    probability: float | None
    hook_ms: float
    ready_s: float
    steps_ms: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    reports: int = 0

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is one that is right for the study, and the finding one that passes.

        Of a study of one's own nothing is expected but that its analysis ends.
        """
        if not self.expected:
            return self.state in ("final", "abstained")
        right = self.label in self.expected_labels or self.outcome != "finding"
        return self.outcome in self.expected and right


@dataclass(frozen=True)
class Walk:
    """Every study of the sandbox, patient by patient."""

    rows: tuple[WalkRow, ...]

    @property
    def all_as_expected(self) -> bool:
        """Whether there was something to look at, and all of it went as it should."""
        return bool(self.rows) and all(row.as_expected for row in self.rows)


class SandboxUnreachable(Exception):
    """The demo EHR does not answer."""


def walk(
    ehr_url: str,
    deadline_s: float = 60.0,
    *,
    pause_s: float = 0.25,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Walk:
    """Open the charts one after another until each analysis has ended, `deadline_s` for all.

    Raises:
        SandboxUnreachable: the demo EHR itself does not answer.
    """
    until = clock() + deadline_s
    studies = _asked("GET", f"{ehr_url}/sandbox/studies")
    by_patient: dict[str, list[Mapping[str, Any]]] = {}
    for study in studies:
        by_patient.setdefault(study["patient"], []).append(study)
    rows: list[WalkRow] = []
    for patient, own in by_patient.items():
        started = clock()
        url = f"{ehr_url}/sandbox/open/{patient}"
        answer = _asked("POST", url)
        while _pending(answer) and clock() < until:
            sleep(pause_s)
            answer = _asked("POST", url)
        rows += _rows(own, answer, clock() - started)
    return Walk(tuple(rows))


def _pending(answer: Mapping[str, Any]) -> bool:
    return any(card_result(card).pending for card in answer["cards"])


def _rows(
    studies: list[Mapping[str, Any]], answer: Mapping[str, Any], ready_s: float
) -> list[WalkRow]:
    """Cards name a study only opaquely: with one study and one card they belong together, else
    each card is a row of its own and each study without a card too."""
    cards = list(answer["cards"])
    pairs = list(zip(studies, cards, strict=False))
    pairs += [(study, None) for study in studies[len(cards) :]]
    pairs += [(studies[-1], card) for card in cards[len(studies) :]]
    return [_row(study, card, answer, ready_s) for study, card in pairs]


def _row(
    study: Mapping[str, Any],
    card: Mapping[str, Any] | None,
    answer: Mapping[str, Any],
    ready_s: float,
) -> WalkRow:
    result = card_result(card) if card else CardResult(state="no-card", outcome="no-card")
    reached = answer["status"] == 200
    links = card.get("links", []) if card else []
    return WalkRow(
        patient=study["name"],
        study=study.get("key") or study["description"] or study["study"],
        truth=study.get("truth", ""),
        expected=frozenset(study.get("expected", ())),
        expected_labels=tuple(study.get("labels", ())),
        state=result.state if reached else "unreachable",
        outcome=(result.outcome or result.state) if reached else "unreachable",
        model=result.model,
        version=result.version,
        label=result.label,
        probability=result.probability,
        hook_ms=float(answer["took_ms"]),
        ready_s=ready_s,
        steps_ms=result.steps_ms,
        links={str(link.get("label", "")): str(link.get("url", "")) for link in links},
        summary=str(card.get("summary", "")) if card else answer["problem"],
        reports=int(answer["reports"]),
    )


def _asked(method: str, url: str) -> Any:
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, timeout=REQUEST_TIMEOUT_S)
            answer.raise_for_status()
            return answer.json()
    except (requests.RequestException, ValueError):
        raise SandboxUnreachable(f"The demo EHR at {url} does not answer.") from None
