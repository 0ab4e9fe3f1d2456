"""A mask -> closed lines along the edges of its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.contract import FloatArray

Mask = npt.NDArray[np.bool_]
_Integers = npt.NDArray[np.int64]

# directions of travel with the inside on the right hand: east, south, west, north
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (down, across)


def contours_of(mask: Mask) -> tuple[FloatArray, ...]:
    """Every closed line between inside and outside of a mask (rows, columns).

    Each is float32 (corners, 2), (column, row), in pixels whose centres are whole numbers; the
    first corner follows the last. Outer lines run clockwise as seen on the screen, lines around
    holes the other way, so that their signed areas (`signed_area`) add up to the number of pixels.
    Pixels that meet at a corner only do not belong together.
    """
    if not mask.any():
        return ()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inner = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    width = inner.shape[1] + 1
    return tuple(
        np.stack((line % width + left, line // width + top), axis=-1).astype(np.float32)
        - np.float32(0.5)
        for line in _lines(*_edges(inner), width)
    )


def signed_area(contour: FloatArray) -> float:
    """The area within a contour in pixels, below zero where it runs around a hole."""
    x, y = contour.T.astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _edges(mask: Mask) -> tuple[_Integers, _Integers]:
    """The corner at which each edge begins, and its direction; corners count row by row."""
    padded = np.pad(mask, 1)
    here = padded[1:, 1:], padded[1:, :-1], padded[:-1, :-1], padded[:-1, 1:]
    # an edge that leaves a corner has its pixel on the right and none on the left
    begins = [here[i] & ~here[i - 1] for i in range(4)]
    found = [np.flatnonzero(edge) for edge in begins]
    directions = np.repeat(np.arange(4), [len(corners) for corners in found])
    return np.concatenate(found), directions


def _lines(corners: _Integers, directions: _Integers, width: int) -> Iterator[_Integers]:
    """Follow the edges until each has been walked once; only corners that turn are kept."""
    following = _next_edges(corners, directions, width)
    turns = (directions[following] != directions).tolist()
    reached, onwards = corners[following].tolist(), following.tolist()
    walked = bytearray(len(onwards))
    for start in range(len(onwards)):
        line = []
        edge = start
        while not walked[edge]:
            walked[edge] = 1
            if turns[edge]:
                line.append(reached[edge])
            edge = onwards[edge]
        if line:
            yield np.array(line)


def _next_edges(corners: _Integers, directions: _Integers, width: int) -> _Integers:
    """Which edge follows each: where two leave the same corner, the one that turns right."""
    steps = np.array([down * width + across for down, across in _STEPS])
    ends = corners + steps[directions]
    keys = corners * 4 + directions
    order = np.argsort(keys)
    ordered = keys[order]
    following = np.full(len(keys), -1)
    for turn in (1, 0, 3):  # right, straight on, left
        wanted = ends * 4 + (directions + turn) % 4
        place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        take = (following < 0) & (ordered[place] == wanted)
        following[take] = order[place[take]]
    return following
