"""Hints on their way to a worker."""

from __future__ import annotations

import pytest

from cds_service.queue.state import Priority
from cds_service.triggers.errors import UnreadableNotice
from cds_service.triggers.notices import (
    Asks,
    Notice,
    is_notice,
    notice_of,
    of_notice,
)
from tests.doubles.triggered import Queue, notices

STUDY = Notice(Asks.STUDY, "north", "ImagingStudy/7")


@pytest.mark.parametrize(
    "notice", [STUDY, Notice(Asks.IMAGES, "north", "1.2.3", "pacs", "v1"), Notice(Asks.SEARCH, "n")]
)
def test_a_notice_comes_back_from_its_order(notice: Notice) -> None:
    assert is_notice(notice.order())
    assert notice_of(notice.order()) == notice


@pytest.mark.parametrize(
    "order",
    [{}, {"notice": None}, {"notice": {"asks": "fly"}}, {"notice": {"asks": "study", "x": 1}}],
)
def test_an_order_of_another_version_is_an_error(order: dict[str, object]) -> None:
    with pytest.raises(UnreadableNotice):
        notice_of(order)


def test_the_same_state_of_a_study_is_noticed_once() -> None:
    queue = Queue()
    for _ in range(3):
        notices(queue).give(STUDY, "version 1")
        queue.end_all()
    assert len(queue.given) == 1
    notices(queue).give(STUDY, "version 2")
    assert len(queue.given) == 2


def test_a_hint_without_a_state_is_followed_each_time_but_waits_once() -> None:
    queue = Queue()
    notices(queue).give(STUDY)
    notices(queue).give(STUDY)
    assert len(queue.given) == 1, "what waits to look will see whatever there is by then"
    queue.end_all()
    notices(queue).give(STUDY)
    assert len(queue.given) == 2


def test_the_name_of_a_notice_says_nothing() -> None:
    queue = Queue()
    record = notices(queue).give(STUDY, "version 1", Priority.BACKFILL)
    assert of_notice(record.id)
    assert "ImagingStudy" not in record.id + record.content_key
    assert queue.given[0][1] is Priority.BACKFILL


def test_tenants_and_questions_do_not_share_a_notice() -> None:
    queue = Queue()
    several = [STUDY, Notice(Asks.STUDY, "south", STUDY.subject), Notice(Asks.SEARCH, "north")]
    assert len({notices(queue).give(each).id for each in several}) == 3
