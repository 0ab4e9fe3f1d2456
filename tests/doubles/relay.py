"""A relay in front of a peer: it notes every request, and may answer in the peer's place."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

import requests

from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer

Instead = Callable[[Seen], Reply | None]
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "host"})


class Relay:
    """Stands before `upstream_url` on a port of its own.

    Args:
        upstream_url: the peer's base URL; ours is the same with another origin.
        instead: gives the reply to a request, or None for the peer's own.
    """

    def __init__(self, upstream_url: str, instead: Instead | None = None) -> None:
        parts = urlsplit(upstream_url)
        self._origin, self._path = f"{parts.scheme}://{parts.netloc}", parts.path
        self.instead: Instead = instead or (lambda seen: None)
        self.server = FaultyServer(self._reply)

    @property
    def base_url(self) -> str:
        """The peer's base URL, as it is reached through us."""
        return self.server.base_url + self._path

    @property
    def seen(self) -> list[Seen]:
        """What has arrived."""
        return self.server.seen

    def __enter__(self) -> Relay:
        self.server.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.server.__exit__(exc_type, exc, traceback)

    def _reply(self, seen: Seen) -> Reply:
        return self.instead(seen) or self._forwarded(seen)

    def _forwarded(self, seen: Seen) -> Reply:
        headers = {n: v for n, v in seen.headers.items() if n not in _HOP}
        said = requests.request(
            seen.method,
            self._origin + seen.target,
            data=seen.body,
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=30,
            allow_redirects=False,
        )
        back = {n: v for n, v in said.headers.items() if n.lower() not in _HOP}
        return answer(said.status_code, said.content, back)
