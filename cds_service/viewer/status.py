"""How far a running analysis is: a page, the same as JSON, and the same as server-sent events.

A stream holds a thread of the server, so only so many are open at a time and none for long; who
gets none asks every two seconds. The link's end ends both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify, request

from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import State, StudyRecord
from cds_service.security.links import Links
from cds_service.viewer.progress import Progress, progress_of
from cds_service.viewer.render import Pages

_EVERY_S = 0.5
_BEAT_S = 5.0
_LONGEST_S = 25.0

Sleep = Callable[[float], None]


class Studies(Protocol):
    """The records of studies (see `queue.records.StudyRecords`); each raises QueueUnavailable."""

    def get(self, study: str) -> StudyRecord | None:
        """The record of a study."""

    def reached(self, study: str) -> Mapping[State, int]:
        """When the present attempt reached each step, ms."""

    def now_ms(self) -> int:
        """The time of the same clock."""


@dataclass(frozen=True)
class StatusDesk:
    """What answers about a study that is not ready. `streams` may be open at the same time."""

    studies: Studies
    links: Links
    pages: Pages
    clock_s: Callable[[], float]
    streams: int
    sleep: Sleep = time.sleep

    def progress(self, token: str) -> Progress | None:
        """How far the link's study is; ``None`` for a link that does not open.

        Raises:
            QueueUnavailable: Redis did not answer.
        """
        study = self.links.open_status(token, self.clock_s())
        record = self.studies.get(study) if study else None
        if record is None:
            return None
        made = progress_of(record, self.studies.reached(record.id), self.studies.now_ms())
        # what an analysis that failed has is the explanation of an earlier one
        if not record.explanation_id or not record.ended or record.state is State.FAILED:
            return made
        url = self.links.explanation_url(record.explanation_id, record.id, self.clock_s())
        return made.leading_to(url)

    def message(self, progress: Progress) -> dict[str, Any]:
        """What the script of the page is told."""
        html = self.pages.progress(progress)
        return {"html": html, "href": progress.href, "ended": progress.ended}


def add_status(
    blueprint: Blueprint, desk: StatusDesk, nothing_here: Callable[[], Response]
) -> None:
    """The three addresses below ``/s``."""
    places = BoundedSemaphore(desk.streams) if desk.streams else None

    def told(token: str, answer: Callable[[Progress], Response]) -> Response:
        try:
            progress = None if request.query_string else desk.progress(token)
        except QueueUnavailable:
            return _later(desk.pages.not_known())
        return answer(progress) if progress else nothing_here()

    @blueprint.get("/s/<token>")
    def status(token: str) -> Response:
        return told(token, lambda found: Response(desk.pages.status(found, token)))

    @blueprint.get("/s/<token>/state")
    def state(token: str) -> Response:
        return told(token, lambda found: jsonify(desk.message(found)))

    @blueprint.get("/s/<token>/events")
    def events(token: str) -> Response:
        def opened(_: Progress) -> Response:
            if places is None or not places.acquire(blocking=False):
                return _later("")
            messages = _messages(lambda: desk.progress(token), desk)
            return _stream(_Held(messages, places.release))

        return told(token, opened)


def _later(body: str) -> Response:
    return Response(body, status=503, headers={"Retry-After": "2"})


def _stream(held: _Held) -> Response:
    headers = {"X-Accel-Buffering": "no"}
    return Response(held, mimetype="text/event-stream", headers=headers)


def _messages(look: Callable[[], Progress | None], desk: StatusDesk) -> Iterator[str]:
    """Events (HTML 9.2) while something may change: what is new, or a sign of life."""
    yield "retry: 1000\n\n"
    shown, silent_s, began_s = "", 0.0, desk.clock_s()
    while desk.clock_s() - began_s < _LONGEST_S:
        try:
            progress = look()
        except QueueUnavailable:
            return
        if progress is None:
            return
        text = json.dumps(desk.message(progress))
        if progress.key != shown or silent_s >= _BEAT_S:
            shown, silent_s = progress.key, 0.0
            yield f"data: {text}\n\n"
        if progress.ended:
            return
        desk.sleep(_EVERY_S)
        silent_s += _EVERY_S


class _Held:
    """Messages that hold a place until they are closed, whether or not they were begun."""

    def __init__(self, messages: Iterator[str], release: Callable[[], None]) -> None:
        self._messages = messages
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> Iterator[str]:
        return self._messages

    def close(self) -> None:
        """Called by the server when the answer ends, however it ends (PEP 3333)."""
        release, self._release = self._release, None
        if release:
            release()
