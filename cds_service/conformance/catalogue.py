"""Every check, in the order in which they are run and shown."""

from __future__ import annotations

from cds_service.conformance import (
    browsers,
    calls,
    cards,
    discovery,
    errors,
    feedback,
    offers,
    tokens,
)
from cds_service.conformance.requirement import Check

CHECKS: tuple[Check, ...] = (
    *discovery.CHECKS,
    *tokens.CHECKS,
    *calls.CHECKS,
    *cards.CHECKS,
    *offers.CHECKS,
    *feedback.CHECKS,
    *errors.CHECKS,
    *browsers.CHECKS,
)


def of_requirements(*ids: str) -> tuple[Check, ...]:
    """The checks of these requirements, in any case of their letters; of all if none is given."""
    wanted = {id_.lower() for id_ in ids}
    return tuple(check for check in CHECKS if not wanted or check.id.lower() in wanted)
