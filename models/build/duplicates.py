"""Near-copies across splits, mirrored or not: the same picture must not be learnt and examined.

Pictures are compared by their edges, at 64 x 64 pixels: the correlation of what is left when the
neighbourhood's mean is taken away. It outlives another contrast, compression, size and sharpening,
and tells apart what merely looks alike, as one chest radiograph does another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.build.errors import LeakError
from models.build.packs import Images, Samples
from models.build.recipe import DataRecipe

SAME = 0.85
"""From this correlation of edges up two pictures are copies of one."""
_SIDE, _NEIGHBOURHOOD = 64, 3
_BLOCK = 1024
Prints = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two pictures, each by its split and file; `likeness` is the correlation of their edges."""

    splits: tuple[str, str]
    files: tuple[str, str]
    likeness: float
    mirrored: bool


@dataclass(frozen=True)
class Parted:
    """The splits to build from, the pairs found in those read, and how many images were left out.

    `left_out` counts them by split.
    """

    splits: dict[str, Samples]
    pairs: tuple[Pair, ...]
    left_out: dict[str, int]


def find_copies(splits: Mapping[str, Samples], same: float = SAME) -> tuple[Pair, ...]:
    """Every pair of near-copies that two splits share, the most alike first."""
    prints = {name: edge_prints(samples.images) for name, samples in splits.items()}
    mirrors = {name: edge_prints(samples.images[:, :, ::-1]) for name, samples in splits.items()}
    pairs = [
        pair
        for one, other in combinations(splits, 2)
        for mirrored, first in ((False, prints[one]), (True, mirrors[one]))
        for pair in _pairs(splits, (one, other), first, prints[other], same, mirrored=mirrored)
    ]
    return tuple(sorted(_best(pairs).values(), key=lambda pair: -pair.likeness))


def part(splits: Mapping[str, Samples], data: DataRecipe) -> Parted:
    """See to it that no two splits share a picture, as the recipe says.

    With `copies = "leave out"` one picture of each pair goes: the external split's first (it would
    not be from elsewhere), then the training's, so that `test` stays whole. Otherwise `train` and
    `test` may share no more pairs than are tolerated. Raises LeakError, naming a pair.
    """
    pairs = find_copies(splits)
    if data.copies == "leave out":
        order = (data.external, "train", "val", "test")
        gone = {min(zip(pair.splits, pair.files, strict=True), key=_rank(order)) for pair in pairs}
        kept = {name: _without(samples, name, gone) for name, samples in splits.items()}
        return Parted(kept, pairs, {name: len(splits[name]) - len(kept[name]) for name in kept})
    leaks = [pair for pair in pairs if set(pair.splits) == {"train", "test"}]
    if len(leaks) > data.tolerated_copies:
        raise LeakError(
            f"{data.pack}.csv: the splits train and test share {len(leaks)} near-copies, "
            f"{data.tolerated_copies} tolerated; the nearest are {' and '.join(leaks[0].files)}."
        )
    return Parted(dict(splits), pairs, dict.fromkeys(splits, 0))


def _rank(order: Sequence[str | None]) -> Callable[[tuple[str, str]], int]:
    return lambda place: order.index(place[0])


def _without(samples: Samples, name: str, gone: set[tuple[str, str]]) -> Samples:
    kept = [index for index, file in enumerate(samples.files) if (name, file) not in gone]
    return samples if len(kept) == len(samples) else samples.take(kept)


def edge_prints(images: Images) -> Prints:
    """Float32 (N, 4096): each picture's edges, of mean 0 and length 1 (all 0 where it has none)."""
    prints = np.stack([_edges(image) for image in images]).reshape(len(images), -1)
    prints -= prints.mean(1, keepdims=True)
    lengths = np.linalg.norm(prints, axis=1, keepdims=True)
    return np.asarray(prints / np.where(lengths > 0, lengths, 1), np.float32)


def _edges(image: Images) -> Prints:
    picture = Image.fromarray(np.ascontiguousarray(image))
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    ground = small.filter(ImageFilter.BoxBlur(_NEIGHBOURHOOD))
    return np.asarray(small, np.float32) - np.asarray(ground, np.float32)


def _pairs(
    splits: Mapping[str, Samples],
    names: tuple[str, str],
    first: Prints,
    second: Prints,
    same: float,
    *,
    mirrored: bool,
) -> list[Pair]:
    one, other = (splits[name] for name in names)
    pairs = []
    for start in range(0, len(first), _BLOCK):  # a block at a time: the whole may be gigabytes
        likeness = first[start : start + _BLOCK] @ second.T
        for row, column in np.argwhere(likeness >= same):
            files = (one.files[start + row], other.files[column])
            pairs.append(Pair(names, files, float(likeness[row, column]), mirrored))
    return pairs


def _best(pairs: list[Pair]) -> dict[tuple[str, str], Pair]:
    """Each two files once: a symmetrical head is its own mirror image."""
    best: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        known = best.get(pair.files)
        if known is None or pair.likeness > known.likeness:
            best[pair.files] = pair
    return best
