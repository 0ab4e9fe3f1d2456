"""An EHR's FHIR R4 server: read, search, transact; JSON only, one origin only.

What the server says in an OperationOutcome may hold a patient's data: it is never quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from cds_service.clients.credentials import NoCredential
from cds_service.clients.errors import BadAnswer, EgressRefused, error_for_status, upstream_errors
from cds_service.clients.http import Answer, Credential, HttpClient, Request
from cds_service.clients.policy import MIB, Deadline, HttpPolicy
from cds_service.security.egress import Allowance

FHIR_JSON = "application/fhir+json"
PAGE_CAP = 50
_REFERENCE = re.compile(
    r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?"
)
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:\s.*)?")

Resource = dict[str, Any]


@dataclass(frozen=True)
class EntryResult:
    """What became of one entry of a transaction."""

    status: int
    reference: str | None = None
    """``Type/id`` of the resource, if the server said so."""

    version: str | None = None
    """The version id, if the server said so."""

    @property
    def created(self) -> bool:
        """Whether the resource is new."""
        return self.status == 201


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
    """

    def __init__(
        self,
        allowance: Allowance,
        *,
        credential: Credential | None = None,
        policy: HttpPolicy | None = None,
        client: HttpClient | None = None,
    ) -> None:
        self._client = client or HttpClient(
            allowance,
            credential=credential or NoCredential(),
            policy=policy or HttpPolicy(bytes_cap=8 * MIB),
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
        resource = self._resource(self._get(path, "", policy=policy), kind)
        if resource.get("id") != logical_id:
            raise BadAnswer(f"{self.name} answered with another resource than asked for.")
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
            following = self._next(bundle)
            if following is None:
                return
            path, query = following
        raise BadAnswer(f"The pages of {self.name} do not end.")

    def transact(self, bundle: Resource, policy: HttpPolicy | None = None) -> TransactionResult:
        """Send a transaction and check the answer entry by entry (R4 http.html#transaction).

        It is repeated after a failure that may pass, so every entry has to be one that may be
        done twice: a conditional create or update, or a PUT with an id of our own.

        Raises:
            ValueError: the Bundle is no transaction, or an entry may not be done twice.
            Conflict: a condition matched several resources, or another writer was first.
            UpstreamError: see `cds_service.clients.errors`.
        """
        count = _check_repeatable(bundle)
        request = Request(
            "POST",
            "",
            headers={"Accept": FHIR_JSON, "Content-Type": FHIR_JSON},
            body=json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode(),
            idempotent=True,
        )
        answer = self._resource(self._client.send(request, policy), "Bundle")
        entries = answer.get("entry")
        if answer.get("type") != "transaction-response" or not isinstance(entries, list):
            raise BadAnswer(f"{self.name} did not answer the transaction.")
        if len(entries) != count:
            raise BadAnswer(f"{self.name} answered another number of entries than were sent.")
        return TransactionResult(tuple(self._entry(entry) for entry in entries))

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

    def _next(self, bundle: Resource) -> tuple[str, str] | None:
        """The next page as (path, query) below our own base, wherever the link says it is."""
        links = bundle.get("link")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("relation") == "next":
                url = link.get("url")
                if not isinstance(url, str):
                    raise BadAnswer(f"{self.name} answered with a broken Bundle.")
                if "://" not in url:
                    url = f"{self._client.allowance.base}/{url.lstrip('/')}"
                with upstream_errors(self.name):
                    return self._client.allowance.relative(url)
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
            raise error_for_status(status, self.name)
        return EntryResult(status, *self._place(response, entry))

    def _place(self, response: Resource, entry: Resource) -> tuple[str | None, str | None]:
        location = response.get("location")
        text = location if isinstance(location, str) else ""
        match = re.search(_REFERENCE.pattern + "$", text)
        version = text.rpartition("/_history/")[2] if "/_history/" in text else None
        if match is not None:
            return f"{match[1]}/{match[2]}", version
        resource = entry.get("resource")
        if isinstance(resource, dict) and isinstance(resource.get("id"), str):
            return f"{resource.get('resourceType')}/{resource['id']}", version
        return None, version


def _check_repeatable(bundle: Resource) -> int:
    """The number of entries, if each of them may be sent twice."""
    entries = bundle.get("entry")
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
        raise ValueError("Not a transaction Bundle.")
    if not isinstance(entries, list) or not entries:
        raise ValueError("The transaction has no entries.")
    for entry in entries:
        request = entry.get("request", {})
        once = request.get("method") == "POST" and not request.get("ifNoneExist")
        if once or request.get("method") not in ("POST", "PUT", "GET", "HEAD"):
            raise ValueError("An entry of the transaction may not be done twice.")
    return len(entries)
