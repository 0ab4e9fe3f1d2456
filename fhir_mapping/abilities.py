"""CapabilityStatement (R4) -> what a server says that it can do; any of it may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_mapping.context import WriteForm
from fhir_mapping.reading import Json, members, resource, text


@dataclass(frozen=True)
class TypeAbilities:
    """What a server says of one resource type."""

    interactions: frozenset[str] = frozenset()
    update_create: bool = False
    conditional_create: bool = False
    conditional_update: bool = False

    @property
    def writable(self) -> bool:
        """Whether it may be made; a type without any interaction is not described, not closed."""
        writes = {"create", "update"} & self.interactions
        return not self.interactions or bool(writes) or self.update_create


@dataclass(frozen=True)
class Abilities:
    """What a server says that it can do. Nothing `stated` means that everything is tried."""

    stated: bool = False
    transaction: bool = False
    batch: bool = False
    types: Mapping[str, TypeAbilities] = field(default_factory=dict)

    def writable(self, kind: str) -> bool:
        """Whether resources of a type may be made: a type that is left out may not."""
        if not self.stated or not self.types:
            return True
        return kind in self.types and self.types[kind].writable

    def forms(self, kinds: frozenset[str]) -> tuple[WriteForm, ...]:
        """The ways to name new resources that it offers for all `kinds`, the best first."""
        if not self.stated:
            return tuple(WriteForm)
        known = [self.types[kind] for kind in kinds if kind in self.types]
        offered = {
            WriteForm.CONDITIONAL_UPDATE: all(t.conditional_update for t in known),
            WriteForm.CONDITIONAL_CREATE: all(t.conditional_create for t in known),
            WriteForm.CLIENT_ASSIGNED_IDS: all(t.update_create for t in known),
            WriteForm.PLAIN: True,
        }
        return tuple(form for form in WriteForm if offered[form] and (known or form == "plain"))


def abilities(statement: object) -> Abilities:
    """Read a CapabilityStatement; one that cannot be read states nothing. Never raises."""
    read = resource(statement, "CapabilityStatement")
    rests = [rest for rest in members(read, "rest") if text(rest, "mode") in ("server", None)]
    if not rests:
        return Abilities()
    system = {text(i, "code") for rest in rests for i in members(rest, "interaction")}
    types = {
        kind: _type(each)
        for rest in rests
        for each in members(rest, "resource")
        if (kind := text(each, "type", 64))
    }
    return Abilities(True, "transaction" in system, "batch" in system, types)


def _type(stated: Json) -> TypeAbilities:
    codes = (text(i, "code") for i in members(stated, "interaction"))
    return TypeAbilities(
        frozenset(code for code in codes if code),
        stated.get("updateCreate") is True,
        stated.get("conditionalCreate") is True,
        stated.get("conditionalUpdate") is True,
    )
