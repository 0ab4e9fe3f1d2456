"""A CDS service that verifies its caller and says what a test tells it to say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import jwt
from flask import Flask, Response, jsonify, request
from jwt import PyJWK
from werkzeug.serving import make_server

from cds_service.security.keys import SigningKey, public_jwks

Json = dict[str, Any]
HOOKS = (
    "patient-view",
    "order-select",
    "order-sign",
    "order-dispatch",
    "encounter-start",
    "encounter-discharge",
)
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "studies": (
        "ImagingStudy?patient={{context.patientId}}&status=available&_sort=-started&_count=5"
    ),
}


class CdsServiceDouble:
    """Listens on a free loopback port; `answer` makes the body of each hook's answer.

    `hooks` are those that are offered, by default one service each; `ids` names others.
    `caller_keys` gives the JWK set against which tokens are checked; who fails gets 401.
    """

    def __init__(self, own_key: SigningKey | None = None) -> None:
        self.answer: Callable[[Json], Any] = lambda _: {"cards": []}
        self.caller_keys: Callable[[], Json] | None = None
        self.hooks: tuple[str, ...] = HOOKS
        self.ids: dict[str, tuple[str, ...]] = {}
        self.called: list[str] = []
        self.calls: list[Json] = []
        self.claims: list[Json] = []
        self.feedback: list[Json] = []
        self.own_key = own_key
        self._server = make_server("127.0.0.1", 0, self._app(), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base_url(self) -> str:
        """Without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self) -> Flask:
        app = Flask(__name__)

        @app.before_request
        def verify() -> Response | None:
            if self.caller_keys is None or request.path.startswith("/.well-known"):
                return None
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                kid = jwt.get_unverified_header(token)["kid"]
                jwk = next(k for k in self.caller_keys()["keys"] if k["kid"] == kid)
                self.claims.append(
                    jwt.decode(token, PyJWK(jwk).key, algorithms=["ES384"], audience=request.url)
                )
            except (jwt.PyJWTError, StopIteration, KeyError):
                return Response(status=401)
            return None

        @app.get("/cds-services")
        def discovery() -> Response:
            return jsonify(
                services=[
                    {"id": name, "hook": h, "description": h, "prefetch": PREFETCH}
                    for h in self.hooks
                    for name in self.ids.get(h, (f"imaging-ai-{h}",))
                ]
            )

        @app.post("/cds-services/<service>")
        def call(service: str) -> Any:
            self.called.append(service)
            self.calls.append(request.get_json())
            return self.answer(self.calls[-1])

        @app.post("/cds-services/<service>/feedback")
        def feedback(service: str) -> Response:
            self.feedback.append({"service": service, **request.get_json()})
            return jsonify({})

        @app.get("/.well-known/jwks.json")
        def keys() -> Response:
            return jsonify(public_jwks([self.own_key] if self.own_key else []))

        return app
