"""The bytes of one series, as they arrive -> scored slices; decoding and inference overlap."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field

from inference.boundary import contained
from inference.errors import IncompleteSeries, LimitExceeded, UnreadableInstance
from inference.frames import frame_facts
from inference.identity import IdentityWatch
from inference.instance import Instance, facts_of, read_instance
from inference.limits import Limits
from inference.pixels import PixelSource
from inference.runtime import Runtime
from inference.scoring import ScoredSlice, place_of, score_frame
from models.contract import SeriesFacts


@dataclass
class SeriesReading:
    """What has been read of one series so far.

    `digests` maps SOP Instance UID to SHA-256 of the bytes. `facts` are what the headers say of the
    series: one entry, unless they contradict each other.
    """

    slices: list[ScoredSlice] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    facts: dict[SeriesFacts, None] = field(default_factory=dict)
    receive_ms: float = 0.0
    vet_ms: float = 0.0
    decoded_bytes: int = 0


class SeriesReader:
    """Reads one series with a pool of threads; at most `in_flight` frames wait or run at a time."""

    def __init__(
        self, pool: Executor, in_flight: int, limits: Limits, identity: IdentityWatch
    ) -> None:
        self._pool = pool
        self._in_flight = in_flight
        self._limits = limits
        self._identity = identity
        self._pending: deque[Future[ScoredSlice]] = deque()
        self._hashes: dict[str, Future[str]] = {}

    def read(
        self, series: SeriesFacts, instances: Iterable[bytes], runtimes: Sequence[Runtime]
    ) -> SeriesReading:
        """Vet each instance as it arrives and score its frames while the next is on its way.

        The first failure of any frame or of the iterable ends the reading: what still runs is
        waited for, nothing is kept, and the failure is raised. Raises IncompleteSeries when
        the count is not the one announced.
        """
        reading = SeriesReading()
        try:
            for data in _timed(instances, reading):
                self._admit(data, series, reading, runtimes)
            self._collect(reading, leaving=0)
            reading.digests = {uid: hashed.result() for uid, hashed in self._hashes.items()}
        finally:
            self._abandon()
            if close := getattr(instances, "close", None):
                close()  # a generator that was left early lets go of its connection
        _check_count(series, reading)
        return reading

    def _admit(
        self,
        data: bytes,
        series: SeriesFacts,
        reading: SeriesReading,
        runtimes: Sequence[Runtime],
    ) -> None:
        since = time.perf_counter()
        instance = read_instance(data, self._limits)
        self._identity.admit(instance, series.series_uid)
        self._count(instance, reading)
        reading.facts[facts_of(instance)] = None
        source = PixelSource(instance)
        with contained(_unreadable):
            places = [place_of(instance, facts) for facts in frame_facts(instance)]
        hashed = self._pool.submit(_sha256, instance)
        self._hashes[instance.sop_instance_uid] = hashed
        reading.vet_ms += (time.perf_counter() - since) * 1e3
        for place in places:
            self._collect(reading, leaving=self._in_flight - 1)
            self._pending.append(self._pool.submit(score_frame, source, place, runtimes))

    def _count(self, instance: Instance, reading: SeriesReading) -> None:
        reading.decoded_bytes += instance.layout.decoded_bytes if instance.layout else 0
        if reading.decoded_bytes > self._limits.decoded_series_bytes:
            raise LimitExceeded("The decoded series would be larger than the configured limit.")
        if len(self._hashes) >= self._limits.instances:
            raise LimitExceeded("The series has more instances than the configured limit.")

    def _collect(self, reading: SeriesReading, leaving: int) -> None:
        """Take what is done, in order; wait only for as many as are over `leaving`."""
        while self._pending and (len(self._pending) > leaving or self._pending[0].done()):
            reading.slices.append(self._pending.popleft().result())

    def _abandon(self) -> None:
        for future in self._pending:
            future.cancel()
        wait(self._pending)
        self._pending.clear()


def _sha256(instance: Instance) -> str:
    return instance.sha256


def _timed(instances: Iterable[bytes], reading: SeriesReading) -> Iterator[bytes]:
    since = time.perf_counter()
    for data in instances:
        reading.receive_ms += (time.perf_counter() - since) * 1e3
        yield data
        since = time.perf_counter()
    reading.receive_ms += (time.perf_counter() - since) * 1e3


def _check_count(series: SeriesFacts, reading: SeriesReading) -> None:
    if not reading.digests:
        raise IncompleteSeries("The archive sent no instance of the series.")
    if series.instances is not None and len(reading.digests) != series.instances:
        raise IncompleteSeries("The archive sent another number of instances than it announced.")


def _unreadable(reason: str) -> UnreadableInstance:
    return UnreadableInstance("The header of the instance holds values that cannot be read.")
