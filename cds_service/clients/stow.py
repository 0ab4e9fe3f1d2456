"""An archive that objects are stored into through STOW-RS (PS3.18 10.5), and what it said of each.

An answer is believed only as far as it goes: 200 may hold warnings, 202 says which objects failed,
409 that all did, and a body may be missing altogether. Whether an object is there is then asked
(see `Archive.instances`); nothing here decides that.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cds_service.clients import dicomjson as dj
from cds_service.clients.errors import BadAnswer, Rejected
from cds_service.clients.http import Answer, HttpClient, Request

PIECE_BYTES = 64 * 1024
"""How much of an object is handed to the connection at a time."""

_ANSWER = "application/dicom+json"
_REFERENCED, _FAILED, _OTHER = "00081199", "00081198", "0008119A"
_UID, _FAILURE, _WARNING = "00081155", "00081197", "00081196"
_DUPLICATE = 0x0111  # PS3.18 10.5.3, PS3.4 B.2.3: it is there already
_NOT_NOW = range(0xA700, 0xA800)  # out of resources


class Said(StrEnum):
    """What an archive said of one object."""

    STORED = "stored"
    WARNED = "warned"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    BUSY = "busy"
    TOO_LARGE = "too-large"
    NOTHING = "nothing"


@dataclass(frozen=True)
class ToStore:
    """One object to be stored: its SOP Instance UID and its PS3.10 file."""

    sop_instance_uid: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Receipt:
    """What was said of one object; `reason` is the code of a failure or warning (PS3.18 10.5.3)."""

    said: Said
    reason: int | None = None


class MultipartBody:
    """The body of one request: files as multipart/related, in pieces, never joined in memory.

    It knows its length, so that no archive has to take a chunked request, and may be read again
    for another attempt.
    """

    def __init__(self, objects: Sequence[ToStore]) -> None:
        self._boundary = secrets.token_hex(16)
        self._objects = objects

    @property
    def content_type(self) -> str:
        """The header that goes with it (RFC 2387)."""
        return f'multipart/related; type="application/dicom"; boundary={self._boundary}'

    def __len__(self) -> int:
        """The bytes of the whole body."""
        frame = len(self._head()) + 2
        return sum(frame + len(each.data) for each in self._objects) + len(self._end())

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        for each in self._objects:
            yield self._head()
            for start in range(0, len(each.data), PIECE_BYTES):
                yield each.data[start : start + PIECE_BYTES]
            yield b"\r\n"
        yield self._end()

    def _head(self) -> bytes:
        return f"--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


class StowService:
    """Stores objects of one study at a time, through a client of its own.

    A client of its own, because an archive that takes nothing may still give: its failures must
    not open the breaker of the client that fetches studies.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def store(self, study_uid: str, objects: Sequence[ToStore]) -> Mapping[str, Receipt]:
        """Send the objects in one request; what was said of each, by SOP Instance UID.

        An archive that finds the request too large (413) is sent the objects one by one.
        Repeated as the policy grants: what has a UID of its own is stored once.

        Raises:
            UpstreamError: nothing is known of any object.
        """
        try:
            return self._sent(study_uid, objects)
        except Rejected as error:
            if error.status != 413:
                raise
        if len(objects) == 1:
            return {objects[0].sop_instance_uid: Receipt(Said.TOO_LARGE)}
        receipts: dict[str, Receipt] = {}
        for each in objects:
            receipts |= self.store(study_uid, [each])
        return receipts

    def _sent(self, study_uid: str, objects: Sequence[ToStore]) -> Mapping[str, Receipt]:
        body = MultipartBody(objects)
        headers = {"Content-Type": body.content_type, "Accept": _ANSWER}
        path = f"studies/{study_uid}"
        request = Request("POST", path, headers=headers, body=body, idempotent=True, read=(409,))
        answer = self._client.send(request)
        told = dict(_told(answer, self._client.peer))
        unsaid = Receipt(Said.FAILED if answer.status == 409 else Said.NOTHING)
        return {o.sop_instance_uid: told.get(o.sop_instance_uid, unsaid) for o in objects}


def _told(answer: Answer, peer: str) -> Iterable[tuple[str, Receipt]]:
    """The receipts of an answer; none of one that is empty or of another format."""
    try:
        found = answer.json(peer, _ANSWER) if answer.body else {}
    except BadAnswer:
        return
    response = found[0] if isinstance(found, list) and found else found
    if not isinstance(response, Mapping):
        return
    for sequence in (_REFERENCED, _FAILED, _OTHER):
        for item in dj.values(response, sequence):
            uid = dj.uid(item, _UID) if isinstance(item, Mapping) else None
            if uid is not None:
                yield uid, _receipt(item, stored=sequence == _REFERENCED)


def _receipt(item: dj.Element, *, stored: bool) -> Receipt:
    reason = dj.integer(item, _WARNING if stored else _FAILURE)
    if stored:
        return Receipt(Said.STORED if not reason else Said.WARNED, reason)
    if reason == _DUPLICATE:
        return Receipt(Said.DUPLICATE, reason)
    return Receipt(Said.BUSY if reason in _NOT_NOW else Said.FAILED, reason)
