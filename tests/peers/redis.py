"""redis-server from Debian, as a production site runs it: append-only file on, loopback only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.peers.process import Process, answers_ping, free_port


def missing() -> str | None:
    """Why redis-server cannot be started here, or None."""
    present = shutil.which("redis-server", path=os.defpath + ":/usr/local/bin")
    return None if present else "redis-server is not installed (Debian: redis-server)"


class Redis:
    """One empty server; `fsync` is its ``appendfsync``."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        binary = shutil.which("redis-server", path=os.defpath + ":/usr/local/bin")
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": fsync,
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        command = [binary or "redis-server"]
        for name, value in options.items():
            command += [f"--{name}", value]
        self.process = Process(command, folder, lambda: answers_ping(self.port))
