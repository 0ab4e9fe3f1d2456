"""Marks what a newer analysis of a study does not state any more; never what a person edited."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from cds_service.clients.errors import BadAnswer, NotFound, Refused, Rejected
from cds_service.clients.fhir import FhirServer
from cds_service.writing.confirming import confirm, following
from fhir_mapping.existing import Standing, ours
from fhir_mapping.reading import members, text
from fhir_mapping.recall import superseding

log = logging.getLogger(__name__)

_KINDS = {"DiagnosticReport": "report", "Observation": "observation"}


def results_of(server: FhirServer, report: Standing) -> list[str]:
    """``Observation/id`` of each result that a report of ours rests on, as the server has it."""
    found = server.read(report.reference)
    references = (text(each, "reference") or "" for each in members(found, "result"))
    places = ("/".join(r.split("/_history/")[0].split("/")[-2:]) for r in references)
    return [place for place in places if place.startswith("Observation/")]


def supersede(server: FhirServer, references: Iterable[str], at: datetime) -> None:
    """Void these reports and Observations, in this order, as far as they are still ours.

    Raises:
        Conflict: somebody wrote one of them at the same time.
        UpstreamError: the server is away; repeat all of it.
    """
    for reference in references:
        try:
            found = server.read(reference)
            standing = Standing.of(found)
            kind = _KINDS[str(found["resourceType"])]
            if ours(found, kind) and not standing.void and not standing.taken_over:
                written = server.write(superseding(found, at))
                version = written.version or following(standing.version)
                confirm(server, server.read(reference), version)
        except (NotFound, Refused, Rejected, BadAnswer) as error:
            log.warning("an older result was not superseded", extra={"kind": error.kind})
