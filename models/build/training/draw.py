"""What one epoch sees: which images, how changed, in which order, the same at every run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from models.build.augment import AUGMENTATIONS, augment
from models.build.counterfactual import heal, neutral, transplant
from models.build.packs import NONE, Samples
from models.build.recipe import Recipe
from models.contract import FloatArray

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """B changed images: `images` float32 (B, 1, S, S) in 0..1 and `labels` int64 (B,).

    `masks` is float32 (B, S, S), the share of each pixel inside the outline; only where `masked`,
    bool (B,), is an outline known. `indices` int64 (B,) says which sample of the split it is; NONE
    where a lesion was moved in or out, so that it is none of them.
    """

    images: FloatArray
    labels: npt.NDArray[np.int64]
    masks: FloatArray
    masked: npt.NDArray[np.bool_]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Example:
    """One sample; its mask is bool before augmentation, and uint8 with soft edges after."""

    image: Plane
    label: int
    mask: npt.NDArray[np.bool_ | np.uint8]
    masked: bool
    index: int


def steps_of(samples: Samples, recipe: Recipe) -> int:
    """Batches in an epoch; every batch is full, for batch norms' sake."""
    return max(1, len(samples) // recipe.train.batch)


def negative_label(recipe: Recipe) -> int:
    """What an image without any finding is labelled."""
    if recipe.task == "segmentation" or recipe.data.negative is None:
        return NONE
    return recipe.data.keys.index(recipe.data.negative)


def batches(
    samples: Samples, recipe: Recipe, cycle: int, epoch: int, workers: int = 1
) -> Iterator[Batch]:
    """The batches of one epoch, made ahead in `workers` threads (Pillow lets go of the GIL).

    Which images come, in which order and how changed depends on the recipe's seed, the cycle, the
    epoch and the place in it alone: not on threads, nor on a run having been resumed.
    """
    order = drawn_order(samples, recipe, np.random.default_rng((recipe.seed, cycle, epoch)))
    size, batch = recipe.train.cycles[cycle].sizes[epoch], recipe.train.batch

    def make(step: int) -> Batch:
        rng = np.random.default_rng((recipe.seed, cycle, epoch, step))
        chosen = order[step * batch : (step + 1) * batch]
        return _stacked([_varied(samples, int(index), size, recipe, rng) for index in chosen])

    with ThreadPoolExecutor(workers) as pool:
        steps = iter(range(steps_of(samples, recipe)))
        waiting: deque[Future[Batch]] = deque(
            pool.submit(make, step) for step in islice(steps, 2 * workers)
        )
        while waiting:
            ready = waiting.popleft().result()
            waiting.extend(pool.submit(make, step) for step in islice(steps, 1))
            yield ready


def drawn_order(
    samples: Samples, recipe: Recipe, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of the samples of one epoch, shuffled, each label with its share of them.

    A label's samples all come once before any comes again. Images without a label are a stratum
    of their own, the last.
    """
    labels = [*range(len(recipe.data.labels)), NONE]
    pools = [np.flatnonzero(samples.labels == label) for label in labels]
    pools = [pool for pool in pools if len(pool)]
    count = steps_of(samples, recipe) * recipe.train.batch
    shares = np.array(recipe.train.class_shares or [1.0] * len(pools))
    ends = np.rint(np.cumsum(shares) / shares.sum() * count).astype(int)
    counts = np.diff(ends, prepend=0)
    order = np.concatenate(
        [_repeated(pool, int(wanted), rng) for pool, wanted in zip(pools, counts, strict=True)]
    )
    rng.shuffle(order)
    return order


def _repeated(
    pool: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    rounds = [rng.permutation(pool) for _ in range(-(-count // len(pool)))]
    return np.concatenate([*rounds, pool[:0]])[:count]


def _varied(
    samples: Samples, index: int, size: int, recipe: Recipe, rng: np.random.Generator
) -> _Example:
    """One sample as the network is to see it now."""
    example = counterfactual(samples, index, recipe, rng)
    style = samples.images[int(rng.integers(len(samples)))]
    image, mask = augment(
        example.image,
        example.mask.astype(np.uint8) * 255,
        style,
        size,
        AUGMENTATIONS[recipe.train.augmentation],
        rng,
        strong=rng.random() < recipe.train.strong,
    )
    return _Example(image, example.label, mask, example.masked, example.index)


def counterfactual(
    samples: Samples, index: int, recipe: Recipe, rng: np.random.Generator
) -> _Example:
    """A sample, now and then with a lesion moved in or out, and the outline and label to match."""
    image, mask, label = samples.images[index], samples.masks[index], int(samples.labels[index])
    masked, negative = bool(samples.masked[index]), negative_label(recipe)
    same = _Example(image, label, mask, masked, index)
    chance, other = rng.random(), int(rng.integers(len(samples)))
    if not masked:
        return same
    if label == negative and chance < recipe.train.transplant:
        moved = transplant(image, samples.images[other], samples.masks[other], rng)
        return (
            _Example(moved[0], int(samples.labels[other]), moved[1], True, NONE) if moved else same
        )
    if label != negative and chance < recipe.train.heal:
        healed = heal(image, mask, rng)
        return same if healed is None else _Example(healed, negative, mask & False, True, NONE)
    if chance > 1 - recipe.train.heal:
        seamed = neutral(image, mask, samples.masks[other], rng)
        return same if seamed is None else _Example(seamed, label, mask, masked, NONE)
    return same


def _stacked(examples: list[_Example]) -> Batch:
    images = np.stack([example.image for example in examples])[:, np.newaxis]
    masks = np.stack([example.mask for example in examples])
    scale = np.float32(1 / 255)
    return Batch(
        np.multiply(images, scale, dtype=np.float32),
        np.array([example.label for example in examples], np.int64),
        np.multiply(masks, scale, dtype=np.float32),
        np.array([example.masked for example in examples]),
        np.array([example.index for example in examples], np.int64),
    )
