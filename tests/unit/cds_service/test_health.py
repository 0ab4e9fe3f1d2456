"""A process lives at once; it is ready when everything that a call needs is there."""

from __future__ import annotations

import pytest

from cds_service.health import NotReady, heartbeat, readiness
from tests.doubles.hooking import site


def well() -> None:
    return None


def without_worker() -> None:
    raise NotReady("no worker")


def broken() -> None:
    raise ValueError("a secret of Mrs Canary")


def test_readiness_names_each_check() -> None:
    said = {"redis": well, "worker": without_worker, "models": broken}
    assert readiness(said) == (
        False,
        {"redis": "ok", "worker": "no worker", "models": "ValueError"},
    )


@pytest.mark.parametrize(
    ("checks", "status"), [({}, 200), ({"a": well}, 200), ({"a": well, "b": broken}, 503)]
)
def test_readyz_is_200_or_503(checks: dict[str, object], status: int) -> None:
    at = site()
    at.extra["checks"] = checks
    answer = at.client().get("/readyz")
    assert answer.status_code == status
    assert "Canary" not in answer.get_data(as_text=True)


def test_healthz_asks_nobody() -> None:
    at = site()
    at.extra["checks"] = {"b": broken}
    assert at.client().get("/healthz").get_json() == {"status": "ok"}


@pytest.mark.parametrize(("last_s", "fine"), [(None, False), (69.0, False), (70.0, True)])
def test_a_worker_must_have_been_heard_of_lately(last_s: float | None, fine: bool) -> None:
    check = heartbeat(lambda: last_s, lambda: 100.0)
    if fine:
        check()
    else:
        with pytest.raises(NotReady):
            check()
