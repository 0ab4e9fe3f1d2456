"""What the server already holds of ours: whose it is now, and which images it speaks of."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_mapping.context import Resource
from fhir_mapping.identity import IDENTIFIER_ROOT, Identity
from fhir_mapping.reading import ID, member, members, resource, text

_OURS = frozenset({"registered", "partial", "preliminary"})


@dataclass(frozen=True)
class WrittenReport:
    """A report of ours as the server has it.

    `images` is the instance digest of the analysis it came from: another digest today means that
    the study has changed since. `version` is ``meta.versionId``.
    """

    reference: str
    status: str
    version: str | None = None
    images: str | None = None

    @property
    def taken_over(self) -> bool:
        """Whether a person has made it final, amended or void: then it is not written again."""
        return self.status not in _OURS


def written_report(
    found: object, identity: Identity, root: str = IDENTIFIER_ROOT
) -> WrittenReport | None:
    """Read a DiagnosticReport back; ``None`` if it is not the one that `identity` names."""
    report = resource(found, "DiagnosticReport")
    own_id, status = text(report, "id", 64), text(report, "status", 64)
    if own_id is None or status is None or not ID.fullmatch(own_id):
        return None
    values = {text(i, "system"): text(i, "value") for i in members(report, "identifier")}
    if values.get(identity.system) != identity.value:
        return None
    version = text(member(report, "meta"), "versionId", 64)
    return WrittenReport(
        f"DiagnosticReport/{own_id}", status, version, values.get(f"{root}:images")
    )


def replacing(bundle: Resource, written: WrittenReport) -> Resource:
    """Return `bundle` with its report as an update of exactly the version that was read.

    The server answers 412 and writes nothing if anybody has changed the report in between (R4
    http 3.1.0.5, If-Match): a person's sign-off is never overwritten, not even by a race.
    """
    entries = bundle["entry"]
    if not isinstance(entries, list) or written.version is None:
        return bundle
    return {**bundle, "entry": [_replacing(entry, written) for entry in entries]}


def _replacing(entry: Resource, written: WrittenReport) -> Resource:
    report = resource(entry.get("resource"), "DiagnosticReport")
    if report is None:
        return entry
    own_id = written.reference.partition("/")[2]
    return {
        **entry,
        "resource": {"resourceType": "DiagnosticReport", **report, "id": own_id},
        "request": {
            "method": "PUT",
            "url": written.reference,
            "ifMatch": f'W/"{written.version}"',
        },
    }
