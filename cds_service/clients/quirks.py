"""How archives differ, as data: a row of this table, never a subclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
MULTIPART = 'multipart/related; type="application/dicom"'
SINGLE_ANY_SYNTAX = "application/dicom; transfer-syntax=*"
SINGLE = "application/dicom"


@dataclass(frozen=True)
class Quirk:
    """What one kind of archive needs of its client."""

    accepts: tuple[str, ...] = (ANY_SYNTAX, MULTIPART, SINGLE_ANY_SYNTAX, SINGLE)
    """Accept headers for instances, tried in this order while the archive answers 400, 406 or 415.

    ``transfer-syntax=*`` asks for what is stored: an archive that transcodes can fail half-way.
    """

    streams_series: bool = True
    """Whether ``/series/{uid}`` gives all instances in one multipart answer."""

    includefields: bool = True
    """Whether ``includefield`` may be asked for; without it only the required attributes come."""

    page_size: int = 0
    """``limit`` of a query; 0 asks for everything and pages only if the archive says Warning 299.

    Some archives reject ``limit`` and ``offset``, others cap what they answer silently.
    """

    series_metadata: bool = True
    """Whether ``/series/{uid}/metadata`` exists, to fill in what a query left out."""


QUIRKS: Mapping[str, Quirk] = MappingProxyType(
    {
        "standard": Quirk(),
        "orthanc": Quirk(),
        "tiny-pacs": Quirk(accepts=(MULTIPART, SINGLE), series_metadata=False),
    }
)
