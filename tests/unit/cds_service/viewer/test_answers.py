"""What a reader may answer on a page, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.cards import OVERRIDE_REASONS
from cds_service.security.links import Links
from cds_service.settings.pages import PagesSettings
from cds_service.store import ExplanationStore
from cds_service.viewer import viewer_blueprint
from tests.doubles import explained
from tests.doubles.page_site import SECRET, NotedAnswers, OneCard

AGREE = {"verdict": "agree"}
DISAGREE = {"verdict": "disagree", "reason": "disagree", "comment": "Artefact."}


class Site:
    """One explanation, and a ledger that says what it was told."""

    def __init__(self, root: Path) -> None:
        self.now_s = 1_795_311_600.0
        self.store = ExplanationStore(root)
        self.links = Links([SECRET], "https://ai.example.org/scanhook", 900)
        self.ledger = NotedAnswers()
        app = Flask("site")
        app.register_blueprint(
            viewer_blueprint(
                self.store,
                self.links,
                OneCard("# Card"),
                clock_s=lambda: self.now_s,
                ledger=self.ledger,
                bounds=PagesSettings(feedback_per_minute=3),
            )
        )
        self.client: FlaskClient = app.test_client()
        self.store.keep(
            explained.finding(),
            explanation_id=explained.EXPLANATION_ID,
            study_key=explained.STUDY_KEY,
            analysed_ms=explained.ANALYSED_MS,
        )

    @property
    def path(self) -> str:
        url = self.links.explanation_url(explained.EXPLANATION_ID, explained.STUDY_KEY, self.now_s)
        return url.removeprefix("https://ai.example.org/scanhook")

    def send(self, form: dict[str, str], **headers: str) -> TestResponse:
        return self.client.post(f"{self.path}/answers", data=form, headers=headers)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "explanations")


def test_an_answer_joins_the_feedback_of_cards_and_stands_on_the_page(site: Site) -> None:
    sent = site.send(DISAGREE)
    assert sent.status_code == 303
    assert sent.headers["Location"] == f"/scanhook{site.path}#thanks"
    ((study, claims, outcome, reason),) = site.ledger.noted
    assert (study, outcome, reason) == (explained.STUDY_KEY, "overridden", "disagree")
    assert list(claims.values()) == [("brain-mri-tumour", "1.0.0")]
    page = site.client.get(site.path).get_data(as_text=True)
    assert "Disagrees: I disagree with the finding" in page
    assert "Artefact." in page


def test_an_agreement_has_no_reason(site: Site) -> None:
    assert site.send({**AGREE, "reason": "disagree"}).status_code == 303
    assert site.ledger.noted[0][2:] == ("accepted", "none")


@pytest.mark.parametrize("form", [{"verdict": "disagree"}, {"verdict": "disagree", "reason": ""}])
def test_who_disagrees_is_asked_why(site: Site, form: dict[str, str]) -> None:
    answer = site.send(form)
    assert answer.status_code == 400
    assert b"Choose a reason why you disagree." in answer.data
    assert site.ledger.noted == []


def test_no_reason_is_chosen_beforehand(site: Site) -> None:
    page = site.client.get(site.path).get_data(as_text=True)
    options = page.partition('<select name="reason"')[2].partition("</select>")[0]
    first = options.partition("<option")[2].partition("<option")[0]
    assert first.startswith(' value="" selected>')


def test_what_is_sent_twice_stands_once(site: Site) -> None:
    for _ in range(2):
        site.send(DISAGREE)
        site.now_s += 1
    assert len(site.store.answers(explained.EXPLANATION_ID)) == 1


def test_every_reason_of_the_form_is_one_that_the_ledger_knows(site: Site) -> None:
    page = site.client.get(site.path).get_data(as_text=True)
    for code in OVERRIDE_REASONS:
        assert f'value="{code}"' in page


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"verdict": "perhaps"},
        {"verdict": "disagree"},
        {"verdict": "disagree", "reason": "because"},
        {"verdict": "agree", "comment": "x" * 501},
    ],
)
def test_another_form_is_refused_and_changes_nothing(site: Site, form: dict[str, str]) -> None:
    assert site.send(form).status_code == 400
    assert site.ledger.noted == []
    assert site.store.answers(explained.EXPLANATION_ID) == ()


@pytest.mark.parametrize("origin", ["cross-site", "same-site", "none"])
def test_what_another_site_sends_is_refused(site: Site, origin: str) -> None:
    assert site.send(AGREE, **{"Sec-Fetch-Site": origin}).status_code == 400
    assert site.ledger.noted == []


def test_a_link_that_does_not_open_takes_no_answer(site: Site) -> None:
    path = site.path
    site.now_s += 901
    answer = site.client.post(f"{path}/answers", data=AGREE)
    assert (answer.status_code, answer.data) == (404, site.client.get("/e/x").data)
    assert site.ledger.noted == []


def test_answers_are_bounded_by_the_minute(site: Site) -> None:
    statuses = [site.send({**AGREE, "comment": str(i)}).status_code for i in range(5)]
    assert statuses == [303, 303, 303, 429, 429]
    site.now_s += 61
    assert site.send(AGREE).status_code == 303


def test_without_redis_nothing_is_kept_and_the_reader_is_told(site: Site) -> None:
    site.ledger.down = True
    refused = site.send(AGREE)
    assert refused.status_code == 503
    assert "Answers cannot be kept at the moment." in refused.get_data(as_text=True)
    assert site.store.answers(explained.EXPLANATION_ID) == ()


def test_the_newest_twenty_are_kept(site: Site) -> None:
    for i in range(25):
        site.send({**AGREE, "comment": f"number {i}"})
        site.now_s += 61
    kept = site.store.answers(explained.EXPLANATION_ID)
    assert [each.comment for each in kept] == [f"number {i}" for i in range(5, 25)]


def test_a_comment_is_only_text(site: Site) -> None:
    site.send({**AGREE, "comment": "<script>alert(1)</script>\u202e"})
    page = site.client.get(site.path).get_data(as_text=True)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_answers_that_were_changed_on_the_disk_are_not_shown(site: Site, tmp_path: Path) -> None:
    site.send(AGREE)
    file = tmp_path / "explanations" / explained.EXPLANATION_ID / "answers.json"
    file.write_text(file.read_text().replace('"agree"', '"other"'))
    assert site.store.answers(explained.EXPLANATION_ID) == ()
