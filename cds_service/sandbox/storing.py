"""STOW-RS into the demo archive: what is taken, and what is said of each instance (PS3.18 10.5)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from cds_service.clients.errors import UpstreamError
from cds_service.clients.multipart import parts
from cds_service.clients.part10 import NotDicom, NotWhole, instance_facts
from cds_service.sandbox.holdings import Holdings

STORED_BYTES = 256 * 1024 * 1024
"""The largest request; a larger one gets 413."""

# PS3.18 Table 10.5.3-1 leaves the reasons to PS3.4 and PS3.7
_DUPLICATE, _OTHER_STUDY, _NOT_UNDERSTOOD = 0x0111, 0xA900, 0xC000


class NotMultipart(Exception):
    """The body is no multipart/related, or ends early: nothing of it was stored."""


@dataclass
class Stored:
    """What became of the instances of one request."""

    kept: list[Dataset] = field(default_factory=list)
    failed: list[Dataset] = field(default_factory=list)
    unnamed: int = 0
    """Parts that are not an instance at all, or do not say which."""

    @property
    def status(self) -> int:
        """200 if all were stored, 202 if some were, 409 if none was (PS3.18 Table 10.5.3-1)."""
        if not self.failed and not self.unnamed:
            return 200
        return 202 if self.kept else 409

    def told(self, base_url: str) -> Dataset:
        """The Store Instances Response Module (PS3.18 Table 10.5.3-2)."""
        answer = Dataset()
        studies = {str(one.StudyInstanceUID) for one in self.kept}
        if len(studies) == 1:
            answer.RetrieveURL = f"{base_url}/studies/{studies.pop()}"
        if self.kept:
            answer.ReferencedSOPSequence = [_referenced(one, base_url) for one in self.kept]
        if self.failed:
            answer.FailedSOPSequence = self.failed
        if self.unnamed:
            answer.OtherFailuresSequence = [_failure(_NOT_UNDERSTOOD) for _ in range(self.unnamed)]
        return answer


def store(
    holdings: Holdings, pieces: Iterable[bytes], content_type: str, study_uid: str = ""
) -> Stored:
    """Keep the instances of one request, those of `study_uid` alone if it is given.

    Raises:
        NotMultipart: nothing was stored.
    """
    try:
        bodies = [
            part.body
            for part in parts(
                pieces, content_type, part_cap_bytes=STORED_BYTES, peer="this request"
            )
        ]
    except UpstreamError:
        raise NotMultipart("The body is no multipart/related, or it ends early.") from None
    if not bodies:
        raise NotMultipart("The body has no part.")
    outcome = Stored()
    for body in bodies:
        _keep(holdings, body, study_uid, outcome)
    return outcome


def _keep(holdings: Holdings, body: bytes, study_uid: str, outcome: Stored) -> None:
    header = _header(body)
    if header is None:
        outcome.unnamed += 1
    elif study_uid not in ("", header.StudyInstanceUID):
        outcome.failed.append(_failure(_OTHER_STUDY, header))
    elif not _whole(body):
        outcome.failed.append(_failure(_NOT_UNDERSTOOD, header))
    elif not holdings.put(header.SOPInstanceUID, body):
        outcome.failed.append(_failure(_DUPLICATE, header))
    else:
        outcome.kept.append(header)


def _header(body: bytes) -> Dataset | None:
    """The header of an instance that says which it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are the business of who reads the images
            header = dcmread(BytesIO(body), stop_before_pixels=True)
            named = [header.get(f"{n}InstanceUID", "") for n in ("Study", "Series", "SOP")]
            named.append(header.get("SOPClassUID", ""))
    except (InvalidDicomError, ValueError, EOFError, KeyError, NotImplementedError):
        return None
    syntax = header.file_meta.get("TransferSyntaxUID", "")
    return header if all(UID(str(uid)).is_valid for uid in (*named, syntax)) else None


def _whole(body: bytes) -> bool:
    try:
        instance_facts(body)
    except (NotDicom, NotWhole):
        return False
    return True


def _referenced(header: Dataset, base_url: str) -> Dataset:
    item = _item(header)
    item.RetrieveURL = (
        f"{base_url}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}"
        f"/instances/{header.SOPInstanceUID}"
    )
    return item


def _failure(reason: int, header: Dataset | None = None) -> Dataset:
    item = _item(header) if header is not None else Dataset()
    item.FailureReason = reason
    return item


def _item(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item
