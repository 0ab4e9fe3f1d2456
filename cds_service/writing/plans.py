"""How to write to a server: the plans that it may take, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fhir_mapping.abilities import Abilities
from fhir_mapping.context import WriteForm


class Transport(StrEnum):
    """How many resources go into one request."""

    TRANSACTION = "transaction"
    """All of them: all or nothing."""

    BATCH = "batch"
    """All of one type: a batch may not refer to itself (R4 http.html#brules)."""

    SINGLE = "single"
    """One, each after those that it refers to."""


@dataclass(frozen=True)
class Plan:
    """One way to write; of several `forms` the next is tried where one is refused."""

    transport: Transport
    forms: tuple[WriteForm, ...]


def plans(
    able: Abilities, kinds: frozenset[str], wanted: WriteForm | None = None
) -> tuple[Plan, ...]:
    """Return what to try, in this order; the last is what every server can do.

    transaction, batch, then one by one by conditional update, conditional create, an id of ours,
    or a plain create after a search. A server that states nothing is tried with the first and
    with everything one by one. `wanted` goes before what the server states.
    """
    offered = [form for form in able.forms(kinds) if form is not wanted]
    forms = tuple([wanted, *offered] if wanted else offered)
    found = []
    if able.transaction or not able.stated:
        found.append(Plan(Transport.TRANSACTION, forms[:1]))
    if able.batch and forms[0] is not WriteForm.PLAIN:
        found.append(Plan(Transport.BATCH, forms[:1]))
    return (*found, Plan(Transport.SINGLE, forms))
