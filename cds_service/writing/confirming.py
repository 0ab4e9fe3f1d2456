"""Tells a server's own changes from a person's: right after a write, only the server's are there.

Some add a narrative, drop or normalise elements, or round numbers. What stands in the very version
that we wrote is marked as ours, so that what differs from it later is a person's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cds_service.clients.errors import Conflict
from cds_service.clients.fhir import FhirServer
from fhir_mapping.existing import Standing, confirming

log = logging.getLogger(__name__)


def confirm(server: FhirServer, found: Mapping[str, Any], version: str | None) -> None:
    """Mark what the server made of what we wrote as `version`; any other version is left alone.

    A search may answer with an older version (R4 allows an index to lag), so that is read again.

    Raises:
        UpstreamError: it is not marked.
    """
    standing = Standing.of(found)
    if standing.version != version:
        found = server.read(standing.reference)
        standing = Standing.of(found)
    if not standing.edited or standing.version != version:
        return
    log.info("the server rewrites what it stores", extra={"kind": str(found["resourceType"])})
    try:
        server.write(confirming(dict(found)))
    except Conflict:
        log.info("a person was faster than the mark")


def following(version: str | None) -> str | None:
    """The version after one, on a server that counts."""
    return str(int(version) + 1) if version and version.isascii() and version.isdigit() else None
