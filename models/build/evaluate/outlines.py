"""What an outline is worth: overlap, misses, and outlines where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from models.build.calibrate import fit_pixel_temperature, sigmoid
from models.build.evaluate.figures import (
    Bootstrap,
    Report,
    Rows,
    expected_calibration_error,
    mean_of,
    reliability,
    rounded,
    rounded_rows,
    share,
)
from models.build.evaluate.left_out import report_left_out
from models.build.evaluate.regions import Regions, regions_of
from models.build.packs import Samples
from models.manifest import Outline
from models.outlines import Mask, kept_regions

_THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
_SMALLEST = (0.0, 0.0003, 0.0006, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006)
_PIXELS = 2_000_000

Planes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OutlineOperating:
    """How mask logits become an outline: `parts` largest regions of at least the smallest area.

    `threshold` is the calibrated probability of a pixel, `min_area_fraction` is of the frame.
    """

    temperature: float
    threshold: float
    min_area_fraction: float
    parts: int


def choose_outline(logits: Planes, masks: npt.NDArray[np.bool_], parts: int) -> OutlineOperating:
    """Temperature, threshold and smallest region on validation logits and masks, both (N, h, w).

    The pair of the best mean Dice, where each hundredth of images that are missed, or outlined
    though there is nothing, costs as much as a hundredth of Dice.
    """
    temperature = fit_pixel_temperature(logits, masks)
    best, chosen = -np.inf, OutlineOperating(temperature, 0.5, 0.0, parts)
    for threshold in _THRESHOLDS:
        found = list(_regions(logits, masks, temperature, threshold))
        for smallest in _SMALLEST:
            merit = _merit([one.kept(smallest, parts) for one in found])
            if merit > best:
                best = merit
                chosen = OutlineOperating(temperature, threshold, smallest, parts)
    return chosen


def outlined(logits: Planes, masks: npt.NDArray[np.bool_], how: OutlineOperating) -> list[Regions]:
    """The regions kept on each image (N, h, w), against its true mask."""
    found = _regions(logits, masks, how.temperature, how.threshold)
    return [one.kept(how.min_area_fraction, how.parts) for one in found]


def served_outlines(logits: Planes, how: OutlineOperating) -> Iterator[Mask]:
    """What is outlined on each image (N, h, w), as it will be served."""
    kept = Outline(how.min_area_fraction, "area", how.parts)
    for plane in logits:
        yield kept_regions(_above(plane, how.temperature, how.threshold), kept)


def report_outlines(
    logits: Planes,
    samples: Samples,
    masks: npt.NDArray[np.bool_],
    how: OutlineOperating,
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> Report:
    """Every figure of one split; images of which no outline is known are left out.

    `masks` are those of the samples at the size of the logits (N, h, w); `labels` are the strata.
    """
    known = samples.masked
    found = outlined(logits[known], masks[known], how)
    groups = tuple(g for g, k in zip(samples.groups, known, strict=True) if k)
    bootstrap = Bootstrap(groups, resamples, seed)
    dice = np.array([one.dice for one in found])
    there = np.array([one.truth > 0 for one in found])
    missed, false = (np.array([getattr(one, n) for one in found]) for n in ("missed", "false"))
    chances = sigmoid(logits[known], how.temperature)
    return {
        "images": len(found),
        "groups": bootstrap.groups,
        "with_structure": int(there.sum()),
        "without_structure": int((~there).sum()),
        "dice": bootstrap(partial(_mean_where, dice, there)),
        "dice_5th_percentile": bootstrap(partial(_fifth_where, dice, there)),
        "dice_median": rounded(float(np.median(dice[there]))),
        "missed": bootstrap(partial(_mean_where, missed.astype(float), there)),
        "false_outlines": bootstrap(partial(_mean_where, false.astype(float), ~there))
        if (~there).any()
        else None,
        "per_class": _per_class(dice, missed, samples.labels[known], there, labels, bootstrap),
        "per_size": _per_size(found, dice, missed, there),
        "area_error": _area_error(found),
        "left_out": report_left_out(_pairs(logits[known], masks[known], how), dice, there),
        "dice_histogram": [int(c) for c in np.histogram(dice[there], 20, (0, 1))[0]],
    } | _pixels(chances, masks[known])


def _pixels(chances: Planes, masks: npt.NDArray[np.bool_]) -> Report:
    """How well the probability of a pixel is calibrated, over about two million of them."""
    step = max(1, chances.size // _PIXELS)
    some, truth = chances.ravel()[::step].astype(np.float64), masks.ravel()[::step]
    return {
        "ece": rounded(expected_calibration_error(some, truth)),
        "reliability": rounded_rows(reliability(some, truth)),
    }


def at_size(masks: npt.NDArray[np.bool_], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Masks (N, R, C) at (N, rows, columns), by halves of whole blocks."""
    if masks.shape[1:] == (rows, columns):
        return masks
    down, across = masks.shape[1] // rows, masks.shape[2] // columns
    blocks = masks[:, : rows * down, : columns * across]
    shares = blocks.reshape(len(masks), rows, down, columns, across).mean(axis=(2, 4))
    return np.asarray(shares >= 0.5)


def _regions(
    logits: Planes, masks: npt.NDArray[np.bool_], temperature: float, threshold: float
) -> Iterator[Regions]:
    for plane, mask in zip(logits, masks, strict=True):
        yield regions_of(_above(plane, temperature, threshold), mask)


def _pairs(
    logits: Planes, masks: npt.NDArray[np.bool_], how: OutlineOperating
) -> Iterator[tuple[Mask, Mask]]:
    """What is outlined on each image, and its true mask."""
    yield from zip(served_outlines(logits, how), masks, strict=True)


def _above(plane: Planes, temperature: float, threshold: float) -> Mask:
    return np.asarray(plane >= temperature * np.log(threshold / (1 - threshold)))


def _merit(found: Sequence[Regions]) -> float:
    there = [one for one in found if one.truth]
    empty = [one for one in found if not one.truth]
    dice = float(np.mean([one.dice for one in there])) if there else 0.0
    missed = float(np.mean([one.missed for one in there])) if there else 0.0
    false = float(np.mean([one.false for one in empty])) if empty else 0.0
    return dice - missed - false


def _mean_where(values: npt.NDArray[np.float64], where: npt.NDArray[np.bool_], rows: Rows) -> float:
    return mean_of(values)(rows[where[rows]])


def _fifth_where(
    values: npt.NDArray[np.float64], where: npt.NDArray[np.bool_], rows: Rows
) -> float:
    chosen = rows[where[rows]]
    return float(np.percentile(values[chosen], 5)) if chosen.size else float("nan")


def _per_class(
    dice: npt.NDArray[np.float64],
    missed: npt.NDArray[np.bool_],
    strata: npt.NDArray[np.int64],
    there: npt.NDArray[np.bool_],
    labels: Sequence[str],
    bootstrap: Bootstrap,
) -> Report:
    rows = {}
    for index, name in enumerate(labels):
        chosen = (strata == index) & there
        if chosen.any():
            rows[name] = {
                "images": int(chosen.sum()),
                "dice": bootstrap(partial(_mean_where, dice, chosen)),
                "missed": share(missed[chosen]),
            }
    return rows


def _per_size(
    found: Sequence[Regions],
    dice: npt.NDArray[np.float64],
    missed: npt.NDArray[np.bool_],
    there: npt.NDArray[np.bool_],
) -> Report:
    """Thirds by the true area; `up_to` is the largest area of the third, of the frame."""
    sizes = np.array([one.truth / one.frame for one in found])
    small, large = np.quantile(sizes[there], (1 / 3, 2 / 3))
    thirds = {
        "small": there & (sizes <= small),
        "medium": there & (sizes > small) & (sizes <= large),
        "large": there & (sizes > large),
    }
    return {
        name: {
            "images": int(chosen.sum()),
            "up_to": rounded(float(sizes[chosen].max())),
            "dice": rounded(float(dice[chosen].mean())),
            "missed": share(missed[chosen]),
        }
        for name, chosen in thirds.items()
        if chosen.any()
    }


def _area_error(found: Sequence[Regions]) -> Report:
    """Outlined over true area, less one, where something was outlined: median and spread."""
    ratios = [sum(one.areas) / one.truth - 1 for one in found if one.truth and one.areas]
    if not ratios:
        return {"median": None, "low": None, "high": None}
    low, middle, high = np.percentile(ratios, (5, 50, 95))
    return {"median": rounded(middle), "low": rounded(low), "high": rounded(high)}
