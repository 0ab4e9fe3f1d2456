"""What every test may use, and how much memory it may take."""

from __future__ import annotations

import resource

pytest_plugins = ["tests.peers.fixtures"]

MOST_MEMORY_BYTES = 8 << 30


def pytest_configure() -> None:
    """A test that runs away ends in a MemoryError that names it; the machine lives on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > MOST_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, hard))
