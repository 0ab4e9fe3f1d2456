"""Taking back what was written: entered-in-error, and a Provenance that says why; never a DELETE.

R4 keeps what is entered in error readable ("it is possible that real-world decisions were based on
it") and marks it by the status, a modifier element that programs must look at. So the coded
elements stay as they are; what a person reads says that the result is withdrawn and states no
finding any more: the narrative and the conclusion, which EHRs print whatever the status is.
Attached forms and pictures go. What stood there is in the server's history of the resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_mapping.codes import ASSEMBLER, AUTHOR, NULLIFY
from fhir_mapping.context import Resource
from fhir_mapping.existing import Standing, stamped, unstamped, updating
from fhir_mapping.forms import Item
from fhir_mapping.identity import IDENTIFIER_ROOT, Identity, digest
from fhir_mapping.narrative import narrative
from fhir_mapping.reading import Json, codings, member, members
from fhir_mapping.reading import text as text_of
from fhir_mapping.text import plain

RECALLED = "This AI result was recalled. It must not be used."
SUPERSEDED = "A newer AI analysis of this study does not state this any more."
PARTLY = (
    "What one model version said was recalled and is taken out of this AI report. "
    "What the others said stands in its results."
)
DOUBLE = "This AI result was written twice by mistake. The other one stands."


@dataclass(frozen=True)
class Recall:
    """Which model version is recalled, why, when and by whom; `recorded` states its zone."""

    model_id: str
    model_version: str
    reason: str
    recorded: datetime
    organisation: str = ""
    software_version: str = ""

    @property
    def instant(self) -> str:
        """`recorded` as a FHIR ``instant``."""
        return self.recorded.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @property
    def name(self) -> str:
        """``model@version``."""
        return f"{self.model_id}@{self.model_version}"


def voided(found: Json, recall: Recall) -> Resource:
    """Return a report or Observation as entered-in-error, in words that say so, for good."""
    rows = (("Model", recall.name), ("Reason", plain(recall.reason, 500)))
    text = narrative("Recalled", (RECALLED,), (*rows, ("Recalled at", recall.instant)), None)
    return unstamped(_void(found, RECALLED, text))


def voiding(found: Json, recall: Recall) -> Resource:
    """Return the entry that voids exactly the version that was read."""
    kind, own_id = str(found["resourceType"]), str(found["id"])
    meta = found.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return updating(voided(found, recall), f"{kind}/{own_id}", str(version) if version else None)


def amending(found: Json, left: Sequence[Json], recall: Recall) -> Resource:
    """Return the entry that takes a recalled version out of a report of several models.

    `left` are the Observations of the others, which the report goes on to rest on. Its conclusion
    was about all of them, so it states none of them any more; their codes stay.
    """
    standing = Standing.of(found)
    rows = (("Recalled model", recall.name), ("Recalled at", recall.instant))
    text = narrative("Preliminary AI report, partly recalled", (PARTLY,), rows, None)
    stated = set[object]().union(*(_names(member(each, "valueCodeableConcept")) for each in left))
    codes = [c for c in members(found, "conclusionCode") if stated & _names(c)]
    made = {**_void(found, PARTLY, text), "status": standing.status}
    made["result"] = [{"reference": f"Observation/{each['id']}"} for each in left]
    made = {name: value for name, value in made.items() if name != "conclusionCode"}
    amended = made | ({"conclusionCode": codes} if codes else {})
    return updating(stamped(amended, IDENTIFIER_ROOT), standing.reference, standing.version)


def _names(concept: Json) -> set[object]:
    """What a CodeableConcept says: its codes, or its text if it has none."""
    codes, said = codings({"of": concept}, "of"), text_of(concept, "text")
    return {*codes} or ({said} if said else set())


def superseding(found: Json, recorded: datetime) -> Resource:
    """Return the entry that voids what a newer analysis, at `recorded`, does not state any more.

    It carries the digest of what it then says, by which it is known as ours: an analysis that
    states it again revives it, which a recall or a person's voiding forbids.
    """
    at = recorded.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = narrative("Superseded", (SUPERSEDED,), (("Superseded at", at),), None)
    void = stamped(_void(found, SUPERSEDED, text), IDENTIFIER_ROOT)
    standing = Standing.of(found)
    return updating(void, standing.reference, standing.version)


def taken_back(found: Json, double: Standing, identity: Identity) -> Resource:
    """Return the entry that voids the second of two resources of one name.

    It loses the name, so that a server that looks for it finds one.
    """
    names = [
        {**name, "system": f"{identity.system}:double"}
        if name.get("system") == identity.system
        else dict(name)
        for name in members(found, "identifier")
    ]
    text = narrative("Withdrawn", (DOUBLE,), (), None)
    resource = {**_void(found, DOUBLE, text), "identifier": names}
    return updating(resource, double.reference, double.version)


def recall_provenance(
    recall: Recall, targets: Sequence[str], devices: Sequence[Resource], patient: str
) -> Item:
    """Return the Provenance of the recall of `targets`, by which it is named.

    `devices` are references to the model's Devices; `patient` keeps apart what is of two charts.
    """
    own = Identity(
        f"{IDENTIFIER_ROOT}:provenance",
        digest("recall", recall.name, patient, *sorted(targets)),
    )
    who = plain(recall.organisation, 200) or "The operator of scanhook"
    program = {"type": "Device", "display": plain(f"scanhook {recall.software_version}", 100)}
    rows = (("Model", recall.name), ("Reason", plain(recall.reason, 500)))
    made: Resource = {
        "resourceType": "Provenance",
        "meta": {"tag": [{"system": own.system, "code": own.value}]},
        "text": narrative("Why AI results were recalled", (RECALLED,), rows, None),
        "target": [{"reference": target} for target in targets],
        "recorded": recall.instant,
        "reason": [{"text": plain(recall.reason, 500) or "Recalled"}],
        "activity": NULLIFY.concept(),
        "agent": [
            {"type": AUTHOR.concept(), "who": {"type": "Organization", "display": who}},
            {"type": ASSEMBLER.concept(), "who": program},
        ],
        "entity": [{"role": "source", "what": device} for device in devices],
    }
    return Item(own, {name: value for name, value in made.items() if value != []})


def _void(found: Json, sentence: str, text: Resource) -> Resource:
    left = {name: value for name, value in found.items() if name not in _SHOWN}
    held = [each for each in members(found, "contained") if each.get("resourceType") != "Media"]
    said: Resource = {"conclusion": sentence} if "conclusion" in found else {}
    if held:
        said["contained"] = held
    return {**left, **said, "status": "entered-in-error", "text": text}


_SHOWN = frozenset({"presentedForm", "media", "contained"})
"""What shows a finding without saying that it is void."""
