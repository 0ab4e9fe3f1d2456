"""The settings of the audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cds_service.settings.parts import Part


class AuditSettings(Part):
    """What is kept of each read, search and write on a FHIR server (AuditEvent, IHE BALP)."""

    to: Literal["file", "fhir", "none"] = "file"
    """A file; the FHIR server that was asked, with the file for what it does not take (a tenant
    that lists its `scopes` needs ``system/AuditEvent.c`` among them); or nothing."""

    file: Path | None = None
    """The file of JSON lines, mode 600; empty is ``audit.jsonl`` in the state folder. It names
    patients, and the users for whom a chart was read, by the logical ids of their resources: keep
    it like the EHR's own log."""

    file_mib: int = Field(default=64, ge=1, le=4096)
    """Above this size the file is set aside as ``.1``, the one before it as ``.2``, and so on."""

    files: int = Field(default=10, ge=1, le=1000)
    """Files that are kept, the present one included; the oldest is removed."""
