"""Fetching one series: complete or an error, and after a break only what is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Protocol

from cds_service.clients import dicomjson as dj
from cds_service.clients import multipart
from cds_service.clients.errors import (
    BadAnswer,
    Damaged,
    ForeignInstance,
    Incomplete,
    NotFound,
    Rejected,
    TooLarge,
    Truncated,
    UpstreamError,
)
from cds_service.clients.http import PARTIAL, HttpClient, Request, Stream
from cds_service.clients.part10 import NotDicom, NotWhole, instance_facts
from cds_service.clients.policy import Deadline, HttpPolicy, RetrievalPolicy
from cds_service.clients.quirks import Quirk

_NOT_ACCEPTED = (400, 406, 415)
_TOO_MUCH = 413
_WHOLE_TRIES = 2
"""Answers for the whole series that may bring nothing, before its instances are asked for."""


class Source(Protocol):
    """What a retrieval needs of an archive."""

    @property
    def client(self) -> HttpClient: ...
    @property
    def quirk(self) -> Quirk: ...
    @property
    def retrieval(self) -> RetrievalPolicy: ...
    def instances(
        self, study_uid: str, series_uid: str, deadline: Deadline | None = None
    ) -> tuple[str, ...]: ...
    def metadata(self, study_uid: str, series_uid: str) -> tuple[dj.Element, ...]: ...
    def learn_accept(self, accept: str) -> None: ...
    def learn_single_instances(self) -> None: ...


@dataclass(frozen=True)
class _Instance:
    sop_instance_uid: str
    data: bytes = field(repr=False)


class Retrieval:
    """One series on its way. Not for use by several threads."""

    def __init__(self, archive: Source, study_uid: str, series_uid: str) -> None:
        self._archive = archive
        self._client = archive.client
        self._bounds = archive.retrieval
        self._study, self._series = study_uid, series_uid
        self._path = f"studies/{study_uid}/series/{series_uid}"
        self._deadline = self._client.deadline(self._policy_within(self._bounds.series_bytes))
        self._have: set[str] = set()
        self._bytes = 0
        self._cut_short = 0
        self._whole_tries = 0
        self._failure: UpstreamError | None = None
        self._streams = self._bounds.requests_in_flight == 1 and archive.quirk.streams_series

    @property
    def _peer(self) -> str:
        return self._client.peer

    def run(self) -> Iterator[bytes]:
        """Every listed instance once; see `dicomweb.Archive.retrieve`."""
        rounds = self._client.attempts(
            replace(self._client.policy, attempts=self._bounds.attempts), self._deadline
        )
        listed = (yield from self._while_listing()) if self._streams else self._list()
        while missing := [uid for uid in listed if uid not in self._have]:
            if self._failure is not None:
                rounds.again(self._failure)
            before, self._failure = len(self._have), None
            again = self._streams and not before and self._whole_tries < _WHOLE_TRIES
            yield from self._new(self._whole_series() if again else self._side_by_side(missing))
            if len(self._have) > before:
                rounds.made = 0
        if not self._have <= set(listed) and not self._have <= set(self._list()):
            self._compare_with_headers()

    def _compare_with_headers(self) -> None:
        """More came than the list holds; a list may be capped without a word, headers are not."""
        try:
            headers = self._archive.metadata(self._study, self._series)
        except (BadAnswer, NotFound, Rejected):
            headers = ()
        known = {dj.uid(header, "00080018") for header in headers}
        if not self._have <= known:
            raise ForeignInstance(f"{self._peer} sent an instance that it does not list.")
        if not known <= self._have:
            raise self._incomplete()

    def some(self, uids: Sequence[str]) -> Iterator[bytes]:
        """Only these instances, each once; see `dicomweb.Archive.retrieve_some`."""
        rounds = self._client.attempts(
            replace(self._client.policy, attempts=self._bounds.attempts), self._deadline
        )
        while missing := [uid for uid in uids if uid not in self._have]:
            if self._failure is not None:
                rounds.again(self._failure)
            self._failure = None
            yield from self._new(self._side_by_side(missing))

    def _while_listing(self) -> Generator[bytes, None, tuple[str, ...]]:
        """The series as one stream, while the archive's list is asked for beside it."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="list")
        try:
            listing = pool.submit(self._list)
            yield from self._new(self._whole_series())
            return listing.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _list(self) -> tuple[str, ...]:
        try:
            listed = self._archive.instances(self._study, self._series, self._deadline)
        except NotFound:
            listed = ()
        if not listed:
            raise Incomplete(f"{self._peer} lists no instance of the series.")
        if len(listed) > self._bounds.instances:
            raise TooLarge(f"{self._peer} lists more instances than one series may have.")
        return listed

    def _incomplete(self) -> Incomplete:
        return Incomplete(f"{self._peer} sent fewer instances than it lists.")

    def _new(self, instances: Iterator[_Instance]) -> Iterator[bytes]:
        """Those that have not come before; what the list says of them is compared at the end."""
        for instance in instances:
            if instance.sop_instance_uid in self._have:
                continue
            self._have.add(instance.sop_instance_uid)
            self._bytes += len(instance.data)
            if self._bytes > self._bounds.series_bytes or len(self._have) > self._bounds.instances:
                raise TooLarge(f"The series of {self._peer} is larger than its cap.")
            yield instance.data

    def _whole_series(self) -> Iterator[_Instance]:
        """All in one answer; a failure that may pass is noted and ends the round."""
        self._whole_tries += 1
        accepts = [accept for accept in self._archive.quirk.accepts if "multipart" in accept]
        try:
            yield from self._streamed(self._path, accepts)
            self._streams = False  # it said all that it has; what is missing is asked for by name
        except NotFound:
            self._streams = False  # the list says whether there is something to ask for by name
        except UpstreamError as error:
            if isinstance(error, Rejected) and error.status is not None:
                self._streams = False
                if error.status != _TOO_MUCH:  # which is said of this series alone
                    self._archive.learn_single_instances()
            elif error.retryable:
                self._failure = error
            else:
                raise

    def _side_by_side(self, missing: list[str]) -> Iterator[_Instance]:
        """Single instances, a few at a time; as many wait for the consumer at most."""
        waiting = deque(missing)
        width = min(self._bounds.requests_in_flight, len(missing))
        pool = ThreadPoolExecutor(width, thread_name_prefix="instance")
        running: set[Future[_Instance]] = set()
        try:
            while running or (waiting and self._failure is None):
                while waiting and len(running) < width and self._failure is None:
                    running.add(pool.submit(self._one, waiting.popleft()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from self._outcome(future)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, future: Future[_Instance]) -> Iterator[_Instance]:
        error = future.exception()
        if error is None:
            yield future.result()
        elif isinstance(error, NotFound):  # listed and not there: a later attempt may have it
            raise self._incomplete()
        elif isinstance(error, UpstreamError) and error.retryable:
            self._failure = error
        else:
            raise error

    def _one(self, uid: str) -> _Instance:
        found = list(self._streamed(f"{self._path}/instances/{uid}", self._archive.quirk.accepts))
        if len(found) != 1:
            raise self._incomplete()
        if found[0].sop_instance_uid != uid:
            raise ForeignInstance(f"{self._peer} sent another instance than asked for.")
        return found[0]

    def _streamed(self, path: str, accepts: tuple[str, ...] | list[str]) -> Iterator[_Instance]:
        """The instances of one answer, asked for in the ways that the archive may accept."""
        refused: UpstreamError | None = None
        policy = self._policy_within(self._bounds.series_bytes - self._bytes)
        for accept in accepts:
            request = Request("GET", path, headers={"Accept": accept}, read=(PARTIAL,))
            try:
                with self._client.stream(request, policy, self._deadline) as stream:
                    if refused is not None:
                        self._archive.learn_accept(accept)
                    yield from self._instances(stream)
                    return
            except Rejected as error:
                if error.status not in _NOT_ACCEPTED:
                    raise
                refused = error
        raise refused or Rejected(f"{self._peer} offers no format that we can read.", status=406)

    def _policy_within(self, left_bytes: int) -> HttpPolicy:
        return replace(
            self._client.policy,
            deadline_s=self._bounds.deadline_s,
            bytes_cap=max(1, left_bytes) + multipart.PREAMBLE_CAP_BYTES,
        )

    def _instances(self, stream: Stream) -> Iterator[_Instance]:
        content_type = stream.headers.get("content-type", "")
        kind, _ = multipart.media_type(content_type)
        if stream.status == 204:
            raise self._incomplete()
        if kind in ("application/dicom", "application/octet-stream"):
            if stream.status == PARTIAL:
                raise Truncated(f"{self._peer} answered with a part of an instance (206).")
            if not stream.framed:
                raise Truncated(f"The answer of {self._peer} does not say where it ends.")
            yield self._checked(stream.read())
            return
        chunks = stream.chunks()
        for part in multipart.parts(
            chunks,
            content_type,
            part_cap_bytes=self._bounds.instance_bytes,
            peer=self._peer,
        ):
            kind, _ = multipart.media_type(part.headers.get("content-type", "application/dicom"))
            if kind not in ("application/dicom", "application/octet-stream"):
                raise BadAnswer(f"{self._peer} sent another format than DICOM.")
            yield self._checked(part.body)
        if stream.framed:  # read the few bytes that are left, so that the connection is used again
            next(chunks, None)
            next(chunks, None)

    def _checked(self, data: bytes) -> _Instance:
        """The instance, if it is whole and belongs to the series."""
        try:
            facts = instance_facts(data)
        except NotWhole:
            self._cut_short += 1  # once may be a fault on the way; the next time we know better
            error = Truncated if self._cut_short == 1 else Damaged
            raise error(f"{self._peer} sent an instance that ends early.") from None
        except NotDicom:
            raise BadAnswer(f"{self._peer} sent something else than DICOM.") from None
        if facts.study_uid != self._study or facts.series_uid != self._series:
            raise ForeignInstance(f"{self._peer} sent an instance of another series.")
        return _Instance(facts.sop_instance_uid, data)
