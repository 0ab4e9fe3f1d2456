"""The one kind of job: JSON, one constant function, nothing in Redis that names code.

RQ imports and calls whatever dotted name it finds in a job's hash (function, callbacks), sends
webhooks that it finds there, and unpickles what it is told to. This class reads only the fields
that it needs, refuses a hash with any of the others, and never looks a name up.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Job, validate_job_id
from rq.serializers import JSONSerializer

from cds_service.queue.errors import TamperedPayload

FUNCTION_NAME = "scanhook.study"
"""Stands where RQ keeps a function's name; compared, never imported."""

DATA_BYTES = 16_384
"""The most that the data of a job may inflate to."""

READ = frozenset(
    {"data", "origin", "status", "created_at", "enqueued_at", "started_at", "ended_at"}
    | {"last_heartbeat", "worker_name", "timeout", "result_ttl", "failure_ttl", "exc_info"}
)
"""Fields that are read."""

IDLE = frozenset(
    {"description", "group_id", "success_callback_name", "failure_callback_name"}
    | {"stopped_callback_name", "enqueue_at_front"}
)
"""Fields that RQ writes for every job and that are empty in ours."""


def refuse_function(*_args: object, **_kwargs: object) -> None:
    """The function of a process that no worker was started in."""
    raise TamperedPayload("this process runs no jobs")


class PipelineJob(Job):  # type: ignore[misc]  # rq is read without types
    """An RQ job that carries one sealed order and can do one thing."""

    function: ClassVar[Callable[..., None]] = staticmethod(refuse_function)
    """What a job does; the worker's process puts it here."""

    def __init__(
        self, id: str | None = None, connection: Redis | None = None, serializer: object = None
    ) -> None:
        """As RQ's; the serializer is JSON whatever was asked for (RQ's default is pickle)."""
        super().__init__(id, connection=connection, serializer=JSONSerializer)

    @classmethod
    def of(
        cls, job_id: str, payload: str, connection: Redis, timeout_s: int, failure_ttl_s: int
    ) -> PipelineJob:
        """A new job around a sealed order, without description, result or metadata."""
        validate_job_id(job_id)
        job = cls(job_id, connection=connection)
        job._func_name, job._instance = FUNCTION_NAME, None
        job._args, job._kwargs = [payload], {}
        job.description = ""
        job.timeout, job.result_ttl, job.failure_ttl = timeout_s, 0, failure_ttl_s
        return job

    @property
    def func(self) -> Callable[..., None]:
        """The one function, if the data has our form."""
        _ = self.payload
        return type(self).function

    @property
    def payload(self) -> str:
        """The sealed order. Raises TamperedPayload if the data is anything else."""
        try:
            name, instance, args, kwargs = json.loads(self.data)
            (payload,) = args
        except (ValueError, TypeError, RecursionError):
            raise TamperedPayload("a job's data has not our form") from None
        ours = name == FUNCTION_NAME and instance is None and kwargs == {}
        if not ours or not isinstance(payload, str):
            raise TamperedPayload("a job asks for something other than our function")
        return payload

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over a hash from Redis, if it is one that we could have written.

        Raises:
            NoSuchJobError: there is no data.
            TamperedPayload: it names code, an address or another job, or is malformed.
        """
        fields = {key.decode("utf-8", "replace"): value for key, value in raw_data.items()}
        if "data" not in fields:
            raise NoSuchJobError("the job is gone")
        foreign = [name for name in fields.keys() - READ - IDLE if fields[name]]
        filled = [name for name in IDLE & fields.keys() if fields[name] not in (b"", b"0")]
        if foreign or filled:
            raise TamperedPayload("a job's hash holds fields that we never write")
        fields["data"] = _inflate(fields["data"])
        try:
            super().restore({k.encode(): v for k, v in fields.items() if k in READ and v})
        except (ValueError, TypeError, AttributeError, KeyError, AssertionError):
            raise TamperedPayload("a job's hash is malformed") from None

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """RQ's hash of this job, without the fields that we do not use."""
        fields: dict[str, Any] = super().to_dict(include_meta=False, include_result=include_result)
        return {name: value for name, value in fields.items() if name in READ}


def _inflate(data: bytes) -> bytes:
    """The data as it was before RQ compressed it; bounded, so that no bomb goes off."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, DATA_BYTES)
    except zlib.error:
        raise TamperedPayload("a job's data has not our form") from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise TamperedPayload("a job's data is too large")
    return text
