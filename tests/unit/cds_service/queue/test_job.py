"""A job's hash is data; whatever in it could be code is refused."""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Mapping

import pytest
from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Job

from cds_service.queue.errors import TamperedPayload
from cds_service.queue.job import FUNCTION_NAME, IDLE, READ, PipelineJob

NOWHERE = Redis(unix_socket_path="/nonexistent")


def ours(payload: str = "sealed") -> PipelineJob:
    """A new job."""
    return PipelineJob.of("j1", payload, NOWHERE, timeout_s=60, failure_ttl_s=60)


def hash_of(job: Job) -> dict[bytes, bytes]:
    """Its hash as Redis would return it."""
    texts = {name: getattr(value, "value", value) for name, value in job.to_dict().items()}
    return {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in texts.items()
    }


def restored(fields: Mapping[bytes, bytes]) -> PipelineJob:
    """The job of a hash."""
    job = PipelineJob("j1", connection=NOWHERE)
    job.restore(fields)
    return job


def data(*parts: object) -> bytes:
    """RQ's compressed (function, instance, args, kwargs)."""
    return zlib.compress(json.dumps(parts).encode())


def test_a_job_comes_back_with_its_order() -> None:
    job = restored(hash_of(ours("sealed order")))
    assert job.payload == "sealed order"
    assert job.timeout == 60


def test_a_job_keeps_no_description_and_no_metadata() -> None:
    fields = hash_of(ours("sealed order"))
    assert not fields.get(b"description")
    assert not fields.keys() & {b"meta", b"result"}


@pytest.mark.parametrize(
    "field",
    [
        *("success_callback_name", "failure_callback_name", "stopped_callback_name"),
        *("meta", "result", "webhooks", "dependency_id", "dependency_ids", "group_id"),
        *("retries_left", "repeats_left", "rate_limit_key", "enqueue_at_front"),
        *("description", "a_new_field"),
    ],
)
def test_a_field_that_we_never_write_is_refused(field: str) -> None:
    with pytest.raises(TamperedPayload):
        restored({**hash_of(ours()), field.encode(): b"os.system"})


def test_every_field_that_rq_writes_into_an_empty_job_is_known() -> None:
    plain = Job.to_dict(ours())
    assert plain.keys() <= READ | IDLE


@pytest.mark.parametrize(
    "parts",
    [
        ("os.system", None, ["touch x"], {}),
        (FUNCTION_NAME, "os", ["x"], {}),
        (FUNCTION_NAME, None, ["x", "y"], {}),
        (FUNCTION_NAME, None, [], {}),
        (FUNCTION_NAME, None, [1], {}),
        (FUNCTION_NAME, None, ["x"], {"a": 1}),
        (FUNCTION_NAME, None, ["x"], None),
        (FUNCTION_NAME, None, ["x"]),
    ],
)
def test_data_of_another_form_is_refused(parts: tuple[object, ...]) -> None:
    job = restored({**hash_of(ours()), b"data": data(*parts)})
    with pytest.raises(TamperedPayload):
        _ = job.payload
    with pytest.raises(TamperedPayload):
        _ = job.func


class Gadget:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("compress", [zlib.compress, bytes])
def test_pickled_data_is_never_loaded(compress: type) -> None:
    fields = {**hash_of(ours()), b"data": compress(pickle.dumps(Gadget()))}
    with pytest.raises(TamperedPayload):
        _ = restored(fields).payload


def test_data_that_inflates_without_end_is_refused() -> None:
    bomb = zlib.compress(b"0" * 50_000_000, 9)
    with pytest.raises(TamperedPayload):
        restored({**hash_of(ours()), b"data": bomb})


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", b"unheard-of"), ("timeout", b"soon"), ("created_at", b"yesterday")],
)
def test_a_malformed_field_is_refused(field: str, value: bytes) -> None:
    with pytest.raises(TamperedPayload):
        restored({**hash_of(ours()), field.encode(): value})


def test_a_hash_without_data_is_no_job() -> None:
    with pytest.raises(NoSuchJobError):
        restored({b"status": b"started"})


def test_pickle_cannot_be_asked_for() -> None:
    from rq.serializers import JSONSerializer, PickleSerializer

    job = PipelineJob("j1", connection=NOWHERE, serializer=PickleSerializer)
    assert job.serializer is JSONSerializer


def test_a_process_without_a_worker_runs_no_job() -> None:
    with pytest.raises(TamperedPayload):
        ours().func()
