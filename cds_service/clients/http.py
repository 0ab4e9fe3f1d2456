"""One small HTTP client: a deadline, a byte cap, no redirects, no environment, one origin."""

from __future__ import annotations

import copy
import email.utils
import json
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import requests
from requests.utils import default_user_agent

from cds_service.clients.errors import (
    BadAnswer,
    TimedOut,
    TooLarge,
    Truncated,
    UpstreamError,
    error_for_status,
    upstream_errors,
)
from cds_service.clients.outcomes import FHIR_JSON, OUTCOME_BYTES, issue_codes
from cds_service.clients.policy import Attempts, Breaker, Clock, Deadline, HttpPolicy
from cds_service.clients.transport import Call, PinnedAdapter
from cds_service.security.egress import Allowance, Resolver, resolve

READ_BYTES = 256 * 1024
PARTIAL = 206
_SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110 9.2.2: may be repeated


class Credential(Protocol):
    """What proves to one peer who we are."""

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """The headers to send to `allowance`; may take up to `deadline_s` to be fetched."""
        ...

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether, after a 401 to the headers `refused`, another try can succeed."""
        ...


class StreamedBody(Protocol):
    """A body that is sent piece by piece: of a known length, and readable again for a repeat."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Request:
    """One call below the base of a client. `query` is already percent-encoded."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | StreamedBody | None = field(default=None, repr=False)
    idempotent: bool | None = None
    """Whether it may be repeated; None means what RFC 9110 says of the method."""

    read: tuple[int, ...] = ()
    """Statuses besides success whose answer is wanted for what it says, and so is no error."""

    @property
    def repeatable(self) -> bool:
        """Whether a second attempt does no harm."""
        return self.method in _SAFE_METHODS if self.idempotent is None else self.idempotent


@dataclass(frozen=True)
class Answer:
    """A whole answer of a success status, or of one that the request wants to read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self, peer: str, *types: str) -> Any:
        """The body as JSON values.

        Raises:
            BadAnswer: another media type than `types` (or any ``+json``), or not JSON.
        """
        media = self.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        if media not in types and media != "application/json" and not media.endswith("+json"):
            raise BadAnswer(f"{peer} answered in another format than JSON.", status=self.status)
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise BadAnswer(f"{peer} answered with broken JSON.", status=self.status) from None


class Stream:
    """An answer whose body arrives while it is read, counted and capped."""

    def __init__(
        self, response: requests.Response, policy: HttpPolicy, deadline: Deadline, peer: str
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.framed = "content-length" in response.headers or response.raw.chunked
        """Whether the end of the body is announced, so that a cut cannot pass for the end."""
        self._raw = response.raw
        self._policy = policy
        self._deadline = deadline
        self._peer = peer

    def chunks(self) -> Iterator[bytes]:
        """The decoded body, in pieces as they arrive.

        Raises:
            UpstreamError: Truncated, TimedOut, TooLarge, BadAnswer, Unreachable.
        """
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        counted = 0
        pieces = self._received()
        for piece in pieces if encoding in ("", "identity") else self._inflated(pieces, encoding):
            counted += len(piece)
            if counted > self._policy.bytes_cap:
                raise TooLarge(f"The answer of {self._peer} is larger than its cap.")
            yield piece

    def _received(self) -> Iterator[bytes]:
        announced = self._announced()
        if announced is not None and announced > self._policy.bytes_cap:
            raise TooLarge(f"The answer of {self._peer} is larger than its cap.")
        received, before_s = 0, self._deadline.remaining_s()
        while True:
            with upstream_errors(self._peer):
                piece: bytes = self._raw.read1(READ_BYTES, decode_content=False)
            if self._deadline.over:
                raise self._deadline.error(self._peer)
            if not piece:
                break
            received += len(piece)
            self._check_rate(received, before_s - self._deadline.remaining_s())
            yield piece
        if announced is not None and received != announced:
            raise Truncated(f"The answer of {self._peer} broke off.")

    def _announced(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and not self._raw.chunked else None

    def _check_rate(self, received: int, elapsed_s: float) -> None:
        floor = self._policy.rate_floor_bytes_per_s
        if elapsed_s > self._policy.silence_s and received < floor * elapsed_s:
            raise TimedOut(f"{self._peer} answers too slowly.", deadline_s=elapsed_s)

    def _inflated(self, pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        """gzip although we asked for identity: unpacked in bounded pieces, so a bomb is counted."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise BadAnswer(f"The answer of {self._peer} is compressed in an unknown way.")
        inflater = zlib.decompressobj(47)  # zlib and gzip headers, as zlib itself tells them apart
        for piece in pieces:
            while piece and not inflater.eof:
                try:
                    yield inflater.decompress(piece, READ_BYTES)
                except zlib.error:
                    raise BadAnswer(f"The answer of {self._peer} is not what it says.") from None
                piece = inflater.unconsumed_tail
        if not inflater.eof:
            raise Truncated(f"The answer of {self._peer} broke off.")

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())


class HttpClient:
    """Calls one configured base, from any number of threads."""

    def __init__(
        self,
        allowance: Allowance,
        *,
        credential: Credential | None = None,
        policy: HttpPolicy | None = None,
        connections: int = 8,
        resolver: Resolver = resolve,
        breaker: Breaker | None = None,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.allowance = allowance
        self.policy = policy or HttpPolicy()
        self._credential = credential
        self._resolver = resolver
        self._breaker = breaker or Breaker(clock=clock)
        self._clock, self._sleep, self._draw = clock, sleep, draw
        # The adapter alone, without a Session: no cookies, no .netrc, no proxies of the
        # environment, no redirects, and no body read behind our back.
        self._adapter = PinnedAdapter(allowance.ca_file, connections)

    def acting_as(self, credential: Credential | None) -> HttpClient:
        """The same connections, policy and breaker, with another credential.

        For the token of one hook call: the connections outlive it, the token does not.
        """
        other = copy.copy(self)
        other._credential = credential
        return other

    @property
    def peer(self) -> str:
        """The name that stands in sentences."""
        return self.allowance.name

    def close(self) -> None:
        """Close all pooled connections."""
        self._adapter.close()

    def send(
        self, request: Request, policy: HttpPolicy | None = None, deadline: Deadline | None = None
    ) -> Answer:
        """The whole answer of a 2xx status, after as many attempts as the policy grants.

        Raises:
            UpstreamError: of the last attempt.
        """
        policy = policy or self.policy
        deadline = deadline or self.deadline(policy)
        attempts = self.attempts(policy, deadline)
        while True:
            try:
                with self.stream(request, policy, deadline) as stream:
                    return Answer(stream.status, stream.headers, stream.read())
            except UpstreamError as error:
                if not request.repeatable:
                    raise
                attempts.again(error)

    def deadline(self, policy: HttpPolicy | None = None) -> Deadline:
        """A deadline that begins now."""
        return Deadline((policy or self.policy).deadline_s, self._clock)

    def attempts(self, policy: HttpPolicy, deadline: Deadline) -> Attempts:
        """A counter of attempts within `deadline`."""
        return Attempts(policy, deadline, self._sleep, self._draw)

    @contextmanager
    def stream(self, request: Request, policy: HttpPolicy, deadline: Deadline) -> Iterator[Stream]:
        """One attempt: the answer of a 2xx status, its body still to be read inside the block.

        Raises:
            UpstreamError: whatever goes wrong here or while the body is read.
        """
        try:
            with self._authorised(request, policy, deadline) as stream:
                yield stream
        except UpstreamError as error:
            late = deadline.over and not isinstance(error, TimedOut)
            final = deadline.error(self.peer) if late and error.retryable else error
            self._breaker.note(final)
            if final is error:
                raise
            raise final from None
        self._breaker.note(None)

    @contextmanager
    def _authorised(
        self, request: Request, policy: HttpPolicy, deadline: Deadline
    ) -> Iterator[Stream]:
        """With our credential, renewed once if the peer answers 401."""
        self._breaker.check(self.peer)
        with Call(self.allowance, deadline, self._resolver) as call:
            sent = self._credential_headers(deadline)
            response = self._respond(request, sent, policy, call)
            if response.status_code == 401 and self._credential and self._credential.renew(sent):
                response.close()
                response = self._respond(request, self._credential_headers(deadline), policy, call)
            try:
                if response.status_code not in request.read:
                    self._check_status(response, policy, deadline)
                yield Stream(response, policy, deadline, self.peer)
            finally:
                _finish(response)

    def _check_status(
        self, response: requests.Response, policy: HttpPolicy, deadline: Deadline
    ) -> None:
        try:
            _check_status(response, self.peer)
        except UpstreamError as error:
            if FHIR_JSON in response.headers.get("content-type", ""):
                bounded = replace(policy, bytes_cap=OUTCOME_BYTES)
                with suppress(UpstreamError):
                    body = Stream(response, bounded, deadline, self.peer).read()
                    error.issues = issue_codes(body)
            raise

    def _credential_headers(self, deadline: Deadline) -> Mapping[str, str]:
        if self._credential is None:
            return {}
        with upstream_errors(self.peer):
            return self._credential.headers(self.allowance, deadline.remaining_s())

    def _respond(
        self, request: Request, credential: Mapping[str, str], policy: HttpPolicy, call: Call
    ) -> requests.Response:
        left_s = call.deadline.remaining_s()
        if left_s <= 0:
            raise call.deadline.error(self.peer)
        with upstream_errors(self.peer), call.current():
            prepared = requests.Request(
                request.method,
                self.allowance.url(request.path, request.query),
                headers={"Accept-Encoding": "identity", **request.headers, **credential},
                data=request.body,
            ).prepare()
            prepared.headers.setdefault("User-Agent", f"scanhook {default_user_agent()}")
            return self._adapter.send(
                prepared,
                stream=True,
                timeout=(min(policy.connect_s, left_s), min(policy.silence_s, left_s)),
                verify=True,
                proxies={},
            )


def _finish(response: requests.Response) -> None:
    """Back to the pool if it was read to its end; else it is closed, for nobody knows the rest."""
    if response.raw.closed or response.raw.isclosed():
        response.raw.release_conn()
    else:
        response.close()


def _check_status(response: requests.Response, peer: str) -> None:
    status = response.status_code
    if status in (200, 201, 202, 204):
        return
    if status == PARTIAL:
        raise Truncated(f"{peer} answered with a part (206).")
    raise error_for_status(status, peer, _retry_after_s(response.headers))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds: a number, or a date compared with the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None
