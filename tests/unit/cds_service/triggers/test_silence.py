"""A FHIR server that was asked for heartbeats and sends none."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cds_service.queue.errors import QueueUnavailable
from cds_service.settings.triggers import SubscriptionSettings
from cds_service.triggers.silence import Silence
from tests.doubles.triggered import FewKeys, Queue, ledger, notices

TOPIC = {"topic": "https://ehr.test/topics/imaging", "heartbeat_s": 60}


class Watch:
    """One subscription, and a clock that is set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.queue, self.ledger, self.now_s = Queue(), ledger(FewKeys()), 1_000.0
        wanted = [SubscriptionSettings(tenant="north", **settings)]
        self.silence = Silence(wanted, notices(self.queue), self.ledger, lambda: self.now_s)

    def searches_at(self, now_s: float) -> int:
        self.now_s = now_s
        self.silence.look()
        self.queue.end_all()
        return len(self.queue.notices)


def test_silence_for_two_periods_leads_to_one_search_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch(**TOPIC)
    watch.ledger.hear(1_000, "north")
    assert [watch.searches_at(s) for s in (1_060, 1_120, 1_121, 1_122, 1_241)] == [0, 0, 1, 1, 1]
    assert watch.queue.notices == [{"asks": "search", "tenant": "north"}]
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert said.tenant == "north"  # type: ignore[attr-defined]  # what `extra` adds
    assert watch.searches_at(1_242) == 2, "as long as nothing is heard"


def test_who_is_heard_in_time_is_not_searched() -> None:
    watch = Watch(**TOPIC)
    for now_s in range(1_000, 2_000, 100):
        watch.ledger.hear(now_s, "north")
        assert watch.searches_at(now_s + 99) == 0


def test_who_was_never_heard_is_waited_for_from_the_first_look_on() -> None:
    watch = Watch(**TOPIC)
    assert [watch.searches_at(s) for s in (1_000, 1_120, 1_121)] == [0, 0, 1]


@pytest.mark.parametrize("settings", [{}, {**TOPIC, "heartbeat_s": 0}])
def test_nobody_waits_for_heartbeats_that_were_not_asked_for(settings: dict[str, Any]) -> None:
    watch = Watch(**settings)
    watch.ledger.hear(0, "north")
    assert watch.searches_at(1e9) == 0


def test_a_search_that_could_not_be_asked_for_is_asked_for_again() -> None:
    watch = Watch(**TOPIC)
    watch.ledger.hear(1_000, "north")
    watch.queue.error = QueueUnavailable("away")
    with pytest.raises(QueueUnavailable):
        watch.searches_at(1_121)
    watch.queue.error = None
    assert watch.searches_at(1_122) == 1
