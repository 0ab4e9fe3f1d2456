"""Everything that can go wrong on the other side of the wire.

::

    UpstreamError
    ├── Unreachable        no connection, or it broke before the answer began
    │   └── CircuitOpen    it failed so often that we did not even try
    ├── TimedOut           the total deadline of the call is over
    ├── Truncated          the answer broke off: part of it is never used
    │   └── Damaged        it came whole, and the instance in it ends early each time
    ├── Incomplete         the archive sent fewer instances than it lists, or lists none (yet)
    ├── Throttled          429, or 503 with Retry-After
    ├── ServerError        5xx
    ├── Refused            401 or 403: our credential is not enough
    ├── NotFound           404 or 410
    ├── Conflict           409 or 412: another writer, or several matches
    ├── Rejected           any other 4xx, or 501: the request itself is not accepted
    ├── BadAnswer          not the format that was asked for
    ├── ForeignInstance    an instance of another study or series than asked for
    ├── TooLarge           more bytes than we are willing to hold
    ├── UntrustedPeer      the TLS certificate does not prove who answers
    ├── RedirectRefused    the peer wants us to go elsewhere
    └── EgressRefused      the address is not one that was configured

Each has a `kind` (for records and metrics), `retryable`, and a sentence for a person. A sentence
names the configured peer and a status; it quotes no URL, header, body or identifier.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import requests.exceptions as rx
import urllib3.exceptions as ux

from cds_service.security.egress import NotAllowed


class UpstreamError(Exception):
    """Base class: one ``except`` around anything that talks to an archive or a FHIR server."""

    kind: ClassVar[str] = "upstream"
    retryable: ClassVar[bool] = False
    issues: frozenset[str] = frozenset()
    """Codes of the OperationOutcome that came with it (see `clients.outcomes`)."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class Unreachable(UpstreamError):
    """No connection could be made, or it was closed before an answer began."""

    kind = "unreachable"
    retryable = True


class CircuitOpen(Unreachable):
    """The peer failed so many times in a row that it is left alone for a while."""

    kind = "circuit-open"


class TimedOut(UpstreamError):
    """The total deadline of the call, connecting and reading together, has passed."""

    kind = "timeout"
    retryable = True

    def __init__(self, sentence: str, *, deadline_s: float | None = None) -> None:
        super().__init__(sentence)
        self.deadline_s = deadline_s


class Truncated(UpstreamError):
    """The answer ended before its announced end."""

    kind = "truncated"
    retryable = True


class Damaged(Truncated):
    """An instance ends before its own end though the answer is whole, and did so when asked again.

    It lies like that in the archive: to ask more often would only hold up the studies behind it.
    """

    kind = "damaged"
    retryable = False


class Incomplete(UpstreamError):
    """The instances that came are not those that the archive lists, or it lists none (yet)."""

    kind = "incomplete"
    retryable = True


class Throttled(UpstreamError):
    """The peer asks us to slow down; `retry_after_s` is what it said, if it said anything."""

    kind = "throttled"
    retryable = True

    def __init__(
        self, sentence: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(sentence, status=status)
        self.retry_after_s = retry_after_s


class ServerError(UpstreamError):
    """The peer failed (5xx)."""

    kind = "server-error"
    retryable = True


class Refused(UpstreamError):
    """The peer does not accept our credential (401) or does not allow this (403)."""

    kind = "refused"


class NotFound(UpstreamError):
    """There is no such thing at the peer (404, 410)."""

    kind = "not-found"


class Conflict(UpstreamError):
    """Another writer was first, or a condition matched several resources (409, 412)."""

    kind = "conflict"


class Rejected(UpstreamError):
    """The peer does not accept the request as it is (another 4xx), or does no such thing (501)."""

    kind = "rejected"


class BadAnswer(UpstreamError):
    """An answer of another format, or one that contradicts itself."""

    kind = "bad-answer"


class ForeignInstance(UpstreamError):
    """An instance that belongs to another study or series than the one that was asked for."""

    kind = "identity"


class TooLarge(UpstreamError):
    """More bytes than the cap of the call."""

    kind = "too-large"


class UntrustedPeer(UpstreamError):
    """The TLS handshake failed: nothing was sent."""

    kind = "tls"


class RedirectRefused(UpstreamError):
    """The peer answered 3xx: redirects are never followed, no credential goes elsewhere."""

    kind = "redirect"


class EgressRefused(UpstreamError):
    """The address is not on the allow-list: nothing was sent."""

    kind = "egress"


_NETWORK: dict[type[BaseException], type[UpstreamError]] = {
    NotAllowed: EgressRefused,
    # requests: the base classes catch what has no row of its own
    rx.RequestException: BadAnswer,
    rx.ConnectionError: Unreachable,
    rx.ProxyError: Unreachable,
    rx.SSLError: UntrustedPeer,
    rx.Timeout: TimedOut,
    rx.ConnectTimeout: Unreachable,
    rx.ReadTimeout: TimedOut,
    rx.ChunkedEncodingError: Truncated,
    rx.ContentDecodingError: BadAnswer,
    rx.StreamConsumedError: BadAnswer,
    rx.InvalidJSONError: BadAnswer,
    rx.JSONDecodeError: BadAnswer,
    rx.HTTPError: BadAnswer,
    rx.RetryError: Unreachable,
    rx.TooManyRedirects: RedirectRefused,
    rx.URLRequired: EgressRefused,
    rx.MissingSchema: EgressRefused,
    rx.InvalidSchema: EgressRefused,
    rx.InvalidURL: EgressRefused,
    rx.InvalidProxyURL: EgressRefused,
    rx.InvalidHeader: Rejected,
    rx.UnrewindableBodyError: Rejected,
    # urllib3, which speaks while a body is streamed
    ux.HTTPError: BadAnswer,
    ux.ProtocolError: Truncated,
    ux.IncompleteRead: Truncated,
    ux.InvalidChunkLength: Truncated,
    ux.ResponseNotChunked: BadAnswer,
    ux.BodyNotHttplibCompatible: BadAnswer,
    ux.InvalidHeader: BadAnswer,
    ux.HeaderParsingError: BadAnswer,
    ux.DecodeError: BadAnswer,
    ux.ResponseError: BadAnswer,
    ux.SSLError: UntrustedPeer,
    ux.ProxyError: Unreachable,
    ux.ProxySchemeUnknown: EgressRefused,
    ux.ProxySchemeUnsupported: EgressRefused,
    ux.PoolError: Unreachable,
    ux.EmptyPoolError: Unreachable,
    ux.FullPoolError: Unreachable,
    ux.ClosedPoolError: Unreachable,
    ux.RequestError: Unreachable,
    ux.MaxRetryError: Unreachable,
    ux.HostChangedError: EgressRefused,
    ux.TimeoutStateError: TimedOut,
    ux.TimeoutError: TimedOut,
    ux.ReadTimeoutError: TimedOut,
    ux.ConnectTimeoutError: Unreachable,
    ux.NewConnectionError: Unreachable,
    ux.NameResolutionError: Unreachable,
    ux.LocationValueError: EgressRefused,
    ux.LocationParseError: EgressRefused,
    ux.URLSchemeUnknown: EgressRefused,
    ux.UnrewindableBodyError: Rejected,
    # the standard library, where urllib3 lets it through
    http.client.HTTPException: BadAnswer,
    http.client.IncompleteRead: Truncated,
    ssl.SSLError: UntrustedPeer,
    TimeoutError: TimedOut,
    OSError: Unreachable,
}

_SENTENCES: dict[type[UpstreamError], str] = {
    Unreachable: "No connection to {peer}.",
    TimedOut: "{peer} did not answer in time.",
    Truncated: "The answer of {peer} broke off.",
    BadAnswer: "The answer of {peer} cannot be read.",
    Rejected: "The request to {peer} could not be made.",
    UntrustedPeer: "The TLS certificate of {peer} is not trusted.",
    RedirectRefused: "{peer} redirects elsewhere; redirects are not followed.",
    EgressRefused: "The address is not one that is configured for {peer}.",
}


def mapped(error: BaseException, peer: str) -> UpstreamError | None:
    """Our error for a library's `error`, or None if it is not one of a network library."""
    for cls in type(error).__mro__:
        ours = _NETWORK.get(cls)
        if ours is UntrustedPeer and _hung_up(error):
            ours = Unreachable
        if ours is not None:
            sentence = error.sentence if isinstance(error, NotAllowed) else _SENTENCES[ours]
            return ours(sentence.format(peer=peer))
    return None


def _hung_up(error: BaseException | None) -> bool:
    """Whether a failed handshake is only a closed connection, somewhere down the wrapped errors."""
    for _ in range(8):
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        inner = getattr(error, "reason", None) or next(iter(getattr(error, "args", ())), None)
        error = inner if isinstance(inner, BaseException) else None
    return False


@contextmanager
def upstream_errors(peer: str) -> Iterator[None]:
    """Turn every exception of requests, urllib3 and the socket into an `UpstreamError`.

    The library's exception stays as ``__context__`` for a debugger, but is not the cause: its
    text may hold a URL with a patient's identifier.
    """
    try:
        yield
    except UpstreamError:
        raise
    except (rx.RequestException, ux.HTTPError, http.client.HTTPException, OSError) as error:
        ours = mapped(error, peer)
        raise (ours or BadAnswer(_SENTENCES[BadAnswer].format(peer=peer))) from None
    except (NotAllowed, ValueError) as error:
        ours = mapped(error, peer)
        if ours is None:
            raise
        raise ours from None


def error_for_status(status: int, peer: str, retry_after_s: float | None = None) -> UpstreamError:
    """The error of an HTTP `status` that is not a success."""
    said = f"{peer} answered {status}."
    if 300 <= status < 400:
        return RedirectRefused(_SENTENCES[RedirectRefused].format(peer=peer), status=status)
    if status == 429 or (status == 503 and retry_after_s is not None):
        return Throttled(
            f"{peer} asks us to slow down ({status}).", status=status, retry_after_s=retry_after_s
        )
    if status >= 500 and status != 501:  # what is not implemented will not be the next time
        return ServerError(said, status=status)
    classes = {401: Refused, 403: Refused, 404: NotFound, 410: NotFound}
    classes |= {408: ServerError, 409: Conflict, 412: Conflict, 413: Rejected}
    return classes.get(status, Rejected if status >= 400 else BadAnswer)(said, status=status)
