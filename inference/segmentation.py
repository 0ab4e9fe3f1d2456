"""Mask logits of one slice -> what is outlined on the image itself, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.analysis import Measurement, SliceOutline
from inference.contours import contours_of
from inference.placement import put_back
from inference.runtime import SliceOutputs
from inference.volume import Place
from models.contract import FloatArray, ImageSlice
from models.manifest import Manifest
from models.outlines import Mask, kept_regions

_FARTHEST = 60.0  # logits beyond this are as sure as float32 can say


@dataclass(frozen=True)
class MaskScore:
    """What a segmentation said of one slice.

    `probability` is float16 (down, across) over the model's frame: how probably each cell belongs
    to the structure; it is kept for the eye, and half the bytes are enough for that. `outline` is
    what was made of it in full precision, its slice not numbered yet. `ood_score` is minus infinity
    when the model has none.
    """

    probability: npt.NDArray[np.float16]
    ood_score: float
    outline: SliceOutline | None


def pixel_probability(mask_logits: FloatArray, temperature: float) -> FloatArray:
    """Calibrated probability of each cell: sigmoid(mask_logits / temperature), float32."""
    scaled = np.clip(mask_logits / np.float32(temperature), -_FARTHEST, _FARTHEST)
    return np.asarray(1 / (1 + np.exp(-scaled)), np.float32)


def score_mask(image: ImageSlice, outputs: SliceOutputs, manifest: Manifest) -> MaskScore:
    """Calibrate one slice's mask and outline it."""
    probability = pixel_probability(outputs.mask_logits, manifest.calibration.temperature)
    outline = outline_slice(image, probability, manifest)
    return MaskScore(probability.astype(np.float16), outputs.ood_score, outline)


def outline_slice(
    image: ImageSlice, probability: FloatArray, manifest: Manifest
) -> SliceOutline | None:
    """Outline one slice; ``None`` when nothing is kept. It is numbered 0 until it has its place.

    Regions are chosen on the model's own grid, as the build measured them (`models.outlines`);
    the probabilities of what is kept are then interpolated over the image's pixels, so that the
    line does not follow the coarser cells. The area is in mm² only if the spacing is stated.
    """
    chance = _kept_probability(probability, manifest)
    if chance is None:
        return None
    rows, columns = image.pixels.shape[:2]
    inside = put_back(chance, image, manifest.input, (columns, rows))
    mask: Mask = inside >= manifest.structure.threshold
    pixels = int(mask.sum())
    if not pixels:
        return None
    return SliceOutline(
        slice_number=0,
        sop_instance_uid=image.sop_instance_uid,
        frame=image.frame,
        mask=mask,
        contours=contours_of(mask),
        area_fraction=pixels / mask.size,
        area_mm2=_area_mm2(pixels, image.spacing_mm),
        mean_probability=float(inside[mask].mean()),
    )


def _kept_probability(probability: FloatArray, manifest: Manifest) -> FloatArray | None:
    """The probabilities, zero in regions that are left out; ``None`` when none is kept."""
    if manifest.outline is None:
        return None
    above: Mask = probability >= manifest.structure.threshold
    kept = kept_regions(above, manifest.outline)
    if not kept.any():
        return None
    return np.where(above & ~kept, np.float32(0), probability)


def _area_mm2(pixels: int, spacing_mm: tuple[float, float] | None) -> float | None:
    return pixels * spacing_mm[0] * spacing_mm[1] if spacing_mm else None


def largest(outlines: Sequence[SliceOutline]) -> SliceOutline | None:
    """The outline that covers most of its image, the first of equal ones."""
    return max(outlines, key=lambda outline: outline.area_fraction, default=None)


def measure(outline: SliceOutline, place: Place, manifest: Manifest) -> tuple[Measurement, ...]:
    """The area of an outline in mm² where the spacing is known, and its share of the image."""
    coding = manifest.structure.coding
    shared = (coding, "Pixels within the outline", outline.slice_number)
    share = Measurement(
        "image-share", "Share of the image", 100 * outline.area_fraction, "%", *shared
    )
    if outline.area_mm2 is None:
        return (share,)
    plane = " in the plane of the detector" if place.facts.at_detector else ""
    how = f"Pixels within the outline, times their spacing{plane}"
    area = Measurement("area", "Area", outline.area_mm2, "mm2", coding, how, outline.slice_number)
    return area, share
