"""The usual web process beside `rivals`, and a call that does nothing.

``python -m benchmarks.rival_web PORT REDIS_URL``: ``POST /noop`` parses JSON and answers
``{"cards": []}``; ``POST /hook/NAME`` also puts the body's order into RQ's queue NAME. Flask under
waitress with as many threads as scanhook; no token is checked.
"""

from __future__ import annotations

import sys

from flask import Flask, Response, jsonify, request
from redis import Redis
from rq import Queue
from waitress import serve

from cds_service.settings import WebSettings


def create_app(redis_url: str) -> Flask:
    """The application."""
    app = Flask(__name__)
    connection = Redis.from_url(redis_url)

    @app.post("/noop")
    def noop() -> Response:
        request.get_json()
        return jsonify(cards=[])

    @app.post("/hook/<name>")
    def hook(name: str) -> Response:
        asked = request.get_json()
        queue = Queue(name, connection=connection)
        queue.enqueue(f"benchmarks.rivals.{name}", asked["study"], asked["order"], result_ttl=60)
        return jsonify(cards=[])

    return app


if __name__ == "__main__":
    serve(
        create_app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        threads=WebSettings().threads,
    )
