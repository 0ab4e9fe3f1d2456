"""An EHR's FHIR R4 server: read, search, write, transact; JSON only, one origin only.

What the server says in an OperationOutcome may hold a patient's data: it is never quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from cds_service.clients.credentials import NoCredential
from cds_service.clients.errors import BadAnswer, EgressRefused, error_for_status, upstream_errors
from cds_service.clients.http import Answer, Credential, HttpClient, Request
from cds_service.clients.interactions import (
    EntryResult,
    Resource,
    Watch,
    nobody,
    reading,
    writing,
)
from cds_service.clients.outcomes import FHIR_JSON, issue_codes
from cds_service.clients.policy import MIB, Breaker, Deadline, HttpPolicy
from cds_service.security.egress import Allowance, resolved
from fhir_mapping.audit_event import Interaction

PAGE_CAP = 50
_REFERENCE = re.compile(
    r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?"
)
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:\s.*)?")


@dataclass(frozen=True)
class TransactionResult:
    """What became of a transaction, entry by entry in the order of the request."""

    entries: tuple[EntryResult, ...]


class FhirServer:
    """One FHIR server below one configured base; safe to use from several threads.

    Args:
        allowance: the service base, e.g. ``https://ehr.example.org/fhir``.
        credential: `backend_auth.BackendServices`, `credentials.ForwardedToken`, ...
        policy: bounds of every call; a search has one deadline for all its pages.
        client: replaces the client that would be built from the arguments above.
        watch: told of each read, search and write, as soon as it is over.
    """

    def __init__(
        self,
        allowance: Allowance,
        *,
        credential: Credential | None = None,
        policy: HttpPolicy | None = None,
        client: HttpClient | None = None,
        watch: Watch = nobody,
        breaker: Breaker | None = None,
    ) -> None:
        self._watch = watch
        self._client = client or HttpClient(
            allowance,
            credential=credential or NoCredential(),
            policy=policy or HttpPolicy(bytes_cap=8 * MIB),
            breaker=breaker,
        )

    @property
    def name(self) -> str:
        """What people call the server."""
        return self._client.peer

    @property
    def client(self) -> HttpClient:
        """The HTTP client below."""
        return self._client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ping(self, policy: HttpPolicy | None = None) -> None:
        """Ask for the CapabilityStatement; raises UpstreamError if none comes."""
        self.capabilities(policy)

    def capabilities(self, policy: HttpPolicy | None = None) -> Resource:
        """The CapabilityStatement (R4 http.html#capabilities)."""
        answer = self._get("metadata", "", policy=policy)
        return self._resource(answer, "CapabilityStatement")

    def relative(self, reference: str) -> str:
        """``Type/id`` of a literal reference that points into this server.

        An absolute reference below our own base is made relative.

        Raises:
            EgressRefused: it points to another server, into a Bundle (``urn:``), or to a contained
                resource.
        """
        text = reference
        if "://" in reference:
            with upstream_errors(self.name):
                text, query = self._client.allowance.relative(reference)
            if query:
                raise EgressRefused(f"The reference is none of {self.name}.")
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise EgressRefused(f"The reference is none of {self.name}.")
        return f"{match[1]}/{match[2]}"

    def read(self, reference: str, policy: HttpPolicy | None = None) -> Resource:
        """The resource of a literal reference (``ImagingStudy/7``).

        Raises:
            UpstreamError: see `cds_service.clients.errors`; BadAnswer if the answer is a resource
                of another type or id.
        """
        path = self.relative(reference)
        kind, _, logical_id = path.partition("/")
        with reading(self._watch, Interaction("read", kind, (path,))) as seen:
            resource = self._resource(self._get(path, "", policy=policy), kind)
            if resource.get("id") != logical_id:
                raise BadAnswer(f"{self.name} answered with another resource than asked for.")
            seen.append(resource)
        return resource

    def search(
        self,
        resource_type: str,
        params: Mapping[str, str] | list[tuple[str, str]],
        policy: HttpPolicy | None = None,
    ) -> Iterator[Resource]:
        """Every resource of a searchset, page after page; outcomes are left out.

        Included resources (``_include``) come too: look at ``resourceType``.

        Raises:
            UpstreamError: while iterating; BadAnswer if the pages do not end, repeat, or lead to
                another server.
        """
        if not _TYPE.fullmatch(resource_type):
            raise ValueError("Not a FHIR resource type.")
        pairs = tuple(params.items() if isinstance(params, Mapping) else params)
        with reading(self._watch, Interaction("search-type", resource_type, query=pairs)) as seen:
            for found in self._found(resource_type, pairs, policy):
                seen.append(found)
                yield found

    def _found(
        self, resource_type: str, params: Sequence[tuple[str, str]], policy: HttpPolicy | None
    ) -> Iterator[Resource]:
        policy = policy or self._client.policy
        deadline = self._client.deadline(policy)
        path, query = resource_type, urlencode(params, quote_via=quote, safe="*,/:|")
        visited: set[tuple[str, str]] = set()
        left_bytes = policy.bytes_cap
        while (path, query) not in visited and len(visited) < PAGE_CAP:
            visited.add((path, query))
            answer = self._get(path, query, replace(policy, bytes_cap=max(1, left_bytes)), deadline)
            left_bytes -= len(answer.body)
            bundle = self._resource(answer, "Bundle")
            yield from self._matches(bundle)
            following = self._next(bundle, path, query)
            if following is None:
                return
            path, query = following
        raise BadAnswer(f"The pages of {self.name} do not end.")

    def transact(
        self, bundle: Resource, policy: HttpPolicy | None = None, *, once: bool = False
    ) -> TransactionResult:
        """Send a transaction or batch and check the answer entry by entry (R4 http.html).

        It is repeated after a failure that may pass, so every entry has to be one that may be
        done twice: a conditional create or update, or a PUT with an id of our own. With `once`
        it may hold others, and is not repeated.

        Raises:
            ValueError: the Bundle is of another type, or an entry may not be done twice.
            Conflict: a condition matched several resources, or another writer was first.
            UpstreamError: see `cds_service.clients.errors`; of a batch, that of its first entry
                that failed, when the others may have been written.
        """
        sent = _entries_of(bundle, once=once)
        request = Request("POST", "", headers=_JSON, body=_bytes(bundle), idempotent=not once)
        with writing(self._watch, sent) as done:
            answer = self._resource(self._client.send(request, policy), "Bundle")
            entries = answer.get("entry")
            if answer.get("type") != f"{bundle['type']}-response" or not isinstance(entries, list):
                raise BadAnswer(f"{self.name} did not answer the {bundle['type']}.")
            if len(entries) != len(sent):
                raise BadAnswer(f"{self.name} answered another number of entries than were sent.")
            for entry in entries:
                done.append(self._entry(entry))
        return TransactionResult(tuple(done))

    def write(self, entry: Resource, policy: HttpPolicy | None = None) -> EntryResult:
        """Carry out one entry of a Bundle as a request of its own (R4 http.html#create, #update).

        A create without a condition is sent once; everything else may be repeated.

        Raises:
            Conflict: a condition matched several resources, or another writer was first.
            UpstreamError: see `cds_service.clients.errors`.
        """
        asked = entry["request"]
        path, _, query = asked["url"].partition("?")
        conditions = {"If-Match": asked.get("ifMatch"), "If-None-Exist": asked.get("ifNoneExist")}
        headers = {name: value for name, value in conditions.items() if value}
        request = Request(
            asked["method"],
            path,
            quote(query, safe="=*,/:|"),
            {**_JSON, "Prefer": "return=representation", **headers},
            _bytes(entry["resource"]),
            idempotent=asked["method"] == "PUT" or "If-None-Exist" in headers,
        )
        with writing(self._watch, [entry]) as done:
            answer = self._client.send(request, policy)
            done.append(self._outcome_of(answer, path))
        return done[0]

    def _outcome_of(self, answer: Answer, path: str) -> EntryResult:
        """Where a resource went: the server says so by Location, by its body, or not at all."""
        response = {name: answer.headers.get(name, "") for name in ("location", "etag")}
        body: Any = {}
        if answer.body and "json" in answer.headers.get("content-type", ""):
            body = answer.json(self.name)
        own = body if isinstance(body, dict) and body.get("resourceType") == path[:64] else {}
        reference, version = self._place(response, {"resource": own})
        if "/" in path:
            reference = path
        return EntryResult(answer.status, reference, version)

    def _get(
        self,
        path: str,
        query: str,
        policy: HttpPolicy | None = None,
        deadline: Deadline | None = None,
    ) -> Answer:
        request = Request("GET", path, query, {"Accept": FHIR_JSON})
        return self._client.send(request, policy, deadline)

    def _resource(self, answer: Answer, kind: str) -> Resource:
        found = answer.json(self.name)
        if not isinstance(found, dict) or found.get("resourceType") != kind:
            raise BadAnswer(f"{self.name} answered with something else than a {kind}.")
        return found

    def _matches(self, bundle: Resource) -> Iterator[Resource]:
        entries = bundle.get("entry", [])
        if not isinstance(entries, list):
            raise BadAnswer(f"{self.name} answered with a broken Bundle.")
        for entry in entries:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not isinstance(resource, dict):
                continue
            search = entry.get("search")
            mode = search.get("mode") if isinstance(search, dict) else None
            if mode != "outcome" and resource.get("resourceType") != "OperationOutcome":
                yield resource

    def _next(self, bundle: Resource, path: str, query: str) -> tuple[str, str] | None:
        """The page after that at `path` and `query`, as these, below our own base."""
        allowance = self._client.allowance
        links = bundle.get("link")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("relation") == "next":
                url = link.get("url")
                if not isinstance(url, str):
                    raise BadAnswer(f"{self.name} answered with a broken Bundle.")
                # of a page of the base itself, too, what is relative lies below the base
                page = f"{allowance.base}/{path}?{query}"
                with upstream_errors(self.name):
                    return allowance.relative(resolved(url, page))
        return None

    def _entry(self, entry: Any) -> EntryResult:
        """One entry of a transaction-response; "201" and "201 Created" mean the same."""
        response = entry.get("response") if isinstance(entry, dict) else None
        said = response.get("status") if isinstance(response, dict) else None
        match = _STATUS.fullmatch(said) if isinstance(said, str) else None
        if match is None or not isinstance(response, dict):
            raise BadAnswer(f"{self.name} did not say what became of an entry.")
        status = int(match[1])
        if status >= 300 and status != 304:
            error = error_for_status(status, self.name)
            error.issues = issue_codes(json.dumps(response.get("outcome")).encode())
            raise error
        return EntryResult(status, *self._place(response, entry))

    def _place(self, response: Resource, entry: Resource) -> tuple[str | None, str | None]:
        location = response.get("location")
        text = location if isinstance(location, str) else ""
        match = re.search(_REFERENCE.pattern + "$", text)
        told = re.fullmatch(r'(?:W/)?"([A-Za-z0-9.-]{1,64})"', str(response.get("etag")))
        version = text.rpartition("/_history/")[2] if "/_history/" in text else told and told[1]
        if match is not None:
            return f"{match[1]}/{match[2]}", version
        resource = entry.get("resource")
        if isinstance(resource, dict) and isinstance(resource.get("id"), str):
            return f"{resource.get('resourceType')}/{resource['id']}", version
        return None, version


_JSON = {"Accept": FHIR_JSON, "Content-Type": FHIR_JSON}


def _bytes(resource: Resource) -> bytes:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def _entries_of(bundle: Resource, *, once: bool) -> list[Resource]:
    """The entries, if each of them may be sent twice or shall be sent `once`."""
    entries = bundle.get("entry")
    kind = bundle.get("type")
    if bundle.get("resourceType") != "Bundle" or kind not in ("transaction", "batch"):
        raise ValueError("Not a transaction or batch Bundle.")
    if not isinstance(entries, list) or not entries:
        raise ValueError("The Bundle has no entries.")
    for entry in entries:
        request = entry.get("request", {})
        method, unsafe = request.get("method"), request.get("method") == "POST"
        if method not in ("POST", "PUT", "GET", "HEAD") or (
            unsafe and not request.get("ifNoneExist") and not once
        ):
            raise ValueError("An entry of the Bundle may not be done twice.")
    return entries
