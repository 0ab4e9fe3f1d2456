"""Connections that go only to checked addresses and end when their deadline is over.

requests' timeouts hold for one read; a peer that sends a byte now and then passes them for ever,
also in the middle of the TLS handshake or of the headers. Here a timer shuts the socket down at
the deadline, wherever the call may be.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util.ssl_ import create_urllib3_context

from cds_service.clients.policy import Deadline
from cds_service.security.egress import Allowance, Resolver, addresses

_under_way = threading.local()


class Call:
    """One request under way: holds the socket that the deadline shuts down."""

    def __init__(self, allowance: Allowance, deadline: Deadline, resolver: Resolver) -> None:
        self.allowance = allowance
        self.deadline = deadline
        self.resolver = resolver
        self._guard: socket.socket | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._timer = threading.Timer(max(0.0, deadline.remaining_s()), self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Call:
        self._timer.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._guard = None
            self._ended = True

    def hold(self, guard: socket.socket | None) -> None:
        """`guard` is a duplicate of the socket on which this call now waits."""
        with self._lock:
            self._guard = guard

    def _cut(self) -> None:
        with self._lock:
            if self._guard is not None and not self._ended:
                with suppress(OSError):  # the peer was quicker
                    self._guard.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Connections that this thread opens or reuses inside belong to this call."""
        _under_way.call = self
        try:
            yield
        finally:
            _under_way.call = None


def _within(seconds: float, work: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """`work` in a thread of its own: the system's resolver knows no deadline."""
    done: list[tuple[str, ...]] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 -- handed to the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError
    return done[0]


class _Pinned:
    """Opens its socket to an address that was checked; the name stays for Host, SNI and TLS."""

    def _new_conn(self: Any) -> socket.socket:
        """Connect to one of the permitted addresses (the hook that urllib3's SOCKS uses too)."""
        call: Call = _under_way.call
        try:
            if ":" in self.host or self.host.replace(".", "").isdigit():
                found = addresses(call.allowance)
            else:
                found = _within(
                    call.deadline.remaining_s(), lambda: addresses(call.allowance, call.resolver)
                )
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "The name was not resolved in time.") from error
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, "The name was not resolved.") from error
        return self._connected(call, found)  # type: ignore[no-any-return]  # self is Any

    def _connected(self: Any, call: Call, found: tuple[str, ...]) -> socket.socket:
        error: OSError = OSError("no address")
        for address in found:
            wait_s = min(float(self.timeout), call.deadline.remaining_s())
            if wait_s <= 0:
                break
            try:
                sock = socket.create_connection((address, self.port), wait_s)
            except OSError as failed:
                error = failed
                continue
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            self.guard = sock.dup()
            call.hold(self.guard)
            return sock
        if isinstance(error, TimeoutError):
            raise ConnectTimeoutError(self, "The connection was not made in time.") from error
        raise NewConnectionError(self, "No connection.") from error

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        """A connection from the pool now belongs to the call that reuses it."""
        _under_way.call.hold(getattr(self, "guard", None))
        super().request(*args, **kwargs)  # type: ignore[misc]  # the urllib3 class beside us

    def close(self: Any) -> None:
        """Close the socket and its duplicate."""
        super().close()  # type: ignore[misc]  # the urllib3 class beside us
        guard, self.guard = getattr(self, "guard", None), None
        if guard is not None:
            guard.close()


class _PinnedHTTP(_Pinned, HTTPConnection):
    pass


class _PinnedHTTPS(_Pinned, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _PinnedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedHTTPS


class PinnedAdapter(HTTPAdapter):
    """requests' adapter over such connections; never a proxy, never a retry of its own.

    The certificates in `ca_file`, if there is one, are trusted beside the public ones.
    """

    def __init__(self, ca_file: str = "", connections: int = 8) -> None:
        self._ca_file = ca_file
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,
        **pool_kwargs: Any,
    ) -> None:
        """Pools whose connections are pinned."""
        if self._ca_file:
            trusting = create_urllib3_context()
            trusting.load_verify_locations(cafile=self._ca_file)
            pool_kwargs["ssl_context"] = trusting
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
