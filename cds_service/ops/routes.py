"""The addresses of the operations page: behind its own secret, without cookies, kept by nobody."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from flask import Blueprint, Response, jsonify, request

from cds_service.ops.credential import Credential
from cds_service.ops.page import OpsPages
from cds_service.ops.reading import Reader
from cds_service.queue.errors import QueueError, QueueFull, QueueUnavailable
from cds_service.queue.listing import dead_letters
from cds_service.queue.records import is_id
from cds_service.security.pace import Pace

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_ASSETS = {"ops.css": "text/css", "ops.js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}
_LATER = {"Retry-After": "60"}
_UNDONE = "Not tried again"
_CHALLENGE = 'Basic realm="scanhook operations", charset="UTF-8"'


def ops_blueprint(
    reader: Reader,
    credential: Credential,
    pages: OpsPages,
    *,
    root: str = "",
    failures_per_minute: int = 10,
    clock_s: Callable[[], float] = time.time,
) -> Blueprint:
    """``/ops``, the same as JSON, one study's page, and the form that tries a study again."""
    pace = Pace(failures_per_minute, clock_s)
    desk = _Desk(reader, credential, pages, root, pace, clock_s)
    blueprint = Blueprint("ops", __name__)

    @blueprint.after_request
    def harden(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    blueprint.before_request(desk.refusal)
    blueprint.register_error_handler(QueueUnavailable, desk.unavailable)
    blueprint.add_url_rule("/ops", "overview", desk.overview)
    blueprint.add_url_rule("/ops.json", "json", desk.json)
    blueprint.add_url_rule("/ops/studies/<study>", "study", desk.study)
    blueprint.add_url_rule("/ops/requeue", "requeue", desk.requeue, methods=["POST"])
    blueprint.add_url_rule("/ops/static/<name>", "asset", desk.asset)
    return blueprint


@dataclass(frozen=True)
class _Desk:
    """What answers each address."""

    reader: Reader
    credential: Credential
    pages: OpsPages
    root: str
    pace: Pace
    clock_s: Callable[[], float]

    def refusal(self) -> Response | None:
        """The answer to whoever may not see the page; None for who may.

        An address that was wrong too often is not even compared any more, so that trying is slow.
        """
        address, given = request.remote_addr or "", request.headers.get("Authorization", "")
        if self.pace.exhausted(address):
            return self._message(429, "Too many wrong secrets", "Wait a minute.", _LATER)
        if self.credential.admits(given):
            return None
        if given:
            self.pace.admits(address)
            _log.warning("operator refused", extra={"status": 401})
        challenge = {"WWW-Authenticate": _CHALLENGE}
        return self._message(401, "Operations", "This page needs its own secret.", challenge)

    def overview(self) -> Response:
        """What runs, what waits, what failed."""
        return Response(self.pages.overview(self.reader.read(), self._form))

    def json(self) -> Response:
        """The same as JSON."""
        return jsonify(asdict(self.reader.read()))

    def study(self, study: str) -> Response:
        """One study by its opaque id."""
        row = self.reader.study(study) if is_id(study) else None
        if row is None:
            return self._nothing()
        return Response(self.pages.study(row, self._form))

    def requeue(self) -> Response:
        """Try a failed study again, or all that are listed under one kind of failure."""
        study, kind = request.form.get("study", ""), request.form.get("kind", "")
        asked = f"study:{study}" if study else f"kind:{kind}"
        same_site = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        token = request.form.get("form", "")
        if not same_site or not self.credential.made(token, asked, self.clock_s()):
            return self._message(403, _UNDONE, "The form is not of this page, or too old.")
        try:
            return self._requeue_study(study) if study else self._requeue_kind(kind)
        except QueueFull as error:
            return self._message(503, _UNDONE, str(error), _LATER)

    def _requeue_study(self, study: str) -> Response:
        record = self.reader.dispatcher.requeue(study) if is_id(study) else None
        if record is None:
            return self._nothing()
        _log.info("tried again by an operator", extra={"study": record.id})
        return self._see(f"/ops/studies/{record.id}")

    def _requeue_kind(self, kind: str) -> Response:
        dispatcher = self.reader.dispatcher
        failed = dead_letters(dispatcher.records, self.reader.limit)
        studies = [row.study for row in failed if row.error_kind == kind]
        for study in studies:
            dispatcher.requeue(study)
        _log.info("tried again by an operator", extra={"count": len(studies)})
        return self._see("/ops")

    def asset(self, name: str) -> Response:
        """Style and script of the page."""
        if name not in _ASSETS:
            return self._nothing()
        return Response((_STATIC / name).read_bytes(), mimetype=_ASSETS[name])

    def unavailable(self, error: QueueError) -> Response:
        """What is answered while Redis is away."""
        _log.warning("operations not read", extra={"kind": error.kind})
        sentence = (
            "Redis does not answer, or too slowly. Hooks answer that AI analysis is not "
            "available; workers wait and lose nothing."
        )
        return self._message(503, "The queue cannot be read", sentence, {"Retry-After": "5"})

    def _form(self, asked: str) -> str:
        return self.credential.form(asked, self.clock_s())

    def _see(self, path: str) -> Response:
        return Response(status=303, headers={"Location": f"{self.root}{path}"})

    def _nothing(self) -> Response:
        return self._message(404, "Not here", "There is no such study; it may have been forgotten.")

    def _message(
        self, status: int, title: str, sentence: str, headers: dict[str, str] | None = None
    ) -> Response:
        if request.path.endswith(".json"):
            response = jsonify(error=sentence)
        else:
            response = Response(self.pages.message(title, sentence))
        response.status_code = status
        response.headers.update(headers or {})
        return response
