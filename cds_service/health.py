"""Whether this process lives, and whether calls should be sent to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Response, jsonify

from cds_service.errors import ServiceError

Check = Callable[[], None]
"""Returns if all is well, raises if not; it must not take longer than about a second."""

HEARTBEAT_S = 30.0


class NotReady(ServiceError):
    """Something that calls need is missing; the sentence says what."""

    kind = "not-ready"
    retryable = True


def heartbeat(last_s: Callable[[], float | None], clock_s: Callable[[], float]) -> Check:
    """A check that some worker was heard of in the last `HEARTBEAT_S` seconds.

    Args:
        last_s: the newest heartbeat of any worker, epoch seconds, None if there is none.
        clock_s: epoch seconds.
    """

    def check() -> None:
        last = last_s()
        if last is None or clock_s() - last > HEARTBEAT_S:
            raise NotReady(f"no worker was heard of in the last {HEARTBEAT_S:.0f} s")

    return check


def readiness(checks: Mapping[str, Check]) -> tuple[bool, dict[str, str]]:
    """Ask every check: whether all are well, and a word or sentence for each."""
    said = {name: _asked(check) for name, check in checks.items()}
    return all(word == "ok" for word in said.values()), said


def _asked(check: Check) -> str:
    try:
        check()
    except ServiceError as error:
        return error.sentence
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
        return type(error).__name__
    return "ok"


Details = Callable[[], Mapping[str, str]]
"""Sentences for an operator by what they are about; they make nobody unready."""


def _detailed(details: Details) -> dict[str, str]:
    """What is known; nothing while the queue is away, which `checks` tell."""
    try:
        return dict(details())
    except ServiceError:
        return {}


def health_blueprint(
    checks: Mapping[str, Check],
    details: Details | None = None,
    warnings: Sequence[str] = (),
    tell: Callable[[], bool] = lambda: True,
    rights: Details | None = None,
) -> Blueprint:
    """``/healthz`` (the process answers) and ``/readyz`` (it can do its work: 200, else 503).

    `details` says of each model how it serves, `warnings` are about the settings, and `rights` say
    of tenants what is off because our token may do less there than was asked. `tell` is whether
    the present request may read more than the status.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def alive() -> Response:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def ready() -> tuple[Response, int]:
        well, said = readiness(checks)
        body: dict[str, object] = {"status": "ready" if well else "not ready"}
        if tell():
            body["checks"] = said
            if details is not None:
                body["models"] = _detailed(details)
            off = _detailed(rights) if rights is not None else {}
            if off:
                body["rights"] = off
            if warnings:
                body["warnings"] = list(warnings)
        return jsonify(body), 200 if well else 503

    return blueprint
