"""A process lives at once; it is ready when everything that a call needs is there."""

from __future__ import annotations

import pytest

from cds_service.health import NotReady, heartbeat, readiness
from tests.doubles import ehr
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


def test_who_is_no_operator_learns_whether_and_not_why() -> None:
    at = site(
        web={"operator_token": "only-for-operators"},
        tenants=(ehr.tenant(accepted_audiences=["sand_man"]),),
    )
    at.extra["checks"] = {"queue": lambda: None}
    client, known = at.client(), {"Authorization": "Bearer only-for-operators"}
    assert client.get("/readyz").get_json() == {"status": "ready"}
    assert {"checks", "warnings"} <= client.get("/readyz", headers=known).get_json().keys()
    for headers, status in (({}, 401), ({"Authorization": "Bearer x"}, 401), (known, 200)):
        assert client.get("/metrics", headers=headers).status_code == status
    assert client.get("/healthz").status_code == 200
