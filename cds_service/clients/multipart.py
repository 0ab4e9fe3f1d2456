"""multipart/related as it streams: each part when its last byte is here, and never half an answer.

RFC 2046 5.1.1, RFC 2387, PS3.18 8.6.1.2. A stopped archive leaves a body that ends early, which
looks like success to an ordinary client; here the closing ``--boundary--`` is required.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cds_service.clients.errors import BadAnswer, TooLarge, Truncated

HEADER_CAP_BYTES = 16 * 1024
PREAMBLE_CAP_BYTES = 64 * 1024

_PARAMETER = re.compile(r';\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


@dataclass(frozen=True)
class Part:
    """One part: its headers with names in lower case, and its body."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def media_type(content_type: str) -> tuple[str, dict[str, str]]:
    """A Content-Type as (type in lower case, parameters with names in lower case)."""
    parameters = {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(content_type)
    }
    return content_type.split(";", 1)[0].strip().lower(), parameters


def boundary_of(content_type: str, peer: str) -> bytes:
    """The boundary of a multipart answer.

    Raises:
        BadAnswer: it is not multipart, or its boundary is missing or over 70 characters.
    """
    kind, parameters = media_type(content_type)
    boundary = parameters.get("boundary", "").rstrip(" ")
    if not kind.startswith("multipart/") or not 0 < len(boundary) <= 70:
        raise BadAnswer(f"{peer} answered in another format than multipart.")
    try:
        return boundary.encode("ascii")
    except UnicodeEncodeError:
        raise BadAnswer(f"{peer} answered with an impossible boundary.") from None


class _Window:
    """The bytes that have come and are not used yet; asks for more when they are needed."""

    def __init__(self, chunks: Iterable[bytes], peer: str) -> None:
        self._chunks = iter(chunks)
        self._peer = peer
        self.data = bytearray()

    def more(self) -> None:
        for chunk in self._chunks:
            self.data += chunk
            return
        raise Truncated(f"The answer of {self._peer} broke off.")

    def at_least(self, size: int) -> None:
        while len(self.data) < size:
            self.more()

    def find(self, needle: bytes, cap: int) -> int:
        """Where `needle` begins, looked for in every byte once."""
        start = 0
        while (at := self.data.find(needle, start)) < 0:
            if len(self.data) > cap:
                raise TooLarge(f"A part of the answer of {self._peer} is larger than its cap.")
            start = max(0, len(self.data) - len(needle) + 1)
            self.more()
        return at

    def take(self, size: int) -> bytes:
        with memoryview(self.data) as view:
            taken = bytes(view[:size])
        del self.data[:size]
        return taken


class _Reader:
    def __init__(self, chunks: Iterable[bytes], boundary: bytes, cap: int, peer: str) -> None:
        self._window = _Window(chunks, peer)
        self._dash = b"--" + boundary
        self._cap = cap
        self._peer = peer

    def parts(self) -> Iterator[Part]:
        self._skip_preamble()
        while not self._closing():
            headers = self._headers()
            yield Part(headers, self._body(headers))

    def _skip_preamble(self) -> None:
        window = self._window
        at = 0
        while True:
            at = window.find(self._dash, PREAMBLE_CAP_BYTES)
            if at == 0 or window.data[at - 1 : at] == b"\n":
                break
            window.take(at + 1)  # the boundary's text inside a line of the preamble
        window.take(at + len(self._dash))

    def _closing(self) -> bool:
        """After a delimiter: whether it was the last one; else its line is skipped."""
        window = self._window
        window.at_least(2)
        if window.data[:2] == b"--":
            return True
        end = window.find(b"\n", HEADER_CAP_BYTES)
        if window.take(end + 1).strip():
            raise BadAnswer(f"The parts of the answer of {self._peer} are not separated.")
        return False

    def _headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        taken, name = 0, ""
        while True:
            end = self._window.find(b"\n", HEADER_CAP_BYTES)
            line = self._window.take(end + 1)
            taken += len(line)
            if taken > HEADER_CAP_BYTES:
                raise TooLarge(f"A part of the answer of {self._peer} has too many headers.")
            if not line.strip():
                return headers
            before, colon, value = line.decode("latin-1").partition(":")
            if name and line[:1] in b" \t":  # RFC 5322 2.2.3: it goes on from the line before
                headers[name] += " " + line.decode("latin-1").strip()
                continue
            if not colon:
                raise BadAnswer(f"A part of the answer of {self._peer} has a broken header.")
            name = before.strip().lower()
            headers[name] = value.strip()

    def _body(self, headers: Mapping[str, str]) -> bytes:
        size = headers.get("content-length", "")
        if size.isascii() and size.isdigit():
            body = self._jump(int(size))
            if body is not None:
                return body
        return self._search()

    def _jump(self, size: int) -> bytes | None:
        """The body by its announced length, if a delimiter follows there; else it lied."""
        if size > self._cap:
            raise TooLarge(f"A part of the answer of {self._peer} is larger than its cap.")
        window = self._window
        try:
            window.at_least(size + len(self._dash) + 2)
        except Truncated:
            if self._dash not in window.data:
                raise
            return None
        for line_end in (b"\r\n", b"\n"):
            after = line_end + self._dash
            window.at_least(size + len(after))
            if window.data[size : size + len(after)] == after:
                body = window.take(size)
                window.take(len(after))
                return body
        return None

    def _search(self) -> bytes:
        window = self._window
        at = window.find(b"\n" + self._dash, self._cap)
        body = window.take(at)
        window.take(1 + len(self._dash))
        return body.removesuffix(b"\r")


def parts(
    chunks: Iterable[bytes], content_type: str, *, part_cap_bytes: int, peer: str
) -> Iterator[Part]:
    """The parts of a multipart answer, each as soon as it is whole.

    Args:
        chunks: the body in pieces of any size.
        content_type: the header of the answer, with its boundary.
        part_cap_bytes: the largest body of one part.
        peer: the name for sentences.

    Raises:
        Truncated: the body ends before the closing ``--boundary--`` (raised after the parts that
            were whole).
        TooLarge: a part, its headers or the preamble exceed their caps.
        BadAnswer: it is no multipart.
    """
    return _Reader(chunks, boundary_of(content_type, peer), part_cap_bytes, peer).parts()
