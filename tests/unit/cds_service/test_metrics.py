"""Labels are words of closed lists; a gauge that is down hides no other."""

from __future__ import annotations

import re

from cds_service.feedback import Tally
from cds_service.metrics import Metrics
from cds_service.scrapes import VERSIONS_KEPT, FeedbackCounts
from cds_service.shadow.ledger import ModelName
from tests.doubles.hooking import PATIENT_VIEW, patient_view, site


def test_any_other_word_is_other() -> None:
    tallies = [Tally("Mrs Canary", "1", "Mrs Canary", "Mrs Canary", 2)]
    metrics = Metrics(["s"], ["t"], ["r"], scraped=[FeedbackCounts(lambda: tallies, [])])
    metrics.hook_answered("Mrs Canary", "Mrs Canary", 99_999, 0.1)
    metrics.token_refused("Mrs Canary")
    metrics.card_answered("Mrs Canary", "Mrs Canary")
    text = metrics.text().decode()
    assert "Canary" not in text
    assert 'scanhook_hook_seconds_count{service="other",status="other",tenant="other"} 1.0' in text


def test_feedback_of_a_version_that_is_gone_keeps_its_name_within_bounds() -> None:
    """Whoever compares two versions has installed one of them."""
    gone = [Tally("lungs", f"1.{n}.0", "accepted", "none", 1000 - n) for n in range(60)]
    here = Tally("lungs", "2.0.0", "accepted", "none", 1)
    junk = [
        Tally("Mrs Canary", "1.0.0", "accepted", "none", 9999),
        Tally("lungs", "of Canary", "accepted", "none", 9999),
        Tally("none", "none", "accepted", "none", 9999),
    ]
    counts = FeedbackCounts(lambda: [*gone, here, *junk], [ModelName("lungs", "2.0.0")])
    text = Metrics(scraped=[counts]).text().decode()
    samples = [line for line in text.splitlines() if line.startswith("scanhook_feedback_cards{")]
    assert len(samples) == VERSIONS_KEPT + 2
    labels = 'outcome="accepted",reason="none",version'
    assert f'{{model="lungs",{labels}="2.0.0"}} 1.0' in text
    assert f'{{model="lungs",{labels}="1.0.0"}} 1000.0' in text
    rest = sum(each.cards for each in (*gone[VERSIONS_KEPT:], *junk))
    assert f'{{model="other",{labels}="other"}} {float(rest)}' in text
    assert "Canary" not in text


def test_notifications_are_counted_in_words_of_a_closed_list() -> None:
    metrics = Metrics()
    metrics.notification_received("handshake", "accepted")
    metrics.notification_received("Mrs Canary", "Mrs Canary")
    text = metrics.text().decode()
    assert 'scanhook_notifications_total{kind="handshake",outcome="accepted"} 1.0' in text
    assert 'scanhook_notifications_total{kind="other",outcome="other"} 1.0' in text
    assert "Canary" not in text


def test_gauges_are_asked_at_each_scrape_and_may_fail() -> None:
    waiting = iter((3.0, 4.0))

    def down() -> float:
        raise OSError

    metrics = Metrics(gauges={"queue_waiting": lambda: next(waiting), "workers": down})
    assert "scanhook_queue_waiting 3.0" in metrics.text().decode()
    text = metrics.text().decode()
    assert "scanhook_queue_waiting 4.0" in text
    assert "workers" not in text


def test_a_call_is_timed_and_its_cards_are_counted() -> None:
    at = site()
    client = at.client()
    client.post(PATIENT_VIEW, json=patient_view(), headers=at.ehr.bearer(PATIENT_VIEW))
    client.post(PATIENT_VIEW, json=patient_view())
    client.post("/cds-services/Mrs-Canary")
    text = client.get("/metrics").get_data(as_text=True)
    name = "imaging-ai-patient-view"
    assert f'seconds_count{{service="{name}",status="200",tenant="ehr"}} 1.0' in text
    assert f'seconds_count{{service="{name}",status="401",tenant="other"}} 1.0' in text
    assert f'scanhook_cards_total{{service="{name}",state="received"}} 1.0' in text
    assert "Canary" not in text


def test_no_label_looks_like_an_id() -> None:
    at = site()
    client = at.client()
    client.post(PATIENT_VIEW, json=patient_view(), headers=at.ehr.bearer(PATIENT_VIEW))
    values = re.findall(r'="([^"]*)"', client.get("/metrics").get_data(as_text=True))
    assert all(re.fullmatch(r"[a-z0-9.+\-]+|\+Inf", value) for value in values)
