"""What was asked of a FHIR server or an archive -> AuditEvent (R4), after IHE BALP 1.1.3.

One event for each read, search, create and update, in the patterns Read, Query, Create and Update,
or PatientRead and so on where the patient is known. A failed one has the same form with another
outcome and claims no profile, as these are of what succeeded.

Of an archive there is one event for each study: DICOM Instances Transferred (WADO-RS, RAD-107), or
Query (QIDO-RS, RAD-129) where no image was fetched; codes and roles are those of DICOM PS3.15 A.5.

It names resources by their logical ids alone. Of a search the values of those parameters are kept
that hold such ids, numbers, codes or digests of ours; any other value becomes ``***``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from fhir_mapping.codes import (
    DESTINATION_ROLE,
    INFORMATION_RECIPIENT,
    QUERY_EVENT,
    REST_OPERATION,
    SOURCE_ROLE,
    TRANSFER_EVENT,
    Code,
)
from fhir_mapping.context import Resource
from fhir_mapping.identity import IDENTIFIER_ROOT
from fhir_mapping.text import plain

PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
NAMED_AT_MOST = 50
"""Resources that one event names."""

_ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITIES = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_SOURCES = "http://terminology.hl7.org/CodeSystem/security-source-type"
_PLAIN_VALUES = frozenset(
    [
        *("patient", "subject", "_id", "_count", "_include", "_sort", "_offset", "device"),
        *("result", "target", "agent", "status", "model", "based-on", "encounter"),
        "_lastUpdated",
    ]
)


@dataclass(frozen=True)
class Interaction:
    """One interaction (R4 http.html), or what was asked of an archive about one study.

    `code` is ``read``, ``search-type``, ``create`` or ``update``; of an archive ``retrieve`` or
    ``query``; `patient` is the reference of whom it was about, as far as that was seen; `failed` is
    the kind of an error; `user` is the reference of who asked for it through us, if anybody did.
    """

    code: str
    resource_type: str
    references: tuple[str, ...] = ()
    patient: str = ""
    query: tuple[tuple[str, str], ...] = ()
    failed: str = ""
    user: str = ""


@dataclass(frozen=True)
class Audited:
    """Who asked whom: our own name and version, the tenant, and the server's host."""

    program: str
    organisation: str
    server: str
    host: str


@dataclass(frozen=True)
class _Pattern:
    name: str
    action: str
    code: str
    client: Code
    server: Code
    kind: Code = REST_OPERATION
    subtypes: str = "http://hl7.org/fhir/restful-interaction"


_IHE = "urn:ihe:event-type-code"
_PATTERNS = {
    "read": _Pattern("Read", "R", "read", DESTINATION_ROLE, SOURCE_ROLE),
    "search-type": _Pattern("Query", "E", "search", SOURCE_ROLE, DESTINATION_ROLE),
    "create": _Pattern("Create", "C", "create", SOURCE_ROLE, DESTINATION_ROLE),
    "update": _Pattern("Update", "U", "update", SOURCE_ROLE, DESTINATION_ROLE),
    "retrieve": _Pattern("", "C", "RAD-107", DESTINATION_ROLE, SOURCE_ROLE, TRANSFER_EVENT, _IHE),
    "query": _Pattern("", "E", "RAD-129", SOURCE_ROLE, DESTINATION_ROLE, QUERY_EVENT, _IHE),
}


def audit_event(interaction: Interaction, who: Audited, recorded: datetime) -> Resource:
    """Return the AuditEvent of one interaction; `recorded` states its zone."""
    pattern = _PATTERNS[interaction.code]
    made: Resource = {"resourceType": "AuditEvent"}
    if pattern.name and not interaction.failed:
        whose = "Patient" if interaction.patient else ""
        made["meta"] = {"profile": [f"{PROFILES}{whose}{pattern.name}"]}
    made |= {
        "type": _event_type(pattern),
        "subtype": [{"system": pattern.subtypes, "code": pattern.code, "display": pattern.code}],
        "action": pattern.action,
        "recorded": recorded.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "outcome": "8" if interaction.failed else "0",
        "agent": [*_agents(pattern, who, interaction.user), *_user(interaction.user)],
        "source": {
            "observer": {"type": "Device", "display": plain(who.program, 100)},
            "type": [{"system": _SOURCES, "code": "4", "display": "Application Server"}],
        },
        "entity": [*_patient(interaction.patient), *_data(interaction), *_query(interaction)],
    }
    if interaction.failed:
        made["outcomeDesc"] = plain(interaction.failed, 80)
    return {name: value for name, value in made.items() if value != []}


def _event_type(pattern: _Pattern) -> Resource:
    """BALP holds this display of ``rest``; R4 writes another case."""
    rest = {"display": "Restful Operation"} if pattern.kind is REST_OPERATION else {}
    return {**pattern.kind.coding(), **rest}


def _agents(pattern: _Pattern, who: Audited, user: str) -> list[Resource]:
    """Our program and the server; the program is who asked unless a user did."""
    ours = " of ".join(filter(None, (plain(who.program, 100), plain(who.organisation, 100))))
    return [
        {
            "type": pattern.client.concept(),
            "who": {"type": "Device", "display": ours},
            "requestor": not user,
        },
        {
            "type": pattern.server.concept(),
            "who": {"type": "Device", "display": plain(who.server, 100)},
            "requestor": False,
            "network": {"address": who.host, "type": "1"},
        },
    ]


def _user(reference: str) -> list[Resource]:
    """Who asked, without a name: the chart that holds the reference has it."""
    kind = {"type": INFORMATION_RECIPIENT.concept(), "who": {"reference": reference}}
    return [{**kind, "requestor": True}] if reference else []


def _patient(reference: str) -> list[Resource]:
    return [_entity("1", "Person", "1", "Patient", reference)] if reference else []


def _data(interaction: Interaction) -> list[Resource]:
    named = dict.fromkeys(r for r in interaction.references if r != interaction.patient)
    listed: Sequence[str] = list(named)[:NAMED_AT_MOST]
    if not listed and interaction.code != "search-type":
        kind = {"type": _kind("2", "System Object"), "role": _role("4", "Domain Resource")}
        return [{"what": {"type": interaction.resource_type}, **kind}]
    return [_entity("2", "System Object", "4", "Domain Resource", each) for each in listed]


def _query(interaction: Interaction) -> list[Resource]:
    if interaction.code != "search-type":
        return []
    pairs = [(name, _masked(name, value)) for name, value in interaction.query]
    asked = f"{interaction.resource_type}?{urlencode(pairs, quote_via=quote, safe='*,/:|')}"
    query = base64.b64encode(asked.encode()).decode()
    kind = {"type": _kind("2", "System Object"), "role": _role("24", "Query")}
    return [{**kind, "query": query}]


def _masked(name: str, value: str) -> str:
    ours = all(each.startswith(f"{IDENTIFIER_ROOT}:") for each in value.split(","))
    return value if ours or name in _PLAIN_VALUES else "***"


def _entity(kind: str, kind_name: str, role: str, role_name: str, reference: str) -> Resource:
    coded = {"type": _kind(kind, kind_name), "role": _role(role, role_name)}
    return {"what": {"reference": reference}, **coded}


def _kind(code: str, display: str) -> Resource:
    return {"system": _ENTITIES, "code": code, "display": display}


def _role(code: str, display: str) -> Resource:
    return {"system": _ROLES, "code": code, "display": display}
