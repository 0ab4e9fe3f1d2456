"""Does the map show what the model used, and where the lesion is?

Pointing game (Zhang et al. 2018), energy in the mask (Wang et al. 2020), deletion and insertion
(Petsiuk et al. 2018) against random maps, and the randomisation check (Adebayo et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from models.build.calibrate import softmax
from models.build.evaluate.figures import Bootstrap, Report, mean_of, rounded
from models.build.packs import Images, Samples, as_input

TOLERANCE = 15
"""Pixels that the strongest point may lie outside the mask, as the pointing game is played."""
_STEPS = 12
_SAMPLED = 120
_BLUR = 12

Planes = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Logits = Callable[[Planes], Planes]
Maps = Callable[[Planes], tuple[Planes, Planes]]


@dataclass(frozen=True)
class Explained:
    """A model that explains itself.

    `maps` takes images (N, 1, R, C) and gives logits (N, L) and maps (N, L, h, w); `randomised`
    is the same network with its weights shuffled from the head down, by name of what was shuffled.
    """

    maps: Maps
    temperature: float
    randomised: dict[str, Maps]


def report_faithfulness(
    model: Explained, samples: Samples, negative: int, resamples: int, seed: int
) -> Report:
    """Every figure, on the images with a finding whose outline is known and which were recognised.

    The map is that of the finding. Deletion, insertion and the randomisation check are made on at
    most 120 of them, drawn by `seed`.
    """
    usable = np.flatnonzero(samples.masks.any(axis=(1, 2)) & (samples.labels != negative))
    logits, maps = _in_batches(model.maps, samples.images[usable])
    right = logits.argmax(axis=1) == samples.labels[usable]
    usable, heats = usable[right], _heats(maps[right], samples.labels[usable][right])
    chosen = samples.take(usable)
    if not len(chosen):
        return {"images": 0}
    placed = _placement(heats, chosen, Bootstrap(chosen.groups, resamples, seed))
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(chosen))[:_SAMPLED])
    part, part_heats = chosen.take(some), heats[some]
    return {
        "images": len(chosen),
        "of": len(right),
        "images_perturbed": len(some),
        "map_cells": list(heats.shape[1:]),
        **placed,
        **_perturbation(model, part, part_heats, rng),
        "randomisation": _randomisation(model, part, part_heats),
    }


def upsampled(heat: Planes, rows: int, columns: int) -> Planes:
    """A map (h, w) at the size of the image, bilinear."""
    return np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    )


def points_into(heat: Planes, mask: Mask, tolerance: int = TOLERANCE) -> bool:
    """Whether the strongest point of the map lies in the mask, or within the tolerance of it."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    top, left = max(0, int(row) - tolerance), max(0, int(column) - tolerance)
    near = mask[top : int(row) + tolerance + 1, left : int(column) + tolerance + 1]
    y, x = np.nonzero(near)
    away = (y + top - row) ** 2 + (x + left - column) ** 2
    return bool(away.size and away.min() <= tolerance**2)


def energy_in(heat: Planes, mask: Mask) -> float:
    """The share of the map's positive sum that lies in the mask; 0 of an empty map."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else 0.0


def _placement(heats: Planes, samples: Samples, bootstrap: Bootstrap) -> Report:
    rows, columns = samples.images.shape[1:]
    large = [upsampled(heat, rows, columns) for heat in heats]
    pairs = list(zip(large, samples.masks, strict=True))
    shares = samples.masks.mean(axis=(1, 2))
    return {
        "pointing_game": bootstrap(mean_of(np.array([points_into(h, m) for h, m in pairs]))),
        "pointing_game_exact": rounded(float(np.mean([points_into(h, m, 0) for h, m in pairs]))),
        "pointing_game_by_chance": rounded(float(np.mean([_grown(m) for m in samples.masks]))),
        "energy_in_mask": bootstrap(mean_of(np.array([energy_in(h, m) for h, m in pairs]))),
        "energy_by_chance": rounded(float(shares.mean())),
    }


def _grown(mask: Mask) -> float:
    """The share of the image's points that would win the pointing game."""
    grown = Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * TOLERANCE + 1))
    return float((np.asarray(grown) > 0).mean())


def _perturbation(
    model: Explained, samples: Samples, heats: Planes, rng: np.random.Generator
) -> Report:
    """Mean areas under both curves, of the map and of one random order of the same cells each."""
    sums: dict[str, list[float]] = {}
    for image, label, heat in zip(samples.images, samples.labels, heats, strict=True):
        chance = _chance(model, int(label))
        shuffled = rng.permutation(heat.ravel()).reshape(heat.shape)
        for name, order in (("", heat), ("_random", shuffled)):
            deleted, inserted = _curves(image, order, chance)
            sums.setdefault(f"deletion_auc{name}", []).append(deleted)
            sums.setdefault(f"insertion_auc{name}", []).append(inserted)
    return {name: rounded(float(np.mean(values))) for name, values in sums.items()}


def _chance(model: Explained, label: int) -> Callable[[Planes], npt.NDArray[np.float64]]:
    def chance(images: Planes) -> npt.NDArray[np.float64]:
        return softmax(model.maps(images)[0], model.temperature)[:, label]

    return chance


def _curves(
    image: Images, heat: Planes, chance: Callable[[Planes], npt.NDArray[np.float64]]
) -> tuple[float, float]:
    """Areas under deletion (strongest cells blanked first) and insertion (into a blurred image)."""
    ranks = np.empty(heat.size, np.int64)
    ranks[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    cells = ranks.reshape(heat.shape)
    down = np.arange(image.shape[0]) * heat.shape[0] // image.shape[0]
    across = np.arange(image.shape[1]) * heat.shape[1] // image.shape[1]
    rank = cells[np.ix_(down, across)]
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(_BLUR)))
    counts = np.linspace(0, heat.size, _STEPS + 1).round()
    deleted = np.stack([np.where(rank < count, 0, image) for count in counts])
    inserted = np.stack([np.where(rank < count, image, blurred) for count in counts])
    return _area(chance(as_input(deleted))), _area(chance(as_input(inserted)))


def _area(curve: npt.NDArray[np.float64]) -> float:
    return float(((curve[1:] + curve[:-1]) / 2).mean())


def _randomisation(model: Explained, samples: Samples, heats: Planes) -> Report:
    """Mean rank correlation of each map with that of the shuffled network; near 0 is wanted."""
    rows = {}
    for name, maps in model.randomised.items():
        other = _heats(_in_batches(maps, samples.images)[1], samples.labels)
        rows[name] = rounded(
            float(np.mean([_rank_correlation(a, b) for a, b in zip(heats, other, strict=True)]))
        )
    return rows


def _rank_correlation(one: Planes, other: Planes) -> float:
    """Spearman's; 0 for a map without any variation."""
    if not np.ptp(one) > 0 or not np.ptp(other) > 0:
        return 0.0
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(plane: Planes) -> npt.NDArray[np.float64]:
    """The rank of each value; equal ones share the mean of theirs."""
    _, place, counts = np.unique(plane, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.ravel()], np.float64)


def _heats(maps: Planes, labels: npt.NDArray[np.int64]) -> Planes:
    """What speaks for each image's label (N, h, w)."""
    return np.maximum(maps[np.arange(len(labels)), labels], 0)


def _in_batches(maps: Maps, images: Images) -> tuple[Planes, Planes]:
    parts = [maps(as_input(images[start : start + 16])) for start in range(0, len(images), 16)]
    logits, made = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(made)
