"""One working directory for each worker of a machine, held by a lock that dies with its owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
from pathlib import Path

from cds_service.queue.errors import WorkerUnfit

SLOTS = 1024


class WorkFolder:
    """Directory ``worker-<slot>`` under the given one: mode 700, empty at start and after jobs.

    The slot is the first whose lock is free. After a kill -9 the next worker gets the same slot,
    so it finds, and removes, whatever its predecessor left. `name` is the same for the same slot,
    and no other directory's workers have it, on whatever machine.

    Raises:
        WorkerUnfit: the directory cannot be made or locked.
    """

    def __init__(self, under: Path) -> None:
        try:
            under.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.slot, self.lock = _first_free(under)
            self.path = under / f"worker-{self.slot}"
            self.path.mkdir(mode=0o700, exist_ok=True)
            self.path.chmod(0o700)
            self.name = f"{socket.gethostname()}-{_identity(under)}-{self.slot}"
        except OSError as error:
            raise WorkerUnfit(f"no working directory: {error.strerror}") from None
        self.empty()

    def empty(self) -> None:
        """Remove everything in it; a link is removed, what it points to is not."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()

    def close(self) -> None:
        """Empty it and let the slot go."""
        self.empty()
        os.close(self.lock)


def _identity(under: Path) -> str:
    """Eight hex digits that stay with the directory; the first worker makes them."""
    path = under / "identity"
    if not path.exists():
        draft = under / f"identity.{os.getpid()}"
        draft.write_text(secrets.token_hex(4))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)  # all or nothing, and only for the first
        draft.unlink()
    return path.read_text()


def _first_free(under: Path) -> tuple[int, int]:
    for slot in range(SLOTS):
        lock = os.open(under / f"worker-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return slot, lock
    raise WorkerUnfit(f"{SLOTS} workers run in this directory already")
