"""The page of an analysis that is not ready: its steps, its stream, its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.queue.state import State, StudyRecord
from cds_service.security.links import Links
from cds_service.settings.pages import PagesSettings
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from cds_service.viewer.progress import Step, duration, progress_of
from cds_service.viewer.render import Pages
from cds_service.viewer.status import StatusDesk, add_status
from tests.doubles import explained
from tests.doubles.page_site import SECRET, OneCard, OneStudy

RECORD = StudyRecord(explained.STUDY_KEY)
REACHED = {State.RECEIVED: 1000, State.FETCHING: 2500, State.INFERRING: 2900}


class Site:
    """One study, a clock that a stream's sleep moves on, and one place for streams."""

    def __init__(self, root: Path, streams: int = 1) -> None:
        self.now_s = 1_795_311_600.0
        self.study = OneStudy()
        self.slept: Callable[[], None] = lambda: None
        self.links = Links([SECRET], "https://ai.example.org", 900)
        app = Flask("site")
        blueprint = viewer_blueprint(
            ExplanationStore(root),
            self.links,
            OneCard("# Card"),
            clock_s=self.clock,
            bounds=PagesSettings(status_streams=0),
        )
        desk = StatusDesk(self.study, self.links, Pages(), self.clock, streams, self.sleep)
        add_status(blueprint, desk, lambda: app.make_response(("nothing", 404)))
        app.register_blueprint(blueprint)
        self.client: FlaskClient = app.test_client()

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept()

    @property
    def path(self) -> str:
        url = self.links.status_url(explained.STUDY_KEY, self.now_s)
        return url.removeprefix("https://ai.example.org")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "explanations")


def test_each_step_has_its_time_and_the_present_one_goes_on() -> None:
    found = progress_of(replace(RECORD, state=State.INFERRING), REACHED, 4200)
    assert found.steps == (
        Step("Waiting for a worker", "done", "1.5\u00a0s"),
        Step("Fetching the images", "done", "400\u00a0ms"),
        Step("Analysing them", "now", "1.3\u00a0s"),
        Step("Keeping the result", "next", ""),
    )
    assert not found.ended


def test_of_what_has_ended_only_the_steps_that_were_reached_are_named() -> None:
    reached = REACHED | {State.ABSTAINED: 4000}
    found = progress_of(replace(RECORD, state=State.ABSTAINED), reached, 9000)
    assert [(step.state, step.took) for step in found.steps] == [
        ("done", "1.5\u00a0s"), ("done", "400\u00a0ms"), ("done", "1.1\u00a0s"),
    ]  # fmt: skip


def test_the_step_that_failed_is_told_from_those_that_were_done() -> None:
    reached = {State.RECEIVED: 1000, State.FETCHING: 2500, State.FAILED: 4000}
    found = progress_of(replace(RECORD, state=State.FAILED), reached, 9000)
    assert [(step.name, step.state) for step in found.steps] == [
        ("Waiting for a worker", "done"), ("Fetching the images", "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "explanation", "title"),
    [
        (State.RECEIVED, "", "The analysis waits for its turn"),
        (State.FETCHING, "", "The analysis is running"),
        (State.FINAL, "ab" * 32, "The analysis is done"),
        (State.ABSTAINED, "ab" * 32, "The analysis is done"),
        (State.ABSTAINED, "", "The study was not analysed"),
        (State.FAILED, "", "The analysis could not be completed"),
        (State.FAILED, "ab" * 32, "The analysis could not be completed"),
    ],
)
def test_each_state_has_words_of_its_own(state: State, explanation: str, title: str) -> None:
    found = progress_of(replace(RECORD, state=state, explanation_id=explanation), REACHED, 5000)
    assert found.title == title
    assert found.ended == state.ended
    if state.ended and not found.title.endswith("done"):
        assert "says nothing about the images" in " ".join(found.sentences)


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (-5, "0 ms"),
        (940, "940 ms"),
        (1500, "1.5 s"),
        (42_000, "42 s"),
        (61_000, "1 min 1 s"),
    ],
)
def test_a_duration_is_said_as_people_do(ms: int, said: str) -> None:
    assert duration(ms).replace("\u00a0", " ") == said


def test_the_page_names_the_steps_and_no_study(site: Site) -> None:
    page = site.client.get(site.path).get_data(as_text=True)
    assert "Waiting for a worker" in page
    assert "This page shows no AI result." in page
    assert "follows the analysis by itself" in page
    assert explained.STUDY_KEY not in page


@pytest.mark.parametrize("state", [state for state in State if state.ended])
def test_the_page_of_what_has_ended_promises_nothing(site: Site, state: State) -> None:
    site.study.record = replace(RECORD, state=state)
    page = site.client.get(site.path).get_data(as_text=True)
    for promise in ("yet", "follows the analysis", "Look again", "in progress"):
        assert promise not in page


def test_a_finished_analysis_leads_to_its_page(site: Site) -> None:
    site.study.record = replace(RECORD, state=State.FINAL, explanation_id="ab" * 32)
    said = site.client.get(f"{site.path}/state").get_json()
    assert said["ended"]
    assert said["href"].startswith("https://ai.example.org/e/")
    opened = site.links.open(said["href"].rpartition("/")[2], site.now_s)
    assert opened is not None
    assert site.links.concerns(opened, explained.STUDY_KEY)


@pytest.mark.parametrize("state", [State.INFERRING, State.FAILED])
def test_an_earlier_result_is_not_taken_for_that_of_a_new_analysis(
    site: Site, state: State
) -> None:
    site.study.record = replace(RECORD, state=state, explanation_id="ab" * 32)
    assert site.client.get(f"{site.path}/state").get_json()["href"] == ""


def test_of_a_new_analysis_that_failed_it_is_said_where_the_earlier_result_is() -> None:
    earlier = progress_of(replace(RECORD, state=State.FAILED, explanation_id="ab" * 32), {}, 0)
    assert "earlier result" in earlier.sentences[0]
    assert "earlier" not in progress_of(replace(RECORD, state=State.FAILED), {}, 0).sentences[0]


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_a_stream_says_what_is_new_and_ends_with_the_analysis(site: Site) -> None:
    states = iter([State.RECEIVED, State.FETCHING, State.FETCHING, State.FINAL])

    def moved_on() -> None:
        site.study.record = replace(RECORD, state=next(states), explanation_id="ab" * 32)

    site.slept = moved_on
    answer = site.client.get(f"{site.path}/events")
    assert answer.mimetype == "text/event-stream"
    said = events(answer.get_data(as_text=True))
    assert [each["ended"] for each in said] == [False, False, True]
    assert str(said[-1]["href"]).startswith("https://ai.example.org/e/")


def test_a_stream_is_bounded_in_time_and_gives_signs_of_life(site: Site) -> None:
    began = site.now_s
    text = site.client.get(f"{site.path}/events").get_data(as_text=True)
    assert 20 <= site.now_s - began <= 30
    assert 4 <= len(events(text)) <= 8
    assert text.startswith("retry: 1000")


def test_a_stream_ends_with_its_link(site: Site) -> None:
    path = site.path
    site.now_s += 895
    began = site.now_s
    site.client.get(f"{path}/events").get_data()
    assert site.now_s - began <= 6


def test_over_the_bound_a_page_is_asked_to_ask(site: Site) -> None:
    first = site.client.get(f"{site.path}/events", buffered=False)
    second = site.client.get(f"{site.path}/events")
    assert second.status_code == 503
    assert second.headers["Retry-After"] == "2"
    first.close()  # unread: its place is given back all the same
    third = site.client.get(f"{site.path}/events", buffered=False)
    assert third.status_code == 200
    third.close()


def test_with_no_place_for_streams_there_is_none(tmp_path: Path) -> None:
    site = Site(tmp_path / "explanations", streams=0)
    assert site.client.get(f"{site.path}/events").status_code == 503
    assert site.client.get(f"{site.path}/state").status_code == 200


def test_without_redis_nothing_is_said_of_the_study(site: Site) -> None:
    site.study.down = True
    for end in ("", "/state", "/events"):
        answer = site.client.get(f"{site.path}{end}")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("end", ["", "/state", "/events"])
def test_what_is_no_status_link_opens_nothing(site: Site, end: str) -> None:
    explanation = site.links.explanation_url("ab" * 32, explained.STUDY_KEY, site.now_s)
    token = explanation.rpartition("/")[2]
    for path in (f"/s/{token}", "/s/x", f"{site.path}x"):
        assert site.client.get(f"{path}{end}").status_code == 404
    assert site.client.get(f"{site.path}{end}?a=1").status_code == 404
    status = site.path.rpartition("/")[2]
    assert site.links.open(status, site.now_s) is None, "and it opens no explanation"
    stale = site.path
    site.now_s += 901
    assert site.client.get(f"{stale}{end}").status_code == 404
