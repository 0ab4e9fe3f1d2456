"""The queue against the servers it runs on: Valkey from the wheel, and redis-server."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cds_service.queue import (
    Dispatcher,
    IllegalTransition,
    Priority,
    QueueFull,
    StaleRecord,
    State,
    StudyRecord,
    UnsafeRedis,
    dead_letters,
    jobs,
    refuse_unsafe,
    workers,
)
from cds_service.queue.job import PipelineJob
from cds_service.queue.reconcile import reconcile, sweep
from tests.doubles.queue_jobs import dispatcher_for
from tests.doubles.queue_worker import WorkerProcess, eventually

pytestmark = pytest.mark.peer

Submit = Callable[..., StudyRecord]


@pytest.fixture
def dispatcher(connection: Redis) -> Dispatcher:
    """The queue."""
    return dispatcher_for(connection)


@pytest.fixture
def worker(server: Any, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts worker processes that end with the test."""
    started: list[WorkerProcess] = []

    def start(name: str = "w", **options: Any) -> WorkerProcess:
        started.append(WorkerProcess(server.url, tmp_path / name, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def submit(dispatcher: Dispatcher, name: str = "a", priority: str = "routine", **order: Any) -> Any:
    """Order the study of that name."""
    content, models = order.pop("content", "c1"), order.pop("models", "m1")
    return dispatcher.submit({"name": name, **order}, f"study{name}", content, models, priority)


def to_end(dispatcher: Dispatcher, record: StudyRecord, **changes: Any) -> StudyRecord:
    """Walk a record to final, as a worker would."""
    record = dispatcher.records.begin(record, "w")
    for step in (State.FETCHING, State.INFERRING, State.WRITING):
        record = dispatcher.records.advance(record, step)
    return dispatcher.records.advance(record, State.FINAL, **changes)


def in_queues(connection: Redis) -> list[bytes]:
    """Ids of all waiting jobs."""
    return [job for p in Priority for job in connection.lrange(f"rq:queue:{p}", 0, -1)]


def test_an_order_makes_one_record_and_one_job(dispatcher: Dispatcher, connection: Redis) -> None:
    record = submit(dispatcher)
    assert record.state is State.RECEIVED
    assert in_queues(connection) == [record.job_id.encode()]
    assert dispatcher.records.get(record.id) == record


def test_sixty_concurrent_orders_make_one_job(server: Any, connection: Redis) -> None:
    barrier = threading.Barrier(60)
    failures: list[BaseException] = []

    def order() -> None:
        patient = Redis.from_url(server.url)
        mine = dispatcher_for(patient)
        barrier.wait()
        try:
            submit(mine)
        except BaseException as error:  # noqa: BLE001  # shown below
            failures.append(error)
        patient.close()

    threads = [threading.Thread(target=order) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(in_queues(connection)) == 1
    assert connection.hlen("rq:job:" + in_queues(connection)[0].decode()) > 0


def test_a_thousand_deliveries_of_an_ended_study_queue_nothing(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    dispatcher.transport.drop(record.job_id)
    to_end(dispatcher, record)
    for _ in range(1000):
        assert submit(dispatcher).state is State.FINAL
    assert in_queues(connection) == []


@pytest.mark.parametrize("change", [{"content": "c2"}, {"models": "m2"}])
def test_a_grown_study_or_new_models_start_again_and_keep_the_last_summary(
    dispatcher: Dispatcher, connection: Redis, change: dict[str, str]
) -> None:
    record = submit(dispatcher)
    dispatcher.transport.drop(record.job_id)
    ended = to_end(dispatcher, record, summary={"findings": 1}, report_id="r1")
    again = submit(dispatcher, **change)
    assert (again.state, again.attempts) == (State.RECEIVED, 0)
    assert (again.summary, again.report_id) == (ended.summary, "r1")
    assert again.job_id != record.job_id
    assert in_queues(connection) == [again.job_id.encode()]


def test_what_is_announced_less_fully_is_no_growth_and_what_is_learnt_stays(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher, content="24.-")
    running = dispatcher.records.begin(record, "w")
    learnt = dispatcher.learn(running, "24.s1")
    assert (learnt.content_key, learnt.job_id) == ("24.s1", record.job_id)
    dispatcher.transport.drop(record.job_id)
    for step in (State.FETCHING, State.INFERRING, State.WRITING, State.FINAL):
        running = dispatcher.records.advance(running, step)
    assert running.content_key == "24.s1", "the attempt that ran meanwhile keeps it"
    for content in ("24.-", "-.s1", "-.-", ""):
        assert submit(dispatcher, content=content).state is State.FINAL
    assert in_queues(connection) == []
    assert submit(dispatcher, content="-.s2").state is State.RECEIVED


def test_callers_that_know_less_or_take_turns_start_nothing(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    """One chart says 24 images, the other 48; then the archive's own list is read."""
    submit(dispatcher, content="24~a.-.-")
    record = submit(dispatcher, content="48~b.-.-")
    dispatcher.transport.drop(record.job_id)
    to_end(dispatcher, record, content_key="48~b.2~s.48~t.read")
    for content in ("24~a", "48~b", "24~a.1~r.-", "-.2~s.48~t", "36~c", "48~b") * 2:
        assert submit(dispatcher, content=content).state is State.FINAL
    assert in_queues(connection) == []
    again = submit(dispatcher, content="60~d")
    assert (again.state, again.content_key) == (State.RECEIVED, "60~d.2~s.48~t.-")
    assert submit(dispatcher, content="48~b").job_id == again.job_id


def test_growth_replaces_the_job_that_still_waits(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    submit(dispatcher)
    again = submit(dispatcher, content="c2")
    assert in_queues(connection) == [again.job_id.encode()]


def test_an_attempt_at_older_content_can_no_longer_move_the_record(dispatcher: Dispatcher) -> None:
    running = dispatcher.records.begin(submit(dispatcher), "w")
    submit(dispatcher, content="c2")
    with pytest.raises(StaleRecord):
        dispatcher.records.advance(running, State.FETCHING)


def test_an_earlier_attempt_can_no_longer_move_the_record(dispatcher: Dispatcher) -> None:
    first = dispatcher.records.begin(submit(dispatcher), "w1")
    second = dispatcher.records.begin(dispatcher.records.get(first.id) or first, "w2")
    with pytest.raises(StaleRecord):
        dispatcher.records.advance(first, State.FETCHING)
    dispatcher.records.advance(second, State.FETCHING)


def test_of_two_that_begin_one_attempt_only_one_does(dispatcher: Dispatcher) -> None:
    record = submit(dispatcher)
    dispatcher.records.begin(record, "w1")
    with pytest.raises(StaleRecord):
        dispatcher.records.begin(record, "w2")


def test_an_illegal_step_changes_nothing(dispatcher: Dispatcher) -> None:
    record = submit(dispatcher)
    with pytest.raises(IllegalTransition):
        dispatcher.records.advance(record, State.FINAL)
    assert dispatcher.records.get(record.id) == record


def test_times_are_those_of_redis_and_revisions_go_up(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    before = dispatcher.records.now_ms()
    record = submit(dispatcher)
    later = dispatcher.records.begin(record, "w")
    assert before <= record.created_ms <= later.updated_ms <= dispatcher.records.now_ms()
    assert later.created_ms == record.created_ms
    assert (record.revision, later.revision) == (1, 2)


def test_an_ended_record_expires_and_an_open_one_does_not(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    assert connection.ttl(f"cds:study:{record.id}") == -1
    to_end(dispatcher, record)
    assert connection.ttl(f"cds:study:{record.id}") > 86_400
    submit(dispatcher, content="c2")
    assert connection.ttl(f"cds:study:{record.id}") == -1


def test_a_backfill_that_becomes_urgent_moves_forward_once(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    submit(dispatcher, "b", "stat")
    record = submit(dispatcher, "a", "backfill")
    assert dispatcher.ahead_of(record) == 1
    urgent = submit(dispatcher, "a", "stat")
    assert urgent.priority is Priority.STAT
    assert connection.lrange("rq:queue:stat", 0, -1)[1] == record.job_id.encode()
    assert connection.llen("rq:queue:backfill") == 0
    assert submit(dispatcher, "a", "routine").priority is Priority.STAT
    assert len(in_queues(connection)) == 2


def test_becoming_urgent_does_not_disturb_a_running_attempt(dispatcher: Dispatcher) -> None:
    running = dispatcher.records.begin(submit(dispatcher, "a", "backfill"), "w")
    dispatcher.transport.pop(list(Priority))
    submit(dispatcher, "a", "stat")
    moved = dispatcher.records.advance(running, State.FETCHING)
    assert moved.priority is Priority.STAT


def test_studies_ahead_are_those_of_higher_priority_and_earlier_ones(
    dispatcher: Dispatcher,
) -> None:
    for name, priority in (("s", "stat"), ("r1", "routine"), ("b", "backfill")):
        submit(dispatcher, name, priority)
    record = submit(dispatcher, "r2", "routine")
    assert dispatcher.ahead_of(record) == 2
    dispatcher.transport.drop(record.job_id)
    assert dispatcher.ahead_of(record) is None


def test_a_full_queue_refuses_new_studies_and_backfill_before_them(connection: Redis) -> None:
    small = dispatcher_for(connection, queue_cap=4)
    for name in "ab":
        submit(small, name)
    with pytest.raises(QueueFull):
        submit(small, "c", "backfill")
    for name in "cd":
        submit(small, name)
    with pytest.raises(QueueFull):
        submit(small, "e")
    assert small.records.get("studye") is None
    assert submit(small, "a").state is State.RECEIVED


def test_a_failed_study_is_tried_again_only_when_it_is_due(connection: Redis) -> None:
    patient = dispatcher_for(connection, retry_failed_after_s=3600)
    record = submit(patient)
    patient.transport.drop(record.job_id)
    patient.records.fail(record, "upstream")
    assert submit(patient).state is State.FAILED
    assert in_queues(connection) == []
    eager = dispatcher_for(connection, retry_failed_after_s=0)
    assert submit(eager).state is State.RECEIVED
    assert len(in_queues(connection)) == 1


def test_a_dead_letter_can_be_queued_again_by_hand(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    dispatcher.transport.drop(record.job_id)
    dispatcher.records.fail(record, "crashed")
    assert [(row.study, row.error_kind) for row in dead_letters(dispatcher.records)] == [
        (record.id, "crashed")
    ]
    again = dispatcher.requeue(record.id)
    assert again is not None
    assert again.state is State.RECEIVED
    assert dead_letters(dispatcher.records) == []
    assert in_queues(connection) == [record.job_id.encode()]
    assert dispatcher.requeue("unheard-of") is None


def test_the_listing_shows_open_then_ended_studies(dispatcher: Dispatcher) -> None:
    ended = to_end(dispatcher, submit(dispatcher, "a"))
    opened = submit(dispatcher, "b")
    rows = jobs(dispatcher.records)
    assert [(row.study, row.state) for row in rows] == [
        (opened.id, "received"),
        (ended.id, "final"),
    ]
    assert all(0 <= row.quiet_s <= row.age_s < 60 for row in rows)


def test_a_record_that_somebody_else_wrote_is_counted_and_never_shown(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    connection.hset(f"cds:study:{record.id}", mapping={"state": "final", "outcome": "no finding"})
    assert dispatcher.records.get(record.id) is None
    assert dispatcher.records.counts()["tampered"] == 1
    assert submit(dispatcher).state is State.RECEIVED
    assert dispatcher.records.get(record.id) is not None


def test_a_record_does_not_pass_for_that_of_another_study(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    connection.copy(f"cds:study:{record.id}", "cds:study:other")
    assert dispatcher.records.get("other") is None


def test_no_identifier_of_the_order_is_anywhere_in_redis(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    submit(dispatcher, "a", uid="1.2.840.99", patient="Patient/DOE-JANE")
    everything = b""
    for key in connection.keys("*"):
        everything += key + (connection.dump(key) or b"")
        if connection.type(key) == b"hash":
            everything += b"".join(connection.hgetall(key).values())
    assert b"DOE" not in everything
    assert b"1.2.840" not in everything


def due(dispatcher: Dispatcher, connection: Redis) -> None:
    """Let all open records be due for a look."""
    studies = dispatcher.records.open_records(due_only=False)
    dispatcher.records.look_again(dict.fromkeys(studies, 0))


def test_open_records_are_queued_again_when_redis_lost_the_jobs(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    records = [submit(dispatcher, name) for name in "abc"]
    connection.delete(*connection.keys("rq:*"))
    due(dispatcher, connection)
    assert reconcile(dispatcher)["queued"] == 3
    assert set(in_queues(connection)) == {r.job_id.encode() for r in records}
    due(dispatcher, connection)
    assert reconcile(dispatcher)["live"] == 3
    assert len(in_queues(connection)) == 3


def test_a_record_without_a_job_is_left_alone_at_first(dispatcher: Dispatcher) -> None:
    """Its sender may be between the two writes."""
    submit(dispatcher)
    assert reconcile(dispatcher) == {}


def test_a_study_waits_for_its_next_attempt(dispatcher: Dispatcher, connection: Redis) -> None:
    record = dispatcher.records.begin(submit(dispatcher), "w")
    dispatcher.transport.drop(record.job_id)
    dispatcher.records.postpone(record, 0.3, "upstream")
    assert reconcile(dispatcher, everything=True)["waiting"] == 1
    assert in_queues(connection) == []
    time.sleep(0.35)
    assert reconcile(dispatcher)["queued"] == 1
    assert in_queues(connection) == [record.job_id.encode()]


def test_a_study_that_had_all_its_attempts_ends_as_failed(
    dispatcher: Dispatcher, connection: Redis
) -> None:
    record = submit(dispatcher)
    for _ in range(3):
        record = dispatcher.records.begin(record, "w")
    dispatcher.transport.drop(record.job_id)
    assert reconcile(dispatcher, everything=True)["dead"] == 1
    ended = dispatcher.records.get(record.id)
    assert ended is not None
    assert (ended.state, ended.error_kind) == (State.FAILED, "attempts")


def test_two_reconcilers_queue_a_lost_job_once(dispatcher: Dispatcher, connection: Redis) -> None:
    record = submit(dispatcher)
    dispatcher.transport.drop(record.job_id)
    dispatcher.enqueue_again(record)
    with pytest.raises(StaleRecord):
        dispatcher.enqueue_again(record)
    assert in_queues(connection) == [record.job_id.encode()]


def test_a_popped_job_without_worker_is_found(dispatcher: Dispatcher, connection: Redis) -> None:
    record = submit(dispatcher)
    assert dispatcher.transport.pop(list(Priority)) is not None
    assert sweep(dispatcher, stuck_s=0.2, interval_s=0.001) == {}
    assert in_queues(connection) == []
    time.sleep(0.25)
    assert sweep(dispatcher, stuck_s=0.2, interval_s=0.001)["queued"] == 1
    assert in_queues(connection) == [record.job_id.encode()]
    assert connection.llen("rq:queue:routine:intermediate") == 0


def test_only_one_worker_sweeps_in_an_interval(dispatcher: Dispatcher, connection: Redis) -> None:
    sweep(dispatcher, stuck_s=1, interval_s=60)
    assert 0 < connection.pttl("cds:sweeper") <= 60_000
    connection.set("cds:sweeper", "left without an end")
    sweep(dispatcher, stuck_s=1, interval_s=60)
    assert connection.exists("cds:sweeper") == 0


def test_a_job_ends_and_leaves_nothing_in_rq(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    eventually(lambda: not connection.keys("rq:job:*"), 5, process.text)
    done = dispatcher.records.get(record.id)
    assert done is not None
    assert (done.state, done.attempts) == (State.FINAL, 1)
    assert done.summary["pid"] == process.children[0]
    assert [row.name for row in workers(connection, time.time()) if row.heard_s < 5] == [
        done.worker
    ]
    left = [key for key in connection.keys("rq:*") if b"worker" not in key]
    assert left == [b"rq:queues"]
    assert process.terminate() == 0
    assert workers(connection, time.time()) == []


def ended(dispatcher: Dispatcher, record: StudyRecord) -> bool:
    """Whether the study has ended."""
    now = dispatcher.records.get(record.id)
    return now is not None and now.ended


def test_a_worker_says_what_it_holds_and_since_when(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher, sleep_s=1)

    def holds(study: str) -> bool:
        return any(row.study == study for row in workers(connection, time.time()))

    eventually(lambda: holds(record.id), 20, process.text)
    (row,) = workers(connection, time.time())
    assert (row.state, row.live) == ("busy", True)
    assert 0 <= row.since_s < 20
    assert row.rss_bytes > 10 * 2**20
    eventually(lambda: ended(dispatcher, record) and holds(""), 20, process.text)
    (row,) = workers(connection, time.time())
    assert (row.state, row.study, row.since_s) == ("idle", "", 0.0)


def test_the_child_stays_warm_until_it_is_worn(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(policy={"jobs_per_child": 10})
    for number in range(30):
        submit(dispatcher, str(number))
    eventually(lambda: connection.llen("test:done") == 30, 20, process.text)
    assert 3 <= connection.llen("test:warmed") <= 4


def test_a_child_that_holds_too_much_memory_is_replaced(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(policy={"rss_bytes": 1})
    for number in range(3):
        submit(dispatcher, str(number))
    eventually(lambda: connection.llen("test:done") == 3, 20, process.text)
    assert connection.llen("test:warmed") >= 3


def test_urgent_studies_go_first_and_the_others_do_not_starve(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    for number in range(4):
        submit(dispatcher, f"b{number}", "backfill")
        submit(dispatcher, f"r{number}", "routine")
    for number in range(40):
        submit(dispatcher, f"s{number}", "stat")
    process = worker(policy={"lower_first_every": 4})
    eventually(lambda: connection.llen("test:done") == 48, 20, process.text)
    order = "".join(name.decode()[0] for name in connection.lrange("test:started", 0, -1))
    assert order.startswith("ssssr")
    assert order.index("r") < order.index("b") < order.rindex("s")


@pytest.mark.parametrize("priority", list(Priority))
def test_an_idle_worker_starts_at_once_whatever_the_priority(
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[..., WorkerProcess],
    priority: Priority,
) -> None:
    process = worker(policy={"wait_s": 15})
    eventually(lambda: connection.llen("test:warmed"), 20, process.text)
    submit(dispatcher, "first", priority)
    eventually(lambda: connection.llen("test:done") == 1, 20, process.text)
    time.sleep(0.2)
    submit(dispatcher, "second", priority)
    took_s = eventually(lambda: connection.llen("test:done") == 2, 20, process.text)
    assert took_s < 8  # and not the 15 s that it would sleep


def test_a_worker_without_work_does_its_upkeep_itself(
    connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(tells_of_upkeep=True)
    eventually(lambda: connection.llen("test:upkeep"), 60, process.text)
    assert connection.lindex("test:upkeep", 0) == str(process.pid).encode(), "not its child"


def test_a_passing_error_is_tried_again_without_a_scheduler(
    dispatcher: Dispatcher, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher, do="passing", until_attempt=3)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    done = dispatcher.records.get(record.id)
    assert done is not None
    assert (done.state, done.attempts) == (State.FINAL, 3)


@pytest.mark.parametrize(
    ("do", "kind", "attempts"),
    [
        ("permanent", "undecodable", 1),
        ("passing", "upstream", 3),
        ("panic", "internal", 3),
        ("exit", "internal", 3),
        ("memory", "memory", 1),
    ],
)
def test_what_a_job_raises_decides_how_often_it_is_tried(
    dispatcher: Dispatcher,
    connection: Redis,
    worker: Callable[..., WorkerProcess],
    do: str,
    kind: str,
    attempts: int,
) -> None:
    process = worker()
    record = submit(dispatcher, do=do)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    done = dispatcher.records.get(record.id)
    assert done is not None
    assert (done.state, done.error_kind, done.attempts) == (State.FAILED, kind, attempts)
    eventually(lambda: connection.zcard("rq:failed:routine") == 1, 5, process.text)
    shown = PipelineJob.fetch(record.job_id, connection=connection)
    assert "DOE" not in process.text() + str(connection.hgetall(shown.key))


def test_a_function_that_leaves_the_record_open_has_failed(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker(leave_open=True)
    record = submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    assert replace(dispatcher.records.get(record.id) or record).error_kind == "unfinished"


def test_nothing_stays_in_the_working_directory(
    dispatcher: Dispatcher, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher)
    eventually(lambda: ended(dispatcher, record), 20, process.text)
    folder = process.folder / "work" / "worker-0"
    eventually(lambda: list(folder.iterdir()) == [], 5)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_sigterm_lets_the_running_job_finish(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    process = worker()
    record = submit(dispatcher, sleep_s=1.0)
    submit(dispatcher, "b")
    eventually(lambda: connection.llen("test:started"), 20, process.text)
    assert process.terminate() == 0
    assert ended(dispatcher, record)
    assert connection.llen("test:started") == 1
    assert len(in_queues(connection)) == 1


def test_a_lost_record_is_rebuilt_from_the_job(
    dispatcher: Dispatcher, connection: Redis, worker: Callable[..., WorkerProcess]
) -> None:
    record = submit(dispatcher)
    connection.delete(f"cds:study:{record.id}", "cds:open")
    process = worker()
    eventually(lambda: ended(dispatcher, record), 20, process.text)


@pytest.fixture
def acl_user(server: Any, connection: Redis) -> Iterator[Callable[[str], Redis]]:
    """Connections as users with less than everything."""
    names: list[str] = []

    def make(rules: str) -> Redis:
        name = f"user{len(names)}"
        connection.execute_command(
            "ACL", "SETUSER", name, "on", ">secret", "~rq:*", "~cds:*", "&rq:*", *rules.split()
        )
        names.append(name)
        return Redis(port=server.port, username=name, password="secret")

    yield make
    for name in names:
        connection.execute_command("ACL", "DELUSER", name)


def test_a_user_without_config_is_enough(acl_user: Callable[[str], Redis]) -> None:
    user = acl_user("+@all -@dangerous -@admin +info")
    assert refuse_unsafe(user, production=True) == []
    dispatcher = dispatcher_for(user)
    record = submit(dispatcher)
    assert dispatcher.transport.pop(list(Priority)) is not None
    assert dispatcher.records.begin(record, "w").attempts == 1
    user.close()


def test_a_user_without_info_is_refused(acl_user: Callable[[str], Redis]) -> None:
    user = acl_user("+@all -@dangerous -@admin")
    with pytest.raises(UnsafeRedis, match=re.escape("+info")):
        refuse_unsafe(user, production=True)
    user.close()


def test_a_worker_runs_as_a_user_without_dangerous_commands(
    server: Any,
    acl_user: Callable[[str], Redis],
    dispatcher: Dispatcher,
    tmp_path: Path,
) -> None:
    acl_user("+@all -@dangerous -@admin +info ~test:*").close()
    url = server.url.replace("redis://", "redis://user0:secret@")
    process = WorkerProcess(url, tmp_path / "w")
    try:
        record = submit(dispatcher)
        eventually(lambda: ended(dispatcher, record), 20, process.text)
        assert process.terminate() == 0
    finally:
        process.close()


def test_a_redis_that_forgets_is_refused(connection: Redis) -> None:
    assert refuse_unsafe(connection, production=True) == []
    connection.config_set("appendonly", "no")
    connection.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert len(refuse_unsafe(connection, production=False)) == 2
    finally:
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("appendonly", "yes")
