"""Between the model's frame and the image that was fitted into it: where `prepare` put what."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.contract import FloatArray, ImageSlice
from models.preprocess import InputSpec


def placement(image: ImageSlice, spec: InputSpec) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the picture inside the model's input frame, in its pixels."""
    rows, columns = image.pixels.shape[:2]
    return fitted(rows, columns, image.pixel_aspect, spec)


def fitted(rows: int, columns: int, aspect: float, spec: InputSpec) -> tuple[int, int, int, int]:
    """`placement` of a picture of that size; `aspect` is row spacing over column spacing."""
    height, width = rows * aspect, float(columns)
    scale = min(spec.rows / height, spec.columns / width)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (spec.columns - across) // 2, (spec.rows - down) // 2
    return left, top, left + across, top + down


def put_back(
    cells: FloatArray,
    image: ImageSlice,
    spec: InputSpec,
    size: tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> FloatArray:
    """Values of cells over the model's frame -> float32 of `size` (columns, rows) over the image.

    `cells` is (down, across) over the whole frame; the margins that `prepare` added are left out.
    """
    return spread(cells, placement(image, spec), spec, size, resample)


def spread(
    cells: FloatArray,
    place: tuple[int, int, int, int],
    spec: InputSpec,
    size: tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> FloatArray:
    """`put_back` for a picture of which only its `place` in the model's frame is known."""
    down, across = cells.shape
    left, top, right, bottom = place
    box = (
        left * across / spec.columns,
        top * down / spec.rows,
        right * across / spec.columns,
        bottom * down / spec.rows,
    )
    grid = Image.fromarray(np.ascontiguousarray(cells, np.float32))
    return np.asarray(grid.resize(size, resample, box=box))
