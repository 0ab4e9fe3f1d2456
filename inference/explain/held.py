"""Which images of a series stay for the eye once it is answered: bounded, none copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference.analysis import ModelResult, SeriesImages
from inference.limits import MIB
from models.contract import ImageSlice

MOST_SLICES = 300
MOST_BYTES = 256 * MIB


def held_images(
    series_uid: str, images: Sequence[ImageSlice], results: Iterable[ModelResult]
) -> SeriesImages:
    """Hold every image of a short series; of a long one those that decide, and others between.

    `images` are in anatomical order. Half of the room is for the slices that answers rest on, the
    rest is spread evenly over the series.
    """
    numbers = _chosen(len(images), list(results), _room(images))
    return SeriesImages(series_uid, tuple(images[n - 1] for n in numbers), numbers, len(images))


def _room(images: Sequence[ImageSlice]) -> int:
    largest = max((image.pixels.nbytes for image in images), default=1)
    return max(1, min(MOST_SLICES, MOST_BYTES // max(1, largest)))


def _chosen(count: int, results: Sequence[ModelResult], room: int) -> tuple[int, ...]:
    everything = range(1, count + 1)
    if count <= room:
        return tuple(everything)
    deciding = [r.deciding_slice for r in results if r.deciding_slice is not None]
    used = sorted({number for r in results for number in r.slices_used})
    ordered = [*deciding, *_spread(used, room // 2), *_spread(everything, room)]
    return tuple(sorted(list(dict.fromkeys(ordered))[:room]))


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """At most `most` of the numbers, evenly, the first and the last among them.

    They come coarse before fine, so that any beginning of the list is spread as well.
    """
    if len(numbers) <= most:
        picked = list(numbers)
    else:
        last = max(1, most - 1)
        picked = [numbers[round(i * (len(numbers) - 1) / last)] for i in range(most)]
    return [picked[i] for i in sorted(range(len(picked)), key=_fineness)]


def _fineness(index: int) -> tuple[int, int]:
    """Multiples of high powers of two first (0 is one of every power)."""
    return (-(index & -index) if index else -(1 << 60), index)
