"""Lesions moved between sources, so that a network cannot learn the source instead of the lesion.

Every tumour of the training data comes from two hospitals and every image without a tumour from
elsewhere. Transplanting lesions into the tumour-free images, and healing small ones by healthy
tissue of the same slice, breaks that tie; neutral patches teach that a seam means nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_TISSUE = 20  # prepared images: darker is air
_LARGEST_HEALED = 0.03  # of the frame; more leaves mass effect behind
_LARGEST_MOVED = 0.12


def transplant(
    host: Plane, donor: Plane, mask: Mask, rng: np.random.Generator
) -> tuple[Plane, Mask] | None:
    """The host with the donor's lesion at about the same place, and where the lesion now lies.

    None where that is not tissue, or the donor has no lesion of a size to be moved.

    All planes are (rows, columns) of the same size; the lesion keeps its contrast to the donor's
    surroundings, set against the host's, sometimes inverted or weakened as other sequences do.
    """
    if not 0 < mask.mean() < _LARGEST_MOVED:
        return None
    if rng.random() < 0.5:
        donor, mask = donor[:, ::-1], mask[:, ::-1]
    for _ in range(6):
        shift = tuple(int(step) for step in rng.integers(-30, 31, 2))
        target = _moved(mask, shift)
        if target.sum() == mask.sum() and (host[target] > _TISSUE).mean() > 0.95:
            return _blend(host, _lesion(host, donor, mask, target, shift, rng), target), target
    return None


def heal(image: Plane, mask: Mask, rng: np.random.Generator) -> Plane | None:
    """The image with its lesion replaced by tissue from beside it, or None if it is too large."""
    if not 0 < mask.mean() < _LARGEST_HEALED:
        return None
    return _patch(image, _grown(mask, 7), rng)


def neutral(image: Plane, lesion: Mask, shape: Mask, rng: np.random.Generator) -> Plane | None:
    """The image with a patch of its own tissue moved, away from any lesion: the label stays."""
    target = _moved(shape, tuple(int(step) for step in rng.integers(-40, 41, 2)))
    if not 0 < target.mean() < _LARGEST_HEALED or (target & _grown(lesion, 7)).any():
        return None
    return _patch(image, target, rng, avoid=lesion)


def _patch(
    image: Plane, target: Mask, rng: np.random.Generator, avoid: Mask | None = None
) -> Plane | None:
    """Replace the target by the most alike of eight places that are tissue and not the target."""
    taboo = target if avoid is None else target | avoid
    best: tuple[float, Plane] | None = None
    for _ in range(8):
        shift = tuple(int(step) for step in rng.integers(-60, 61, 2))
        source = _moved(target, shift)
        if source.sum() != target.sum() or (source & taboo).any():
            continue
        if (image[source] > _TISSUE).mean() < 0.9:
            continue
        ring = _grown(target, 5) & ~target
        moved = np.roll(image, (-shift[0], -shift[1]), axis=(0, 1))
        distance = float(np.abs(moved[ring].astype(float) - image[ring]).mean())
        if best is None or distance < best[0]:
            best = (distance, moved)
    return None if best is None else _blend(image, best[1], target)


def _lesion(
    host: Plane,
    donor: Plane,
    mask: Mask,
    target: Mask,
    shift: tuple[int, ...],
    rng: np.random.Generator,
) -> Plane:
    """The donor moved by `shift`, its grey values set against the host's tissue."""
    around = _grown(mask, 9) & ~mask & (donor > _TISSUE)
    level = float(donor[around].mean()) if around.any() else 80.0
    ground = host[_grown(target, 9) & ~target]
    tissue = ground[ground > _TISSUE]
    base = float(tissue.mean()) if tissue.size else 80.0
    gain = rng.uniform(0.6, 1.6) * (-1.0 if rng.random() < 0.15 else 1.0)
    moved = np.roll(donor, shift, axis=(0, 1)).astype(np.float32)
    return np.asarray(np.clip(base + gain * (moved - level), 0, 255), np.uint8)


def _blend(ground: Plane, patch: Plane, mask: Mask) -> Plane:
    feather = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(2))
    alpha = np.asarray(feather, np.float32) / 255
    return np.asarray(ground + alpha * (patch.astype(np.float32) - ground), np.uint8)


def _grown(mask: Mask, size: int) -> Mask:
    image = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.MaxFilter(size)), np.bool_)


def _moved(mask: Mask, shift: tuple[int, ...]) -> Mask:
    """The mask moved, cut at the frame's border."""
    out = np.zeros_like(mask)
    (dy, dx), (rows, columns) = shift, mask.shape
    source = mask[max(0, -dy) : rows - max(0, dy), max(0, -dx) : columns - max(0, dx)]
    out[max(0, dy) : rows - max(0, -dy), max(0, dx) : columns - max(0, -dx)] = source
    return out
