"""Files of a folder that others may tamper with: no link is followed, nothing is half there."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inference.limits import MIB

FILE_BYTES = 64 * MIB
"""The largest file that is read as a whole."""


def locked(folder: Path, how: int) -> int:
    """A handle with a lock; the kernel lets go of it when the process ends (flock(2))."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, how)
    except OSError:
        os.close(handle)
        raise
    return handle


def write_file(path: Path, content: bytes, modified_ms: int | None = None) -> None:
    """Write a file that was not there, mode 600, with this time stamp (ms since 1970)."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        if modified_ms is not None:
            os.utime(handle, ns=(modified_ms * 1_000_000, modified_ms * 1_000_000))


def read(path: Path) -> bytes:
    """A file's bytes; ValueError if it is no regular file, or too large to be ours."""
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size > FILE_BYTES:
            raise ValueError("not a file of ours")
        return file.read()


def read_part(path: Path, at: int, size: int) -> bytes:
    """`size` bytes from byte `at` on, or fewer at the end."""
    with _opened(path) as file:
        file.seek(at)
        return file.read(size)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading; a link or a pipe is refused."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("not a file of ours")
        yield file


def sync(path: Path) -> None:
    """Make a file durable, or the names in a folder: a rename lies in the folder (fsync(2))."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
