"""What the server already holds of ours: whose it is now, and which images it speaks of.

A resource is a person's as soon as its status is beyond preliminary, or as it says anything else
than it said when we wrote it. For that each report and Observation carries a digest of what it
says (an identifier of the system ``…:content``). The digest leaves out what servers change by
themselves: ids, meta, identifiers, displays, how a reference or a number is written. A server that
changes more is read right after the write, and the digest becomes that of what it made of it
(`confirming`).
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from fhir_mapping.context import Resource
from fhir_mapping.identity import IDENTIFIER_ROOT, Identity, content_identity, images_identity
from fhir_mapping.reading import ID, Json, member, members, resource, text

_OURS = frozenset({"registered", "partial", "preliminary"})
_VOID = "entered-in-error"
_STATING = ("DiagnosticReport", "Observation")
_SAID = frozenset(
    [
        *("status", "code", "effectiveDateTime", "performer", "resultsInterpreter", "result"),
        *("conclusion", "conclusionCode", "presentedForm", "media", "text", "dataAbsentReason"),
        *("interpretation", "note", "bodySite", "method", "component", "hasMember"),
    ]
)
"""Elements that say something, beside ``value[x]``; all others are names and places."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*")


@dataclass(frozen=True)
class Standing:
    """A resource of ours as the server has it.

    `images` is the instance digest of the analysis that a report came from: another digest today
    means that the study has changed since. `version` is ``meta.versionId``, `updated` is
    ``meta.lastUpdated``; `edited` says that it does not say any more what we wrote, `superseded`
    that it was we who took it back, since a newer analysis does not state it.
    """

    reference: str
    status: str = ""
    version: str | None = None
    images: str | None = None
    edited: bool = False
    updated: str = ""
    superseded: bool = False

    @classmethod
    def of(cls, found: Json, root: str = IDENTIFIER_ROOT) -> Standing:
        """Read a resource back that is known to be ours and to have an id."""
        meta, known = member(found, "meta"), _names(found)
        status, stamp = (
            text(found, "status", 64) or "",
            known.get(content_identity("", root).system),
        )
        edited = _edited(found, stamp)
        return cls(
            f"{found.get('resourceType')}/{found.get('id')}",
            status,
            text(meta, "versionId", 64),
            known.get(images_identity("", root).system),
            edited,
            text(meta, "lastUpdated", 64) or "",
            superseded=status == _VOID and stamp is not None and not edited,
        )

    @property
    def void(self) -> bool:
        """Whether it was taken back."""
        return self.status == _VOID

    @property
    def taken_over(self) -> bool:
        """Whether a person has signed, changed or voided it, or it was recalled.

        Then it is not written again. What was only superseded may be stated anew.
        """
        return self.edited or (self.status not in _OURS and not self.superseded)


def standing(found: object, identity: Identity) -> Standing | None:
    """Read a resource back; ``None`` if it is not the one that `identity` names."""
    kind = identity.resource_type
    read = resource(found, kind)
    own_id = text(read, "id", 64)
    if read is None or own_id is None or not ID.fullmatch(own_id):
        return None
    names = _names(read)
    tags = [(text(t, "system"), text(t, "code")) for t in members(member(read, "meta"), "tag")]
    if names.get(identity.system) != identity.value and (
        (identity.system, identity.value) not in tags
    ):
        return None
    if kind in _STATING and text(read, "status", 64) is None:
        return None
    return Standing.of(read, identity.root)


def ours(found: Json, kind: str, root: str = IDENTIFIER_ROOT) -> tuple[str, ...]:
    """Return the names that we gave a resource as a ``report``, ``observation`` or ``device``."""
    value = _names(found).get(f"{root}:{kind}")
    return (value,) if value else ()


def _names(found: object) -> dict[str, str]:
    """The business identifiers by system."""
    named = ((text(i, "system"), text(i, "value")) for i in members(found, "identifier"))
    return {system: value for system, value in named if system and value}


def chosen(standings: Iterable[Standing]) -> tuple[Standing | None, tuple[Standing, ...]]:
    """Of several resources of one name, the one that stays and those to take back.

    Servers make two in a race. What a person has touched goes before what is ours, then the older
    goes before the newer, so that every process chooses the same. A person's is never taken back.
    """

    def rank(one: Standing) -> tuple[bool, bool, str, str]:
        return one.void, not one.taken_over, one.updated, one.reference

    ranked = sorted(standings, key=rank)
    first = ranked[0] if ranked else None
    return first, tuple(one for one in ranked[1:] if not one.taken_over)


def stamped(written: Resource, root: str) -> Resource:
    """Add the digest of what a report or Observation says; others are returned as they are."""
    if written.get("resourceType") not in _STATING:
        return written
    if written.get("identifier") is None:
        return written
    stamp = content_identity(content_digest(written), root)
    mark = {"use": "secondary", "type": {"text": "As written"}, **stamp.identifier()}
    return {**written, "identifier": [*_others(written, root), mark]}


def unstamped(found: Json, root: str = IDENTIFIER_ROOT) -> Resource:
    """Take the digest away: what is void without it is not stated anew."""
    left = _others(found, root)
    return {**found, "identifier": left} if left else {**found}


def _others(found: Json, root: str) -> list[Json]:
    """The business identifiers without the digest."""
    system = content_identity("", root).system
    return [name for name in members(found, "identifier") if name.get("system") != system]


def confirming(found: Resource) -> Resource:
    """Return the entry that marks what a server made of our words as what we wrote."""
    standing = Standing.of(found)
    return updating(stamped(found, IDENTIFIER_ROOT), standing.reference, standing.version)


def updating(written: Resource, reference: str, version: str | None) -> Resource:
    """Return the entry that replaces a resource in exactly the version that was read."""
    request = {"method": "PUT", "url": reference}
    if version is not None:
        request["ifMatch"] = f'W/"{version}"'
    return {"resource": written, "request": request}


def content_digest(said: Json) -> str:
    """Return the SHA-256 (hex) of what a report or Observation says."""
    kept = {k: v for k, v in said.items() if k in _SAID or k.startswith("value")}
    return hashlib.sha256(json.dumps(_canonical(kept), sort_keys=True).encode()).hexdigest()


def _edited(found: Json, stamp: str | None) -> bool:
    """A server that drops the stamp leaves us the authors to look at: a person among them."""
    if text(found, "resourceType") not in _STATING:
        return False
    if stamp is not None:
        return content_digest(found) != stamp
    people = (*members(found, "resultsInterpreter"), *members(found, "performer"))
    return any(_kind(one) not in ("", "Organization") for one in people)


def _canonical(value: object, name: str = "") -> object:
    """What `value` says, however a server writes it."""
    if isinstance(value, Mapping):
        return _canonical_object(value, name)
    if isinstance(value, list | tuple):
        return [_canonical(each, name) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _number(value)
    return _words(str(value), name)


def _canonical_object(value: Mapping[str, object], name: str) -> object:
    if name in ("result", "hasMember", "link"):
        return "reference"
    if name in ("performer", "resultsInterpreter"):
        return _kind(value)
    if "contentType" in value:  # data may have become a url, with hash and size beside it
        return [str(value.get("contentType")), str(value.get("title", ""))]
    if "code" in value and "system" in value and "value" not in value:
        return [str(value["system"]), str(value["code"])]
    kept = {k: _canonical(v, k) for k, v in value.items() if k not in ("id", "extension")}
    return {k: v for k, v in kept.items() if v not in (None, "", [], {})}


def _kind(reference: Mapping[str, object]) -> str:
    """The type that a reference is of, as far as it says so."""
    stated = text(reference, "type", 64)
    literal = text(reference, "reference") or ""
    if stated or "/" not in literal:
        return stated or ""
    return literal.split("/_history/")[0].rstrip("/").split("/")[-2]


def _number(value: float) -> str:
    try:
        return format(Decimal(str(value)).normalize(), "f")
    except InvalidOperation:
        return str(value)


def _words(said: str, name: str) -> str:
    if name == "div":
        said = html.unescape(re.sub(r"<[^>]*>", " ", said))
    if _TIME.fullmatch(said):
        try:
            return datetime.fromisoformat(said).astimezone(UTC).isoformat(timespec="seconds")
        except (ValueError, OverflowError):
            return said
    return " ".join(said.split())
