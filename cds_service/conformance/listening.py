"""A small server of our own: it publishes the key set, and notices who asks for anything else.

Nobody has a reason to ask it for more than the keys: whoever does followed an address that a call
or a token named, which is what servers must not do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEYS_PATH = "/jwks.json"
MOST_NOTED = 100


class Listener:
    """Listens on loopback while it is entered; `asked` are the paths of unexpected requests."""

    def __init__(self, key_set: Mapping[str, Any], port: int = 0) -> None:
        self.asked: list[str] = []
        body, asked = json.dumps(key_set).encode(), self.asked

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                """The keys at their own path; anything else is noted, and nowhere."""
                found = self.path == KEYS_PATH
                if not found and len(asked) < MOST_NOTED:
                    asked.append(self.path[:200])
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Cache-Control", "max-age=60")
                self.end_headers()
                self.wfile.write(body if found else b"{}")

            def log_message(self, *_: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def keys_url(self) -> str:
        """The address of the key set."""
        return f"{self.url}{KEYS_PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
