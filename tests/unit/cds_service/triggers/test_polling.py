"""Archives that tell nobody, and the studies of past days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cds_service.clients.errors import TimedOut, UpstreamError
from cds_service.clients.facts import StudyFacts
from cds_service.queue.errors import QueueFull
from cds_service.queue.state import Priority
from cds_service.triggers.backfill import Backfill
from cds_service.triggers.ledger import FollowLedger
from cds_service.triggers.polling import ArchiveDays, Poll
from tests.doubles.triggered import Days, FewKeys, Queue, ledger, notices

TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)


def facts(uid: str, instances: int = 3, *modalities: str) -> StudyFacts:
    return StudyFacts(uid, instances=instances, series=1, modalities=modalities or ("MR",))


def source(days: Days, queue: Queue, *tenants: str) -> ArchiveDays:
    return ArchiveDays("pacs", days, tenants or ("north",), notices(queue))


def poll(days: Days, queue: Queue, keys: FewKeys, today: date = TODAY) -> Poll:
    given = notices(queue)
    back = timedelta(days=1)
    return Poll([source(days, queue)], ["north"], given, ledger(keys), back, back, lambda: today)


def look(days: Days, queue: Queue, keys: FewKeys, today: date = TODAY) -> int:
    looking = poll(days, queue, keys, today)
    found = looking.look_at(looking.sources[0])
    queue.end_all()
    return found


def test_the_first_poll_looks_back_as_far_as_it_is_told_and_no_further() -> None:
    days, queue = Days({TODAY - 9 * DAY: [facts("1.1")], TODAY: [facts("1.2")]}), Queue()
    assert look(days, queue, FewKeys()) == 1
    assert [day for day, _ in days.asked] == [TODAY - DAY, TODAY, TODAY + DAY]
    assert [notice["subject"] for notice in queue.notices] == ["1.2"]


def test_a_study_that_stays_as_it_is_costs_nothing_and_one_that_grew_is_looked_at_again() -> None:
    queue, keys = Queue(), FewKeys()
    for count in (3, 3, 5, 5):
        look(Days({TODAY: [facts("1.2", count)]}), queue, keys)
    assert len(queue.notices) == 2


def test_days_that_were_missed_are_made_up_for_after_a_restart() -> None:
    queue, keys = Queue(), FewKeys()
    look(Days({}), queue, keys)
    days = Days({TODAY + 4 * DAY: [facts("1.4")]})
    look(days, queue, keys, TODAY + 6 * DAY)
    assert days.asked[0][0] == TODAY - DAY, "the mark and one day of overlap"
    assert [notice["subject"] for notice in queue.notices] == ["1.4"]


def test_the_mark_never_moves_past_a_day_that_failed() -> None:
    queue, keys = Queue(), FewKeys()
    look(Days({}), queue, keys)
    later = TODAY + 5 * DAY
    broken = Days({}, fails={TODAY + 2 * DAY: TimedOut("too slow")})
    with pytest.raises(UpstreamError):
        look(broken, queue, keys, later)
    again = Days({})
    look(again, queue, keys, later)
    assert again.asked[0][0] == TODAY, "the last whole day was the first of them, less the overlap"


def test_a_queue_that_is_full_stops_the_poll_and_leaves_the_mark() -> None:
    queue, keys = Queue(error=QueueFull("full")), FewKeys()
    with pytest.raises(QueueFull):
        look(Days({TODAY - DAY: [facts("1.1")]}), queue, keys)
    assert keys.values == {}


@pytest.mark.parametrize("mark", ["", "yesterday", "2026-13-01", "9" * 300])
def test_a_mark_that_is_none_begins_anew(mark: str) -> None:
    keys, days = FewKeys(), Days({})
    ledger(keys).reach(mark, "images", "pacs")
    look(days, Queue(), keys)
    assert days.asked[0][0] == TODAY - DAY


def test_a_mark_in_the_future_does_not_stop_the_poll() -> None:
    keys, days = FewKeys(), Days({})
    ledger(keys).reach("2999-01-01", "images", "pacs")
    look(days, Queue(), keys)
    assert days.asked[0][0] == TODAY - DAY


def test_every_fhir_server_is_searched_by_a_worker() -> None:
    queue = Queue()
    poll(Days({}), queue, FewKeys()).search_charts()
    assert queue.notices == [{"asks": "search", "tenant": "north"}]


# --- backfill


class Lane:
    """How many wait: what a test says, one after the other, then none."""

    def __init__(self, *waiting: int) -> None:
        self.waiting, self.rests = list(waiting), 0

    def __call__(self) -> int:
        return self.waiting.pop(0) if self.waiting else 0

    def sleep(self, _: float) -> None:
        self.rests += 1


def backfill(
    days: Days,
    queue: Queue,
    follow: FollowLedger,
    lane: Lane | None = None,
    modalities: tuple[str, ...] = (),
    run: str = "",
) -> Backfill:
    lane = lane or Lane()
    return Backfill(source(days, queue), follow, lane, 2, modalities, run, lane.sleep)


FIRST, LAST = date(2026, 1, 1), date(2026, 1, 4)


def month(**fails: UpstreamError) -> Days:
    studies = {FIRST + n * DAY: [facts(f"1.{n}"), facts(f"2.{n}", 1, "CT")] for n in range(4)}
    return Days(studies, {FIRST + int(n[1:]) * DAY: error for n, error in fails.items()})


def test_a_range_of_days_goes_into_the_lane_behind_everything() -> None:
    queue = Queue()
    done = list(backfill(month(), queue, ledger()).days(FIRST, LAST))
    assert [each.studies for each in done] == [2, 2, 2, 2]
    assert {priority for _, priority in queue.given} == {Priority.BACKFILL}
    assert len(queue.given) == 8


def test_only_the_modalities_that_were_asked_for_are_given() -> None:
    queue, days = Queue(), month()
    list(backfill(days, queue, ledger(), modalities=("CT",)).days(FIRST, LAST))
    assert {notice["subject"][0] for notice in queue.notices} == {"2"}
    assert {modality for _, modality in days.asked} == {"CT"}


def test_a_run_that_broke_off_goes_on_with_the_day_that_was_not_whole() -> None:
    queue, follow = Queue(), ledger()
    broken = backfill(month(n2=TimedOut("too slow")), queue, follow)
    with pytest.raises(UpstreamError):
        list(broken.days(FIRST, LAST))
    days = month()
    again = backfill(days, queue, follow)
    assert again.begins(FIRST, LAST) == FIRST + 2 * DAY
    list(again.days(FIRST, LAST))
    assert [day for day, _ in days.asked] == [FIRST + 2 * DAY, LAST]
    assert again.begins(FIRST, LAST) == LAST + DAY, "and a third time there is nothing to do"
    assert backfill(days, queue, follow).begins(FIRST, LAST + DAY) == FIRST, "another range"


def test_the_queue_is_never_deeper_than_it_may_be() -> None:
    lane = Lane(2, 5, 1, 2)
    list(backfill(month(), Queue(), ledger(), lane).days(FIRST, FIRST))
    assert lane.rests == 3


def test_a_full_queue_is_waited_for() -> None:
    queue = Queue(error=QueueFull("full"))

    class Emptied(Lane):
        def sleep(self, _: float) -> None:
            queue.error = None

    list(backfill(month(), queue, ledger(), Emptied()).days(FIRST, FIRST))
    assert len(queue.given) == 2


def test_a_run_of_its_own_looks_at_every_study_again() -> None:
    queue, follow = Queue(), ledger()
    for run in ("", "", "again"):
        fill = backfill(month(), queue, follow, run=run)
        if run:
            fill.restart(FIRST, LAST)
        list(fill.days(FIRST, LAST))
        queue.end_all()
    assert len(queue.given) == 16
