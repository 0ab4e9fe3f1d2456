"""An HTTP server on a free loopback port that misbehaves as it is told, and notes what it saw."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Framing = Literal["length", "chunked", "close"]
Reply = Callable[[socket.socket], None]

HEADER_BYTES = 1 << 20
"""A client that sends more without an empty line is not listened to."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.split("?", 1)[0]

    @property
    def query(self) -> str:
        """What stands after the question mark, as written."""
        return self.target.partition("?")[2]


Respond = Callable[[Seen], Reply]


class FaultyServer:
    """Answers each request with the reply that `respond` chooses for it, one a connection.

    `connections` counts accepted ones: a canary asserts that it is 0.
    """

    def __init__(self, respond: Respond | None = None) -> None:
        self._respond = respond or (lambda seen: answer(404))
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self.seen: list[Seen] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Those that are being served."""
        return len(self._open)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for connection in tuple(self._open):  # a reply without an end gets one
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.add(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            seen = _read_request(connection)
            if seen is not None:
                self.seen.append(seen)
                self._respond(seen)(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
        self._open.discard(connection)


def _read_request(connection: socket.socket) -> Seen | None:
    """One whole request; None if the client goes away, or its header has no end."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece or len(received) > HEADER_BYTES:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        piece = connection.recv(65536)
        if not piece:
            return None
        body += piece
    return Seen(method, target, headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """A status line and headers, with Connection: close."""
    lines = [f"HTTP/1.1 {status} Said", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    framing: Framing = "length",
    cut: int | None = None,
) -> Reply:
    """An answer, sent only up to byte `cut` of its body, then the connection closes."""

    def reply(connection: socket.socket) -> None:
        said = dict(headers or {})
        sent = body if cut is None else body[:cut]
        if framing == "length":
            said["Content-Length"] = str(len(body))
        if framing == "chunked":
            said["Transfer-Encoding"] = "chunked"
            whole = cut is None or cut >= len(body)
            sent = b"".join(_chunks(sent)) + (b"0\r\n\r\n" if whole else b"")
        connection.sendall(head(status, said) + sent)

    return reply


def _chunks(body: bytes) -> Iterable[bytes]:
    for start in range(0, len(body), 4096):
        piece = body[start : start + 4096]
        yield b"%x\r\n" % len(piece) + piece + b"\r\n"


def json_answer(text: str | bytes, media: str = "application/json", status: int = 200) -> Reply:
    """A JSON answer."""
    body = text.encode() if isinstance(text, str) else text
    return answer(status, body, {"Content-Type": media})


def dribble(
    body: bytes, every_s: float, headers: Mapping[str, str] | None = None, in_head: bool = False
) -> Reply:
    """One byte every `every_s` seconds; with `in_head` the headers already come like that."""

    def reply(connection: socket.socket) -> None:
        start = head(200, {"Content-Length": str(len(body)), **(headers or {})})
        if not in_head:
            connection.sendall(start)
        for byte in (start if in_head else b"") + body:
            connection.sendall(bytes([byte]))
            time.sleep(every_s)

    return reply


def silence(seconds: float) -> Reply:
    """Accepts, reads, and says nothing."""
    return lambda connection: time.sleep(seconds)


def hang_up() -> Reply:
    """Closes the connection without a word."""
    return lambda connection: None


def redirect(url: str, status: int = 302) -> Reply:
    """Sends the caller elsewhere."""
    return answer(status, b"", {"Location": url})


def gzip_bomb(size_bytes: int, headers: Mapping[str, str] | None = None) -> Reply:
    """Few bytes on the wire, `size_bytes` zeros when unpacked."""
    packer = zlib.compressobj(9, wbits=31)
    piece = b"\0" * (1 << 20)
    body = b"".join(packer.compress(piece) for _ in range(size_bytes >> 20)) + packer.flush()
    return answer(200, body, {"Content-Encoding": "gzip", **(headers or {})})


def endless(piece: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Never stops sending, until one of the two goes away."""
    assert piece, "an empty piece would never find out that the client has gone"

    def reply(connection: socket.socket) -> None:
        connection.sendall(head(200, headers or {}))
        while True:
            connection.sendall(piece)

    return reply


def in_turn(*replies: Reply) -> Respond:
    """The first reply for the first request, and so on; the last one for all that follow."""
    waiting = list(replies)
    lock = threading.Lock()

    def respond(seen: Seen) -> Reply:
        with lock:
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return respond
