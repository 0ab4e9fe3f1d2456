"""The images that activation ranges are measured on: every class, easy and hard alike.

Ranges measured on clean images alone clip what noise and blur do to the first layers, and an image
of a class that is missing may leave every range; so the set is balanced over both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.build.packs import NONE, Images, Samples

Change = Callable[[Images, np.random.Generator], Images]
_AIR = 12  # prepared images: what is darker is background, and stays as it is


@dataclass(frozen=True)
class CalibrationSet:
    """`images` uint8 (N, R, C); `labels` int64 (N,) as in Samples; the difficulty of each."""

    images: Images
    labels: npt.NDArray[np.int64]
    difficulties: tuple[str, ...]

    def counts(self, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many images there are by class and difficulty, for the report.

        An image without the structure (label NONE) is counted as "none".
        """
        names = [keys[label] if label != NONE else "none" for label in self.labels]
        table = {name: dict.fromkeys(DIFFICULTIES, 0) for name in sorted(set(names))}
        for name, difficulty in zip(names, self.difficulties, strict=True):
            table[name][difficulty] += 1
        return table


def calibration_set(samples: Samples, count: int, seed: int) -> CalibrationSet:
    """Draw about `count` images of `samples`, alike many of each class and difficulty.

    The difficult ones are made of the images drawn. A class with fewer images gives all of them,
    some with several difficulties. The same seed draws the same set.
    """
    rng = np.random.default_rng((seed, 8))
    classes = np.unique(samples.labels)
    each = max(len(DIFFICULTIES), -(-count // len(classes)))
    images, labels, difficulties = [], [], []
    for label in classes:
        members = rng.permutation(np.flatnonzero(samples.labels == label))
        for number, index in enumerate(np.resize(members, each)):
            name = tuple(DIFFICULTIES)[number % len(DIFFICULTIES)]
            images.append(DIFFICULTIES[name](samples.images[index], rng))
            labels.append(label)
            difficulties.append(name)
    return CalibrationSet(np.stack(images), np.array(labels, np.int64), tuple(difficulties))


def clean(image: Images, rng: np.random.Generator) -> Images:
    """The image as it is."""
    return image


def low_contrast(image: Images, rng: np.random.Generator) -> Images:
    """Draw the grey levels of the tissue together, to 35 to 65 % of their spread."""
    tissue = image > _AIR
    if not tissue.any():
        return image
    middle = float(np.median(image[tissue]))
    flat = middle + (image.astype(np.float32) - middle) * rng.uniform(0.35, 0.65)
    return np.where(tissue, np.clip(np.rint(flat), 0, 255), image).astype(np.uint8)


def motion_blurred(image: Images, rng: np.random.Generator) -> Images:
    """Average over a path of 5 to 11 pixels along the rows or along the columns."""
    axis, length = int(rng.integers(0, 2)), int(rng.integers(2, 6)) * 2 + 1
    margin = [(0, 0), (0, 0)]
    margin[axis] = (length // 2, length // 2)
    padded = np.pad(image.astype(np.float32), margin, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=axis)
    return np.asarray(np.rint(windows.mean(axis=-1)), np.uint8)


def noisy(image: Images, rng: np.random.Generator) -> Images:
    """Add Rician noise of 8 to 20 grey levels: the magnitude of a complex signal."""
    sigma = rng.uniform(8, 20)
    real = image + rng.standard_normal(image.shape, np.float32) * sigma
    imaginary = rng.standard_normal(image.shape, np.float32) * sigma
    return np.asarray(np.clip(np.rint(np.hypot(real, imaginary)), 0, 255), np.uint8)


DIFFICULTIES: Mapping[str, Change] = {
    "clean": clean,
    "low contrast": low_contrast,
    "motion-blurred": motion_blurred,
    "noisy": noisy,
}
