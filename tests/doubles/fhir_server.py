"""A small FHIR R4 server in memory, whose abilities and quirks are switched one by one."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer, json_answer

Resource = dict[str, Any]
FHIR_JSON = "application/fhir+json"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TYPES = ("Device", "Observation", "DiagnosticReport", "Provenance", "AuditEvent")


@dataclass(frozen=True)
class Quirks:
    """What one server does, and how strict it is; the defaults are a complete server."""

    statement: bool = True
    """Whether there is a CapabilityStatement."""

    states: Any = None
    """What it states instead of the truth."""

    transaction: bool = True
    batch: bool = True
    conditional_update: bool = True
    conditional_create: bool = True
    update_create: bool = True
    types: tuple[str, ...] = TYPES
    uuid_ids: bool = False
    total: bool = False
    bodies: bool = True
    """Whether a write is answered with the resource, beside its Location."""

    locations: bool = True
    refused_references: tuple[str, ...] = ()
    """Types that no literal reference may lead to."""

    html_refused: bool = False
    labels_refused: bool = False
    forgets: tuple[str, ...] = ()
    """Elements that it drops."""

    rewrites: Callable[[Resource], Resource] = lambda resource: resource
    """What it makes of whatever it stores."""

    etags: bool = True
    """Whether a transaction's answer names the versions."""


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str = "processing") -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code = status, code

    def outcome(self) -> Resource:
        issue = {"severity": "error", "code": self.code, "diagnostics": "SECRET DOE^JANE"}
        return {"resourceType": "OperationOutcome", "issue": [issue]}


@dataclass
class FhirDouble:
    """Keeps every version; `before` is called with each request and may answer in its place."""

    quirks: Quirks = Quirks()
    before: Callable[[Seen], Reply | None] = lambda seen: None
    store: dict[str, Resource] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    clock: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._server = FaultyServer(self._respond)

    def __enter__(self) -> FhirDouble:
        self._server.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self._server.__exit__(*args)

    @property
    def base_url(self) -> str:
        """The service base."""
        return f"{self._server.base_url}/fhir"

    @property
    def seen(self) -> list[Seen]:
        """Every request."""
        return self._server.seen

    def of(self, kind: str) -> list[Resource]:
        """What there is of a type."""
        return [r for place, r in self.store.items() if place.startswith(f"{kind}/")]

    def edit(self, kind: str, **changes: Any) -> Resource:
        """What a person does in the EHR: the one resource of a type, changed."""
        (found,) = [r for r in self.of(kind) if r.get("status") != "entered-in-error"]
        return self._kept(f"{kind}/{found['id']}", {**found, **changes})

    def _respond(self, seen: Seen) -> Reply:
        instead = self.before(seen)
        if instead is not None:
            return instead
        with self._lock:
            try:
                return self._answered(seen)
            except Refusal as refusal:
                body = json.dumps(refusal.outcome())
                return json_answer(body, FHIR_JSON, refusal.status)

    def _answered(self, seen: Seen) -> Reply:
        path = unquote(seen.path.removeprefix("/fhir").strip("/"))
        if path == "metadata":
            return self._metadata()
        body = json.loads(seen.body) if seen.body else {}
        if seen.method == "POST" and not path:
            return _json(self._bundle(body))
        if seen.method == "GET":
            return _json(self._read(path, seen.query))
        status, resource = self._write(
            seen.method,
            path + (f"?{unquote(seen.query)}" if seen.query else ""),
            body,
            seen.headers.get("if-match"),
            seen.headers.get("if-none-exist"),
        )
        headers = {"ETag": f'W/"{resource["meta"]["versionId"]}"', "Content-Type": FHIR_JSON}
        if self.quirks.locations:
            place = f"{resource['resourceType']}/{resource['id']}"
            version = resource["meta"]["versionId"]
            headers["Location"] = f"{self.base_url}/{place}/_history/{version}"
        sent = json.dumps(resource).encode() if self.quirks.bodies else b""
        return answer(status, sent, headers)

    def _metadata(self) -> Reply:
        quirks = self.quirks
        if not quirks.statement:
            raise Refusal(404, "not-found")
        if quirks.states is not None:
            return _json(quirks.states)
        codes = [c for c in ("transaction", "batch") if getattr(quirks, c)]
        resources = [
            {
                "type": kind,
                "interaction": [{"code": code} for code in ("read", "create", "update")],
                "updateCreate": quirks.update_create,
                "conditionalCreate": quirks.conditional_create,
                "conditionalUpdate": quirks.conditional_update,
            }
            for kind in quirks.types
        ]
        rest = {"mode": "server", "interaction": [{"code": c} for c in codes]}
        statement = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
        return _json(statement | {"rest": [rest | {"resource": resources}]})

    def _read(self, path: str, query: str) -> Resource:
        if "/" in path:
            if path not in self.store:
                raise Refusal(404, "not-found")
            return self.store[path]
        found = [r for r in self.of(path) if _matches(r, parse_qsl(query))]
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset"}
        if self.quirks.total:
            bundle["total"] = len(found)
        entries = [{"resource": r, "search": {"mode": "match"}} for r in found]
        return bundle | ({"entry": entries} if entries else {})

    def _bundle(self, bundle: Resource) -> Resource:
        kind = bundle["type"]
        if not getattr(self.quirks, kind, False):
            raise Refusal(400, "not-supported")
        before, written = dict(self.store), list(self.writes)
        urns: dict[str, str] = {}
        answers = []
        for entry in bundle["entry"]:
            request = entry["request"]
            text = json.dumps(entry["resource"])
            for urn, place in urns.items():
                text = text.replace(urn, place)
            try:
                status, made = self._write(
                    request["method"],
                    request["url"],
                    json.loads(text),
                    request.get("ifMatch"),
                    request.get("ifNoneExist"),
                )
            except Refusal as refusal:
                if kind == "transaction":
                    self.store, self.writes = before, written
                    raise
                said = {"status": str(refusal.status), "outcome": refusal.outcome()}
                answers.append({"response": said})
                continue
            place = f"{made['resourceType']}/{made['id']}"
            if kind == "transaction":
                urns[entry["fullUrl"]] = place
            said = {"status": str(status), "location": place}
            if self.quirks.etags:
                said["etag"] = f'W/"{made["meta"]["versionId"]}"'
            answers.append({"response": said})
        return {"resourceType": "Bundle", "type": f"{kind}-response", "entry": answers}

    def _write(
        self, method: str, url: str, body: Resource, match: str | None, none_exist: str | None
    ) -> tuple[int, Resource]:
        path, _, query = url.partition("?")
        kind, _, own_id = path.partition("/")
        if kind not in self.quirks.types:
            raise Refusal(404, "not-supported")
        self._check(body)
        if method == "POST":
            return self._create(kind, body, none_exist)
        if query:
            return self._update_where(kind, query, body)
        if path not in self.store:
            if not self.quirks.update_create:
                raise Refusal(405, "not-supported")
            if self.quirks.uuid_ids and not UUID.fullmatch(own_id):
                raise Refusal(400, "value")
            return 201, self._kept(path, body)
        known = self.store[path]
        if match is not None and match != f'W/"{known["meta"]["versionId"]}"':
            raise Refusal(412, "conflict")
        return 200, self._kept(path, body)

    def _create(self, kind: str, body: Resource, condition: str | None) -> tuple[int, Resource]:
        if condition is not None:
            if not self.quirks.conditional_create:
                raise Refusal(412, "not-supported")
            found = [r for r in self.of(kind) if _matches(r, parse_qsl(condition))]
            if len(found) > 1:
                raise Refusal(412, "multiple-matches")
            if found:
                return 200, found[0]
        return 201, self._kept(f"{kind}/{uuid.uuid4()}", body)

    def _update_where(self, kind: str, query: str, body: Resource) -> tuple[int, Resource]:
        if not self.quirks.conditional_update:
            raise Refusal(400, "not-supported")
        found = [r for r in self.of(kind) if _matches(r, parse_qsl(query))]
        if len(found) > 1:
            raise Refusal(412, "multiple-matches")
        if found:
            return 200, self._kept(f"{kind}/{found[0]['id']}", body)
        return 201, self._kept(f"{kind}/{uuid.uuid4()}", body)

    def _check(self, body: Resource) -> None:
        text = json.dumps(body)
        if "urn:uuid" in text:
            raise Refusal(400, "not-found")
        for kind in self.quirks.refused_references:
            if f'"reference": "{kind}/' in text:
                raise Refusal(422, "business-rule")
        for place in re.findall(r'"reference": "((?:Device|Observation|Diag)[^"]*)"', text):
            if place not in self.store:
                raise Refusal(422, "not-found")
        if self.quirks.html_refused and '"text/html"' in text:
            raise Refusal(422, "value")
        if self.quirks.labels_refused and "AIAST" in text:
            raise Refusal(422, "code-invalid")

    def _kept(self, place: str, body: Resource) -> Resource:
        self.clock += 1
        kind, _, own_id = place.partition("/")
        before = self.store.get(place, {}).get("meta", {}).get("versionId", "0")
        meta = {
            **body.get("meta", {}),
            "versionId": str(int(before) + 1),
            "lastUpdated": f"2026-01-01T00:00:00.{self.clock:06d}Z",
        }
        body = self.quirks.rewrites(body)
        kept = {k: v for k, v in body.items() if k not in self.quirks.forgets}
        self.store[place] = {**kept, "resourceType": kind, "id": own_id, "meta": meta}
        self.writes.append(place)
        return self.store[place]


def _json(body: Resource) -> Reply:
    return json_answer(json.dumps(body), FHIR_JSON)


def _matches(resource: Resource, query: list[tuple[str, str]]) -> bool:
    return all(_has(resource, name, value) for name, value in query if name != "_count")


def _has(resource: Resource, name: str, value: str) -> bool:
    wanted = set(value.split(","))
    if name in ("identifier", "_tag"):
        tokens = resource.get("identifier", []) if name == "identifier" else []
        tags = resource.get("meta", {}).get("tag", []) if name == "_tag" else []
        named = [(t.get("system"), t.get("value")) for t in tokens]
        named += [(t.get("system"), t.get("code")) for t in tags]
        return bool(wanted & {form for s, v in named for form in (f"{s}|{v}", f"{s}|", v)})
    if name == "model":
        return resource.get("modelNumber") in wanted
    if name.endswith(":identifier"):
        named_by = resource.get(name.removesuffix(":identifier"), {}).get("identifier", {})
        return f"{named_by.get('system')}|{named_by.get('value')}" in wanted
    if name == "agent":
        return bool(wanted & {a["who"].get("reference") for a in resource.get("agent", [])})
    field_ = resource.get({"patient": "subject"}.get(name, name), [])
    listed = field_ if isinstance(field_, list) else [field_]
    return bool(wanted & {each.get("reference") for each in listed if isinstance(each, dict)})
