"""Analyses for the eye: the sandbox's synthetic head, with what the pipeline would hold of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np

from cds_service.sandbox.demo_studies import HEADS
from cds_service.sandbox.lesions import Lesion
from cds_service.sandbox.phantom import Protocol, axial_mask, axial_series
from inference.analysis import (
    Analysis,
    Explanation,
    Measurement,
    Outcome,
    SeriesImages,
    SliceOutline,
)
from inference.contours import contours_of
from inference.explain.overlay import Rendering, render, render_outline
from models.contract import FloatArray, ImageSlice, PlaneGeometry
from models.preprocess import InputSpec
from tests.doubles import explained

PROTOCOL = Protocol(size=256, pixel_mm=0.9375)
LESION = next(head.lesion for head in HEADS if head.lesion is not None)
SERIES = "1.2.3"


@lru_cache
def images(lesion: Lesion | None = LESION) -> SeriesImages:
    """24 slices of the head, with a lesion or without, in anatomical order."""
    pixels = axial_series(lesion, PROTOCOL).pixels
    spacing = (PROTOCOL.pixel_mm, PROTOCOL.pixel_mm)
    slices = tuple(
        ImageSlice(
            plane,
            f"1.2.3.{i + 1}",
            geometry=PlaneGeometry(PROTOCOL.position_mm(i), (1, 0, 0), (0, 1, 0), spacing),
            spacing_mm=spacing,
            window=(600.0, 1200.0),
        )
        for i, plane in enumerate(pixels)
    )
    return SeriesImages(SERIES, slices, tuple(range(1, len(slices) + 1)), len(slices))


@lru_cache
def masks() -> np.ndarray:
    """Where the lesion is, bool (slice, row, column)."""
    return axial_mask(LESION, PROTOCOL)


def deciding() -> int:
    """The number of the slice that shows most of the lesion."""
    return int(masks().sum(axis=(1, 2)).argmax()) + 1


def _heat() -> FloatArray:
    """Cells over the lesion, as a class activation map has them."""
    rows, columns = np.nonzero(masks()[deciding() - 1])
    down, across = np.mgrid[0:7, 0:7] + 0.5
    scale = 7 / PROTOCOL.size
    far = (down - rows.mean() * scale) ** 2 + (across - columns.mean() * scale) ** 2
    return np.exp(-far / 1.3).astype(np.float32)


def _explained(drawn: Rendering, base: Explanation, heat: FloatArray) -> Explanation:
    return replace(
        base,
        slice_number=deciding(),
        heatmap=heat,
        image_png=drawn.image_png,
        overlay_png=drawn.overlay_png,
        figure_png=drawn.figure_png,
    )


@lru_cache
def heat_map(*, stated: bool) -> Explanation:
    """The map over the lesion, drawn."""
    heat, image = _heat(), images().slices[deciding() - 1]
    spec = InputSpec("image", 224, 224, 0.5, 99.5)
    with ThreadPoolExecutor(1) as pool:
        drawn = render(image, heat, spec, "Glioma", stated=stated, encoders=pool)
    base = explained.explanation(0.61 if stated else 0.04, stated=stated)
    return _explained(drawn, base, heat)


def two_areas() -> np.ndarray:
    """The lesion, and its mirror image on the other side: two contours on each slice."""
    return masks() | masks()[:, :, ::-1]


@lru_cache
def outlined(
    areas: Callable[[], np.ndarray] = masks,
) -> tuple[tuple[SliceOutline, ...], Explanation]:
    """The true outline of `areas` on every slice that shows them."""
    pixel_mm2 = PROTOCOL.pixel_mm**2
    found = tuple(
        SliceOutline(
            i + 1,
            f"1.2.3.{i + 1}",
            1,
            mask,
            contours_of(mask),
            float(mask.mean()),
            float(mask.sum()) * pixel_mm2,
            0.91,
        )
        for i, mask in enumerate(areas())
        if mask.any()
    )
    number = deciding()
    chosen = next(each for each in found if each.slice_number == number)
    spec = InputSpec("image", PROTOCOL.size, PROTOCOL.size, 0.5, 99.5)
    probability = areas()[number - 1].astype(np.float32) * np.float32(0.9)
    with ThreadPoolExecutor(1) as pool:
        drawn = render_outline(
            images().slices[number - 1],
            probability,
            spec,
            chosen.contours,
            "Lesion",
            stated=True,
            encoders=pool,
        )
    return found, _explained(drawn, explained.outline()[1], probability)


def finding() -> Analysis:
    """A finding, and what was outlined because of it."""
    number = deciding()
    result = replace(
        explained.result(),
        slices=explained.slices(24, peak=number),
        slices_used=(number - 1, number, number + 1),
        deciding_slice=number,
        explanation=heat_map(stated=True),
    )
    return replace(explained.finding(), results=(result,), images=(images(),))


def measured(areas: Callable[[], np.ndarray] = masks) -> Analysis:
    """An outline on several slices, with its size."""
    found, why = outlined(areas)
    number = deciding()
    largest = next(each for each in found if each.slice_number == number)
    how = "Pixels within the outline, times their spacing"
    sizes = (
        Measurement("area", "Area", largest.area_mm2 or 0.0, "mm2", explained.SPOT, how, number),
        Measurement(
            "image-share",
            "Share of the image",
            100 * largest.area_fraction,
            "%",
            explained.SPOT,
            "Pixels within the outline",
            number,
        ),
    )
    result = replace(
        explained.outlined(),
        model_title="Outline of a lesion on brain MRI",
        structure="Lesion",
        outlines=found,
        measurements=sizes,
        slices_used=tuple(each.slice_number for each in found),
        deciding_slice=number,
        explanation=why,
        follows="",
    )
    return replace(explained.measured(), results=(result,), images=(images(),))


def two_results() -> Analysis:
    """What two models said of one study: a finding, and the outline that follows it."""
    first, second = finding(), measured()
    follower = replace(second.results[0], follows=first.results[0].model_id)
    return replace(first, results=(*first.results, follower))


def undecided() -> Analysis:
    """An answer that is withheld, because two are almost equally probable."""
    number = deciding()
    result = replace(
        explained.undecided().results[0],
        slices=explained.slices(24, peak=number, top=0.5),
        slices_used=(number - 1, number, number + 1),
        deciding_slice=number,
        explanation=heat_map(stated=False),
    )
    return replace(explained.undecided(), results=(result,), images=(images(),))


def no_finding() -> Analysis:
    """Nothing stated on 24 slices, so that there is nothing drawn."""
    silent = replace(
        explained.no_finding().results[0],
        slices=explained.slices(24, top=0.02),
        slices_used=(11, 12, 13),
        deciding_slice=12,
    )
    return replace(explained.no_finding(), results=(silent,), images=(images(None),))


ANALYSES: Mapping[Outcome, Callable[[], Analysis]] = {
    Outcome.FINDING: finding,
    Outcome.INDETERMINATE: undecided,
    Outcome.MEASURED: measured,
    Outcome.NO_FINDING: no_finding,
    Outcome.NOT_ANALYSED: explained.not_analysed,
}
