"""A WSGI application or a server of production on a free loopback port, for a while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from waitress import wasyncore
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing is printed."""


@contextlib.contextmanager
def listening(app: Any) -> Iterator[str]:
    """Its address, for as long as it is entered. `app` may be None and set by its `app` later."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def running(server: Any) -> Iterator[str]:
    """The address of a waitress server, in a thread of its own for as long as it is entered.

    Its sockets are closed by its own loop. The loop may be awake for another reason: it must not
    come to closing the pipe that wakes it before the waking byte has been written.
    """
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.task_dispatcher.shutdown(timeout=5)
        trigger = server.trigger
        with trigger.lock:
            trigger.thunks.append(lambda: wasyncore.close_all(server._map))
            trigger._physical_pull()
        thread.join(5)
