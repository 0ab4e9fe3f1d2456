"""What a card says of an analysis, read from its extension (CDS Hooks 2.0.1, Extensions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXTENSION = "org.scanhook.result"
ENDED = frozenset({"final", "abstained", "failed"})
_SILENT = "unknown"


@dataclass(frozen=True)
class CardResult:
    """The machine-readable part of a card; empty where the card has none.

    `state` is ``unknown`` when the service says nothing of it: then there is nothing to wait for.
    """

    study: str = ""
    state: str = _SILENT
    outcome: str = ""
    model: str = ""
    version: str = ""
    label: str = ""
    probability: float | None = None
    steps_ms: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether a later hook may say more."""
        return self.state not in ENDED and self.state not in (_SILENT, "unavailable")


def card_result(card: Mapping[str, Any]) -> CardResult:
    """Read a card's extension; values of another type than expected count as absent."""
    extension = card.get("extension")
    found = extension.get(EXTENSION) if isinstance(extension, Mapping) else None
    if not isinstance(found, Mapping):
        return CardResult()
    reasons = found.get("reasons")
    return CardResult(
        study=_text(found, "study"),
        state=_text(found, "state") or _SILENT,
        outcome=_text(found, "outcome"),
        model=_text(found, "model"),
        version=_text(found, "version"),
        label=_text(found, "label"),
        probability=_number(found.get("probability")),
        steps_ms=_numbers(found.get("steps_ms")),
        reasons=tuple(map(str, reasons)) if isinstance(reasons, list) else (),
    )


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _numbers(value: object) -> dict[str, float]:
    items = value.items() if isinstance(value, Mapping) else ()
    found = {str(name): _number(item) for name, item in items}
    return {name: number for name, number in found.items() if number is not None}
