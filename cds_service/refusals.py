"""What waitress itself refuses, said as everything else is: one OperationOutcome, one sentence.

A request that breaks HTTP or a limit never reaches the application, and waitress would answer it
with its own words as text/plain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import RequestEntityTooLarge

from cds_service.security.headers import ALWAYS, HTTPS_ONLY, for_origin
from fhir_mapping.outcome import outcome
from inference.limits import MIB

SENTENCES = {
    400: ("structure", "The request is not HTTP that can be read."),
    413: ("too-long", "The body is too large."),
    431: ("too-long", "The header is too large."),
    501: ("not-supported", "This transfer encoding is not known here."),
}
FORGET_BYTES = 16 * MIB
"""A body that is larger than this is not waited for: whoever sends it may see a reset."""

OTHERWISE = ("exception", "The service could not answer.")

_ORIGIN = re.compile(rb"\r\nOrigin:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)


class Refusal(ErrorTask):  # type: ignore[misc]  # waitress states no types
    """An answer to a request that could not be read; the connection is closed after it.

    Pages of the listed `origins` may read it, whatever was asked for: it says nothing of a route.
    """

    https = False
    origins: tuple[str, ...] = ()

    def execute(self) -> None:
        """Write the whole answer."""
        error = self.request.error
        code, sentence = SENTENCES.get(error.code, OTHERWISE)
        body = json.dumps(outcome(sentence, code), separators=(",", ":")).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), *self._headers().items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)

    def _headers(self) -> dict[str, str]:
        headers = {**ALWAYS, **for_origin(self.request.origin, self.origins)}
        if self.origins:
            headers["Vary"] = "Origin"
        if self.https:
            headers["Strict-Transport-Security"] = HTTPS_ONLY
        return headers


class _Nowhere:
    """A buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def __len__(self) -> int:
        return 0


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress states no types
    """Lets a body that is too large come in, up to a point, and keeps none of it.

    A server that closes while a client still sends resets the connection, and the client sees that
    instead of our answer.
    """

    forgetting = False
    origin = ""
    """Of a request that is refused: its ``Origin``, if that had come and can be told."""

    header_plus: bytes
    expect_continue: bool = False

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header, and refuse one that says twice how long its body is (RFC 9112, 6.1).

        A proxy in front may have believed the other: whose request is it that comes next?
        """
        try:
            super().parse_header(header_plus)
        except ValueError:  # a number that Python does not read
            raise ParsingError("Content-Length is invalid") from None
        said_twice = self.chunked and "CONTENT_LENGTH" in self.headers
        if said_twice or "TRANSFER_ENCODING" in self.headers:  # still there: not HTTP/1.1
            raise ParsingError("Transfer-Encoding is ambiguous")

    def received(self, data: bytes) -> int:
        """Take bytes of the request; returns how many."""
        if self.forgetting:
            return self._forgotten(data)
        taken: int = super().received(data)
        if self.error:
            self.origin = self._origin(data)
        # "may I send it?" is answered by the refusal; waitress would say yes and wait
        asked, self.expect_continue = self.expect_continue, self.expect_continue and not self.error
        too_large = isinstance(self.error, RequestEntityTooLarge)
        if too_large and not asked and self.content_length <= FORGET_BYTES:
            self.forgetting, self.completed = True, False
            self.body_rcv.getbuf().close()
            self.body_rcv.buf = _Nowhere()
        return taken

    def _origin(self, data: bytes) -> str:
        """As it was read, or from what has come of a header that cannot be read."""
        found = _ORIGIN.search(self.header_plus + data)
        read: str = self.headers.get("ORIGIN", found[1].decode("latin-1") if found else "")
        return read

    def _forgotten(self, data: bytes) -> int:
        taken: int = self.body_rcv.received(data)
        self.body_bytes_received += taken
        over = self.body_bytes_received > FORGET_BYTES
        self.completed = bool(over or self.body_rcv.completed or self.body_rcv.error)
        return taken


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress states no types
    """One connection."""

    parser_class = Parser
    error_task_class: Callable[..., Refusal] = Refusal
    last_activity: float

    def handle_read(self) -> None:
        """Read what has come; a request is as old as its first byte, however slowly it grows.

        waitress cuts who is silent: a byte now and then would keep a connection for ever.
        """
        unfinished, since_s = self.request, self.last_activity
        super().handle_read()
        if unfinished is not None and self.request is unfinished:
            self.last_activity = since_s


def channels(*, https: bool, origins: tuple[str, ...]) -> Callable[..., Channel]:
    """What makes the connections of a site; `https` if its public address is."""

    def refusal(channel: Channel, request: Parser) -> Refusal:
        made = Refusal(channel, request)
        made.https, made.origins = https, origins
        return made

    def channel(*waitress: Any, **named: Any) -> Channel:
        made = Channel(*waitress, **named)
        made.error_task_class = refusal
        return made

    return channel
