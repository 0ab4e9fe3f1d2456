"""What the system says of itself is read into a value."""

from __future__ import annotations

import pytest

from inference.machine import CPU, free_memory_of, instructions_of, look_at_machine

MEMINFO = "MemTotal:       4028916 kB\nMemFree: 100 kB\nMemAvailable:    2000 kB\n"


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_vnni sse amx_int8\n", ("AVX512-VNNI", "AMX")),
        ("flags : avx_vnni\n\nprocessor : 1\nflags : avx512_vnni\n", ("AVX-VNNI",)),
        ("Features\t: fp asimd asimddp\n", ("NEON dot product",)),
        ("flags : avx2 avx_vnni_int8 not_avx512_vnni\n", ()),
        ("", ()),
    ],
)
def test_the_eight_bit_instructions_are_found(cpuinfo: str, found: tuple[str, ...]) -> None:
    assert instructions_of(cpuinfo) == found


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [
        ("", "", 2000 * 1024),
        ("max\n", "5\n", 2000 * 1024),
        ("1000\n", "400\n", 600),
        ("1000\n", "4000\n", 0),
        ("9999999999\n", "1\n", 2000 * 1024),
    ],
)
def test_free_memory_is_what_the_container_has_left(limit: str, used: str, free: int) -> None:
    assert free_memory_of(MEMINFO, limit, used) == free


def test_a_system_that_does_not_say_is_not_guessed() -> None:
    assert free_memory_of("") is None
    assert free_memory_of("MemAvailable: much\n") is None


def test_this_machine_can_be_looked_at() -> None:
    machine = look_at_machine()
    assert machine.providers[-1] == CPU
    assert machine.free_memory_bytes is None or machine.free_memory_bytes > 0
