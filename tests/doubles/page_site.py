"""A web process with the pages alone, on a free port: the real routes over a real store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import waitress
from flask import Flask

from cds_service.card_files import CardFile, CardShelf
from cds_service.queue.errors import QueueUnavailable
from cds_service.queue.state import State, StudyRecord
from cds_service.security.links import Links
from cds_service.settings.pages import PagesSettings
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from inference.analysis import Analysis
from inference.limits import MIB
from models.registry import ModelPackage, Registry
from tests.doubles import explained
from tests.doubles.listening import running

SECRET = "a-secret-of-at-least-32-characters"
LIFETIME_S = 900


@dataclass(frozen=True)
class OneCard:
    """The same card for every model but the `packages`, which have their own."""

    card: str
    packages: CardShelf = field(default_factory=lambda: CardShelf(Registry(())))

    def text(self, model_id: str, version: str) -> str:
        return self.packages.text(model_id, version) or self.card

    def files(self, model_id: str, version: str) -> tuple[str, ...]:
        return self.packages.files(model_id, version)

    def file(self, model_id: str, version: str, name: str) -> CardFile | None:
        return self.packages.file(model_id, version, name)


@dataclass
class NotedAnswers:
    """A ledger that says what it was told; `down` is a Redis that does not answer."""

    noted: list[tuple[str, dict[str, tuple[str, str]], str, str]] = field(default_factory=list)
    down: bool = False

    def note_claims(
        self, study: str, claims: Mapping[str, tuple[str, str]], outcome: str, reason: str
    ) -> bool:
        if self.down:
            raise QueueUnavailable("Redis does not answer")
        self.noted.append((study, dict(claims), outcome, reason))
        return True


@dataclass
class OneStudy:
    """The record of a study that a test moves on; times are ms of its own clock."""

    record: StudyRecord = field(default_factory=lambda: StudyRecord(explained.STUDY_KEY))
    at_ms: dict[State, int] = field(default_factory=lambda: {State.RECEIVED: 1000})
    time_ms: int = 3300
    down: bool = False
    looked: int = 0

    def get(self, study: str) -> StudyRecord | None:
        self.looked += 1
        if self.down:
            raise QueueUnavailable("Redis does not answer")
        return self.record if study == self.record.id else None

    def reached(self, study: str) -> Mapping[State, int]:
        return dict(self.at_ms)

    def now_ms(self) -> int:
        return self.time_ms


@dataclass(frozen=True)
class PageSite:
    """The site, and what it was told."""

    base: str
    store: ExplanationStore
    links: Links
    study: OneStudy
    answers: NotedAnswers

    def url(self, analysis: Analysis, now_s: float | None = None) -> str:
        """Keep `analysis` with its slices, and make the link to it."""
        explanation_id = sha256(analysis.outcome.encode()).hexdigest()
        self.store.keep(
            analysis,
            explanation_id=explanation_id,
            study_key=explained.STUDY_KEY,
            analysed_ms=explained.ANALYSED_MS,
            notes=explained.NOTES,
        )
        self.store.keep_slices(
            analysis,
            explanation_id=explanation_id,
            study_key=explained.STUDY_KEY,
            most_bytes=16 * MIB,
        )
        return self.links.explanation_url(
            explanation_id, explained.STUDY_KEY, time.time() if now_s is None else now_s
        )

    def status_url(self) -> str:
        """The link to the status of the study."""
        return self.links.status_url(explained.STUDY_KEY, time.time())


@contextmanager
def page_site(
    folder: Path,
    card: str,
    bounds: PagesSettings | None = None,
    packages: Sequence[ModelPackage] = (),
) -> Iterator[PageSite]:
    """The pages behind the server that production has."""
    cards = OneCard(card, CardShelf(Registry(tuple(packages))))
    app = Flask("site", static_folder=None)
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=6)
    base = f"http://127.0.0.1:{server.effective_port}"
    store, links = ExplanationStore(folder), Links([SECRET], base, LIFETIME_S)
    study, answers = OneStudy(), NotedAnswers()
    app.register_blueprint(
        viewer_blueprint(store, links, cards, studies=study, ledger=answers, bounds=bounds)
    )
    with running(server):
        try:
            yield PageSite(base, store, links, study, answers)
        finally:
            study.down = True  # ends the streams that are open
