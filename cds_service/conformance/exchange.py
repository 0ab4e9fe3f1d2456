"""One request, its answer, and who carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cds_service.errors import ServiceError
from cds_service.strict_json import InvalidJson, load_json


class NoAnswer(ServiceError):
    """The service cannot be reached, or its answer has no end."""

    kind = "no-answer"


class EnoughAsked(ServiceError):
    """The bound on requests is reached: an examination is no load test."""

    kind = "enough-asked"


@dataclass(frozen=True)
class Call:
    """A request; `path` begins with a slash and stands below the service's base URL."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    took_ms: float = 0.0

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def refused(self) -> bool:
        """Whether it says that the caller is not let in."""
        return self.status in (401, 403)

    @property
    def members(self) -> dict[str, Any]:
        """The JSON object; empty where there is none."""
        try:
            return load_json(self.body)
        except InvalidJson:
            return {}

    def fault_as_json(self) -> str | None:
        """What keeps it from being a JSON object that is announced as one."""
        if self.media_type != "application/json":
            return f"the content type is {self.media_type or 'missing'}, not application/json"
        try:
            load_json(self.body)
        except InvalidJson as error:
            return error.sentence.rstrip(".").replace("The body", "the body")
        return None


class Sender(Protocol):
    """Carries calls to one service."""

    def send(self, call: Call) -> Answer:
        """One exchange, without following redirects. Raises NoAnswer."""
