from __future__ import annotations

import struct

import pytest

from inference.encapsulation import frames_of
from inference.errors import UndecodablePixels

SOI = b"\xff\xd8"


def _value(
    fragments: list[bytes], table: list[int] | None = None, delimiter: bool = True
) -> memoryview:
    offsets = struct.pack(f"<{len(table or [])}I", *(table or []))
    items = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (offsets, *fragments)
    )
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if delimiter else b""
    return memoryview(items + end)


@pytest.mark.parametrize("delimiter", [True, False])
def test_all_fragments_of_a_single_frame_belong_together(delimiter: bool) -> None:
    assert frames_of(_value([b"ab", b"cd"], delimiter=delimiter), 1) == [b"abcd"]


def test_as_many_fragments_as_frames_is_one_each() -> None:
    assert frames_of(_value([b"ab", b"cd"]), 2) == [b"ab", b"cd"]


def test_the_basic_offset_table_says_where_frames_begin() -> None:
    assert frames_of(_value([b"ab", b"cd", b"ef"], [0, 20]), 2) == [b"abcd", b"ef"]


def test_the_extended_offset_table_says_it_too() -> None:
    assert frames_of(_value([b"ab", b"cd", b"ef"]), 2, [0, 10]) == [b"ab", b"cdef"]


def test_without_a_table_a_frame_begins_where_a_codestream_does() -> None:
    fragments = [SOI + b"a", b"bb", SOI + b"c"]
    assert frames_of(_value(fragments), 2) == [SOI + b"abb", SOI + b"c"]


@pytest.mark.parametrize(
    ("value", "frames"),
    [
        (_value([]), 1),
        (memoryview(b""), 1),
        (_value([b"ab", b"cd", b"ef"]), 2),
        (_value([b"ab"]), 2),
        (_value([b"ab", b"cd", b"ef"], [0, 999]), 2),
    ],
)
def test_frames_that_cannot_be_told_apart_are_undecodable(value: memoryview, frames: int) -> None:
    with pytest.raises(UndecodablePixels) as caught:
        frames_of(value, frames)
    assert caught.value.reason == "frames"


def test_a_fragment_that_reaches_past_the_end_is_truncated() -> None:
    with pytest.raises(UndecodablePixels) as caught:
        frames_of(_value([b"abcdefgh"], delimiter=False)[:-2], 1)
    assert caught.value.reason == "truncated"
