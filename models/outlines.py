"""A mask -> the structures that are outlined: one definition for measuring and for serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.manifest_parts import Outline

Mask = npt.NDArray[np.bool_]
_Integers = npt.NDArray[np.int64]


def kept_regions(mask: Mask, outline: Outline) -> Mask:
    """What `outline` keeps of a mask (rows, columns) at the size of the model's frame.

    The `parts` largest of those regions that are at least `min_area_fraction` of the frame; of two
    that are equal, the one that begins further up.
    """
    labels, areas = label_regions(mask)
    smallest = outline.min_area_fraction * mask.size
    by_size = np.argsort(-areas, kind="stable")[: outline.parts]
    return np.isin(labels, 1 + by_size[areas[by_size] >= smallest])


def label_regions(mask: Mask) -> tuple[_Integers, _Integers]:
    """Number the connected regions of a mask; pixels that share an edge belong together.

    The answer is int64 (rows, columns), 0 outside and 1, 2, ... in reading order of each region's
    first pixel, and the area of each in pixels. Works on runs of rows, not on pixels, so that time
    grows with the length of the outlines, not with the area or the number of regions.
    """
    starts, ends = _runs(mask)
    joined = _joined(len(starts), *_touching(starts, ends, mask.shape[1] + 1))
    _, region = np.unique(joined, return_inverse=True)
    lengths = ends - starts
    areas = np.bincount(region, weights=lengths).astype(np.int64)
    labels = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int64)
    labels.ravel()[_spread(starts, lengths)] = np.repeat(region + 1, lengths)
    return labels[:, :-1], areas


def _runs(mask: Mask) -> tuple[_Integers, _Integers]:
    """First and one past the last position of every run, counted over rows of one column more."""
    edged = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int8)
    edged[:, :-1] = mask
    steps = np.diff(edged.ravel(), prepend=np.int8(0))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def _touching(starts: _Integers, ends: _Integers, row: int) -> tuple[_Integers, _Integers]:
    """Pairs of runs that touch: one, and one in the next row with a column in common."""
    first = np.searchsorted(ends, starts + row, side="right")
    counts = np.maximum(np.searchsorted(starts, ends + row, side="left") - first, 0)
    return np.repeat(np.arange(len(starts)), counts), _spread(first, counts)


def _spread(first: _Integers, counts: _Integers) -> _Integers:
    """`counts[i]` numbers that go up from `first[i]`, for every i, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


def _joined(count: int, one: _Integers, other: _Integers) -> npt.NDArray[Any]:
    """The lowest number among those connected with each of `count` things.

    Each root takes the lowest root it touches, then every chain of roots is followed to its end,
    until nothing changes: a few rounds, each over whole arrays.
    """
    root = np.arange(count)
    while not np.array_equal(root[one], root[other]):
        low = np.minimum(root[one], root[other])
        high = np.maximum(root[one], root[other])
        np.minimum.at(root, high, low)
        while not np.array_equal(root, root[root]):
            root = root[root]
    return root
