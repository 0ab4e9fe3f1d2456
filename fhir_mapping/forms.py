"""The same resources as different servers take them: how they are named, and what is left out.

An `Item` is a resource and the name that its content gives it. `entry` says how it is written;
`resolved`, `softened` and `without` change what stands in it, and never what it says of images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto

from fhir_mapping.codes import AI_ASSERTED
from fhir_mapping.context import Resource, WriteForm
from fhir_mapping.existing import Standing, stamped
from fhir_mapping.identity import Identity


@dataclass(frozen=True)
class Item:
    """One resource to write, under the name that its content gives it."""

    identity: Identity
    resource: Resource

    @property
    def kind(self) -> str:
        """The resource type."""
        return self.identity.resource_type

    @property
    def query(self) -> tuple[str, str]:
        """(parameter, value) of the search that finds it; Provenance has no identifier in R4."""
        parameter = "_tag" if self.kind == "Provenance" else "identifier"
        return parameter, self.identity.token


class Softness(Flag):
    """What a server made us leave out."""

    NOTHING = 0
    DEVICE = auto()
    """Devices are named by identifier instead of by a literal reference."""

    STUDY = auto()
    """So is the ImagingStudy."""

    CONTEXT = auto()
    """Encounter, order and organisation too; what has neither identifier nor name is left out."""

    ATTACHMENTS = auto()
    """No ``presentedForm`` and no ``media``: some servers take no HTML, or no foreign address."""

    LABELS = auto()
    """No AIAST, which is younger than FHIR 4.0.1 (the narrative still says that it is AI's)."""

    EVERYTHING = DEVICE | STUDY | CONTEXT | ATTACHMENTS | LABELS

    @property
    def steps(self) -> tuple[Softness, ...]:
        """What to try when this much was refused: one thing more, each in turn; then everything."""
        more = tuple(self | one for one in Softness.EVERYTHING if one not in self)
        return (*more, Softness.EVERYTHING) if len(more) > 1 else more


_SOFT_WITH = {
    "Device": Softness.DEVICE,
    "ImagingStudy": Softness.STUDY,
    "Encounter": Softness.CONTEXT,
    "ServiceRequest": Softness.CONTEXT,
    "Organization": Softness.CONTEXT,
}


def entry(item: Item, form: WriteForm, standing: Standing | None = None) -> Resource:
    """Return the Bundle entry that writes `item`.

    What stands already is replaced in exactly the version that was read: the server answers 412
    and writes nothing if anybody has changed it in between (R4 http 3.1.0.5, If-Match). So a
    person's sign-off is never overwritten, not even by a race.
    """
    kind, resource = item.kind, stamped(item.resource, item.identity.root)
    own_id = item.identity.uuid if form is WriteForm.CLIENT_ASSIGNED_IDS else None
    condition = "{}={}".format(*item.query)
    request: Resource = {"method": "PUT", "url": f"{kind}?{condition}"}
    if standing is not None:
        own_id = standing.reference.partition("/")[2]
        request["url"] = standing.reference
        if standing.version is not None:
            request["ifMatch"] = f'W/"{standing.version}"'
    elif own_id is not None:
        request["url"] = f"{kind}/{own_id}"
    elif form in (WriteForm.CONDITIONAL_CREATE, WriteForm.PLAIN):
        request = {"method": "POST", "url": kind}
        if form is WriteForm.CONDITIONAL_CREATE:
            request["ifNoneExist"] = condition
    if own_id is not None:
        resource = {"resourceType": kind, "id": own_id, **resource}
    return {"fullUrl": item.identity.urn, "resource": resource, "request": request}


def transaction(
    items: Iterable[Item],
    form: WriteForm,
    standing: Mapping[str, Standing] | None = None,
    kind: str = "transaction",
) -> Resource:
    """Return the Bundle (of type `kind`) that writes `items`; `standing` is by ``urn``."""
    known = standing or {}
    entries = [entry(item, form, known.get(item.identity.urn)) for item in items]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def resolved(item: Item, references: Mapping[str, str]) -> Item:
    """Replace references to fullUrls by those to what they have become."""

    def literal(reference: Resource, name: str) -> Resource:
        del name
        urn = str(reference["reference"])
        return {**reference, "reference": references.get(urn, urn)}

    return _mapped(item, literal)


def softened(item: Item, softness: Softness, identities: Mapping[str, Identity]) -> Item:
    """Leave out what a server refuses; `identities` are those of our own resources by urn.

    Whom and what is stated, and which results a report rests on, is never left out.
    """

    def logical(reference: Resource, name: str) -> Resource:
        soft_with = _SOFT_WITH.get(_type_of(reference), Softness.NOTHING)
        if name in ("subject", "target") or not soft_with & softness:
            return reference
        return _logical(reference, identities)

    made = _mapped(item, logical)
    resource = dict(made.resource)
    if Softness.ATTACHMENTS in softness:
        resource = {k: v for k, v in resource.items() if k not in ("presentedForm", "media")}
    if Softness.LABELS in softness:
        resource = _unlabelled(resource)
    return replace(made, resource=resource)


def without(
    items: Iterable[Item], kinds: Collection[str], identities: Mapping[str, Identity]
) -> tuple[Item, ...]:
    """Return `items` without those types, and without references to them.

    A Device is named by its identifier instead; an Observation cannot be, so the report says what
    it says in its conclusion alone.
    """
    items = tuple(items)
    gone = {item.identity.urn: item.kind for item in items if item.kind in kinds}

    def kept(reference: Resource, name: str) -> Resource:
        del name
        if gone.get(str(reference["reference"])) is None:
            return reference
        is_device = gone[str(reference["reference"])] == "Device"
        return _logical(reference, identities) if is_device else {}

    return tuple(_mapped(item, kept) for item in items if item.kind not in kinds)


def _logical(reference: Resource, identities: Mapping[str, Identity]) -> Resource:
    """By identifier or by name; nothing if it has neither."""
    made = {k: v for k, v in reference.items() if k != "reference"}
    own = identities.get(str(reference["reference"]))
    if own is not None:
        made["identifier"] = own.identifier()
    return made if "identifier" in made or "display" in made else {}


def _type_of(reference: Resource) -> str:
    stated = reference.get("type")
    return str(stated) if stated else str(reference["reference"]).partition("/")[0]


def _unlabelled(resource: Resource) -> Resource:
    label = AI_ASSERTED.coding()
    meta = resource.get("meta")
    rest = {k: v for k, v in meta.items() if k != "security"} if isinstance(meta, dict) else {}
    made = {k: v for k, v in resource.items() if k != "meta"} | ({"meta": rest} if rest else {})
    if made.get("reason") == [{"coding": [label]}]:
        made["reason"] = [{"text": label["display"]}]
    return made


def _mapped(item: Item, change: Callable[[Resource, str], Resource]) -> Item:
    mapped = _walked(item.resource, change, "")
    return replace(item, resource=mapped) if isinstance(mapped, dict) else item


def _walked(value: object, change: Callable[[Resource, str], Resource], name: str) -> object:
    """`value` with every Reference in it changed; what becomes empty disappears."""
    if isinstance(value, list):
        return [made for each in value if (made := _walked(each, change, name)) not in ({}, [])]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("reference"), str):
        return change(value, name)
    pairs = ((key, _walked(each, change, key)) for key, each in value.items())
    return {key: made for key, made in pairs if made not in ({}, [])}
