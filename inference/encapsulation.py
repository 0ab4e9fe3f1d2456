"""Encapsulated pixel data -> the encoded bytes of each frame (PS3.5 A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct

from inference.errors import UndecodablePixels

_ITEM_HEADER = Struct("<HHI")
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")  # JPEG and JPEG-LS, J2K, JP2


def frames_of(
    value: memoryview, frames: int, extended_offsets: Sequence[int] | None = None
) -> list[bytes]:
    """Split the value of an encapsulated Pixel Data element into `frames` codestreams.

    `extended_offsets` is the Extended Offset Table (7FE0,0001), if there is one.
    Raises UndecodablePixels when an item reaches past the end, or when the fragments
    cannot be told apart into exactly that many frames.
    """
    table, fragments = _items(value)
    groups = _grouped(fragments, frames, extended_offsets or table)
    if len(groups) != frames or not all(groups):
        raise UndecodablePixels("The frames of the image cannot be told apart.", "frames")
    return [group[0] if len(group) == 1 else b"".join(group) for group in groups]


def _items(value: memoryview) -> tuple[list[int], list[tuple[int, bytes]]]:
    """The Basic Offset Table, and each fragment with its offset from the first one."""
    table: list[int] = []
    fragments: list[tuple[int, bytes]] = []
    position, first = 0, -1
    while position + 8 <= len(value):
        group, element, length = _ITEM_HEADER.unpack_from(value, position)
        if (group, element) == _DELIMITER:
            break
        if (group, element) != _ITEM or position + 8 + length > len(value):
            raise UndecodablePixels("The pixel data ends inside a fragment.", "truncated")
        content = bytes(value[position + 8 : position + 8 + length])
        if first < 0:
            table = list(memoryview(content[: length // 4 * 4]).cast("I"))
            first = position + 8 + length
        else:
            fragments.append((position - first, content))
        position += 8 + length
    return table, fragments


def _grouped(
    fragments: list[tuple[int, bytes]], frames: int, offsets: Sequence[int]
) -> list[list[bytes]]:
    contents = [content for _, content in fragments]
    if frames == 1:
        return [contents]
    if len(fragments) == frames:
        return [[content] for content in contents]
    if len(offsets) == frames:
        bounds = [*offsets, float("inf")]
        return [
            [content for at, content in fragments if start <= at < end]
            for start, end in pairwise(bounds)
        ]
    return _by_start(contents)


def _by_start(contents: list[bytes]) -> list[list[bytes]]:
    """Without a table, a new frame begins where a codestream does (PS3.5 A.4.2 to A.4.4)."""
    groups: list[list[bytes]] = []
    for content in contents:
        if content.startswith(_STARTS) or not groups:
            groups.append([])
        groups[-1].append(content)
    return groups
