"""Every exception of the libraries below has a place in our tree."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
import requests.exceptions
import urllib3.exceptions

from cds_service.clients import errors
from cds_service.clients.errors import UpstreamError, error_for_status, mapped, upstream_errors
from cds_service.security.egress import NotAllowed


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__
        and issubclass(cls, Exception)
        and not issubclass(cls, Warning)
    ]


@pytest.mark.parametrize(
    "cls",
    [*exceptions_of(requests.exceptions), *exceptions_of(urllib3.exceptions)],
    ids=lambda cls: f"{cls.__module__.split('.')[0]}.{cls.__name__}",
)
def test_every_exception_of_the_libraries_has_a_row_of_its_own(cls: type[Exception]) -> None:
    """A new one in a new version fails here, and somebody decides what it means."""
    assert cls in errors._NETWORK


def ours() -> list[type[UpstreamError]]:
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    return [cls for cls in classes if issubclass(cls, UpstreamError)]


def test_every_error_has_a_kind_of_its_own_and_stands_in_the_tree() -> None:
    kinds = [cls.kind for cls in ours()]
    assert len(set(kinds)) == len(kinds)
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in ours())


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (requests.exceptions.ConnectTimeout(), "unreachable"),
        (requests.exceptions.ReadTimeout(), "timeout"),
        (requests.exceptions.SSLError(), "tls"),
        (requests.exceptions.ConnectionError(), "unreachable"),
        (requests.exceptions.ChunkedEncodingError(), "truncated"),
        (urllib3.exceptions.ProtocolError("x"), "truncated"),
        (urllib3.exceptions.IncompleteRead(1, 2), "truncated"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "unreachable"),
        (NotAllowed("no"), "egress"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_exception_becomes_ours_without_its_text(raised: Exception, kind: str) -> None:
    with pytest.raises(UpstreamError) as caught, upstream_errors("the archive"):
        raise raised
    assert caught.value.kind == kind
    assert caught.value.__cause__ is None


def test_a_url_in_a_library_s_text_does_not_come_through() -> None:
    text = "HTTPConnectionPool(host='h', port=1): /studies?PatientID=123"
    with pytest.raises(UpstreamError) as caught, upstream_errors("the archive"):
        raise requests.exceptions.ConnectionError(text)
    assert "123" not in caught.value.sentence
    assert "the archive" in caught.value.sentence


def test_a_mistake_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="ours"), upstream_errors("the archive"):
        raise ValueError("ours")
    assert mapped(KeyError("x"), "the archive") is None


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (301, "redirect", False),
        (400, "rejected", False),
        (401, "refused", False),
        (403, "refused", False),
        (404, "not-found", False),
        (406, "rejected", False),
        (408, "server-error", True),
        (409, "conflict", False),
        (410, "not-found", False),
        (412, "conflict", False),
        (418, "rejected", False),
        (429, "throttled", True),
        (500, "server-error", True),
        (503, "server-error", True),
        (599, "server-error", True),
    ],
)
def test_a_status_says_what_happened_and_whether_it_may_pass(
    status: int, kind: str, retryable: bool
) -> None:
    error = error_for_status(status, "the archive")
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)


def test_503_with_retry_after_is_a_throttle() -> None:
    error = error_for_status(503, "the archive", 3.0)
    assert isinstance(error, errors.Throttled)
    assert error.retry_after_s == 3.0
