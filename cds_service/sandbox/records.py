"""Where the charts read: the sandbox's own FHIR server, or another one by its address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from cds_service.clients.errors import NotFound as Absent
from cds_service.clients.errors import UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.sandbox.fhir_errors import FhirRefusal, NotFound
from cds_service.sandbox.fhir_search import PAGE, Page
from cds_service.sandbox.fhir_store import Query

Resource = dict[str, Any]


class Records(Protocol):
    """What the charts need of a FHIR server. Every call may raise `FhirRefusal`."""

    def read(self, resource_type: str, logical_id: str) -> Resource:
        """One resource. Raises `NotFound`."""

    def search(self, resource_type: str, query: Query) -> Page:
        """One page of matches."""

    def keep(self, resource: Resource) -> None:
        """Write what a user of the charts did: an order, an encounter."""


class Unavailable(FhirRefusal):
    """The other FHIR server gives no usable answer."""

    status = 502
    code = "transient"


class OtherRecords:
    """Another FHIR server. It is read and never written to: orders of a demo are not orders."""

    def __init__(self, server: FhirServer) -> None:
        self._server = server

    def read(self, resource_type: str, logical_id: str) -> Resource:
        """See `Records`."""
        with _refusals():
            return dict(self._server.read(f"{resource_type}/{logical_id}"))

    def search(self, resource_type: str, query: Query) -> Page:
        """See `Records`; included resources and what follows the first `PAGE` are left out."""
        with _refusals():
            found = islice(self._server.search(resource_type, list(query)), PAGE)
            own = [dict(one) for one in found if one.get("resourceType") == resource_type]
            return Page(own, len(own), None)

    def keep(self, resource: Resource) -> None:
        """Nothing: see the class."""


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Absent:
        raise NotFound("There is no such resource.") from None
    except UpstreamError as error:
        raise Unavailable(error.sentence) from None
