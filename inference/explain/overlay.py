"""Pictures of the deciding slice: the image, its map alone, and both with a legend.

The map is either heat, which says what speaks for a label, or the probability of each pixel of
belonging to a structure, with the line around what was outlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from inference.explain.sheet import (
    TEXT,
    Canvas,
    canvas_of,
    caption,
    draw_marks,
    draw_scale,
    encoded,
    fitting,
    framed,
    grey_of,
    marked,
    write,
)
from inference.placement import put_back
from models.contract import FloatArray, ImageSlice
from models.preprocess import InputSpec

DISCLAIMER = "Not for diagnosis on its own"
_HEAT_ALPHA, _PROBABILITY_ALPHA = 0.55, 0.3  # an outlined region must stay visible under its colour
_FAINTEST = 0.12
LINE = (0, 229, 255)  # a colour that the map does not have
_LINE_WIDTH, _EDGE_WIDTH = 2, 4

# black-purple-orange-yellow: lightness grows evenly, and colour-blind readers see the same order
_STOPS = (0.0, 0.13, 0.25, 0.38, 0.5, 0.63, 0.75, 0.88, 1.0)
_COLOURS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)


@dataclass(frozen=True)
class Rendering:
    """Three PNGs of equal size: grey image, RGBA map alone, RGB figure with legend."""

    image_png: bytes
    overlay_png: bytes
    figure_png: bytes


@dataclass(frozen=True)
class _Legend:
    """What the colours mean: a sentence, and the words at the two ends of the bar."""

    sentence: str
    low: str
    high: str
    alpha: float


def render(
    image: ImageSlice,
    heat: FloatArray,
    spec: InputSpec,
    label: str,
    *,
    stated: bool,
    encoders: Executor,
) -> Rendering:
    """Draw one slice and what speaks for `label` in it; `stated` is whether it was found.

    `heat` is (down, across), 0 to 1, over the model's input frame `spec`; it is put back where
    `models.preprocess.prepare` took the picture from, its black margins left out. Each picture is
    compressed by `encoders` while the next one is drawn.
    """
    words = f"Speaks for: {label}" if stated else f"Speaks for: {label} (not stated)"
    legend = _Legend(words, "low", "high", _HEAT_ALPHA)
    canvas = canvas_of(image)
    size = canvas.width, canvas.height
    spread = put_back(heat, image, spec, size, Image.Resampling.BICUBIC)
    return _draw(image, spread, (), legend, canvas, encoders)


def render_outline(
    image: ImageSlice,
    probability: FloatArray,
    spec: InputSpec,
    contours: Sequence[FloatArray],
    label: str,
    *,
    stated: bool,
    encoders: Executor,
) -> Rendering:
    """Draw one slice, each pixel's probability of belonging, and the line around what was kept.

    `probability` is (down, across), 0 to 1, over the model's input frame `spec`; `contours` are
    (points, 2), (column, row) of the image; `label` names the structure and its size.
    """
    words = f"Outlined: {label}" if stated else f"Outlined: {label} (not stated)"
    legend = _Legend(words, "0 %", "100 %", _PROBABILITY_ALPHA)
    canvas = canvas_of(image)
    spread = put_back(probability, image, spec, (canvas.width, canvas.height))
    lines = [_on_canvas(contour, image, canvas) for contour in contours]
    return _draw(image, spread, lines, legend, canvas, encoders)


def _draw(
    image: ImageSlice,
    spread: FloatArray,
    lines: Sequence[FloatArray],
    legend: _Legend,
    canvas: Canvas,
    encoders: Executor,
) -> Rendering:
    colours = _coloured(spread, legend.alpha)
    alone = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    alone.paste(colours, (canvas.left, 0))
    _draw_lines(alone, lines)
    caption(alone, canvas)
    overlay = encoders.submit(encoded, alone)
    grey = grey_of(image).resize((canvas.width, canvas.height), Image.Resampling.BILINEAR)
    picture = framed(grey.convert("RGB"), canvas)
    picture.paste(colours, (canvas.left, 0), colours)
    _draw_lines(picture, lines)
    draw_marks(picture, image, canvas)
    draw_scale(picture, image, canvas)
    _draw_legend(picture, legend, canvas)
    figure = encoders.submit(encoded, picture)
    plain = encoded(marked(grey, image, canvas))
    return Rendering(plain, overlay.result(), figure.result())


@cache
def _palette(most: float) -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 1, 256)
    channels = [np.interp(levels, _STOPS, [colour[i] for colour in _COLOURS]) for i in range(3)]
    alpha = np.where(levels < _FAINTEST, 0, levels**0.75 * most * 255)
    palette = np.stack((*channels, alpha), axis=-1).astype(np.uint8)
    palette.flags.writeable = False
    return palette


def _coloured(spread: FloatArray, alpha: float) -> Image.Image:
    levels = (np.clip(spread, 0, 1) * 255 + 0.5).astype(np.uint8)
    pixels = _palette(alpha).view(np.uint32)[:, 0].take(levels)  # four bytes at a time
    return Image.frombuffer("RGBA", (levels.shape[1], levels.shape[0]), pixels, "raw", "RGBA", 0, 1)


def _on_canvas(contour: FloatArray, image: ImageSlice, canvas: Canvas) -> FloatArray:
    """Pixels of the image, whose centres are whole numbers -> pixels of the PNG; closed."""
    rows, columns = image.pixels.shape[:2]
    scale = np.array([canvas.width / columns, canvas.height / rows])
    points = (contour + 0.5) * scale + [canvas.left, 0]
    return np.asarray(np.vstack((points, points[:1])), np.float32)


def _draw_lines(picture: Image.Image, lines: Sequence[FloatArray]) -> None:
    """A bright line with a dark edge: it is seen on any ground."""
    pen = ImageDraw.Draw(picture)
    for colour, width in (((0, 0, 0), _EDGE_WIDTH), (LINE, _LINE_WIDTH)):
        for line in lines:
            pen.line(line.ravel().tolist(), fill=colour, width=width, joint="curve")


def _draw_legend(picture: Image.Image, legend: _Legend, canvas: Canvas) -> None:
    right, length = canvas.size[0] - 8, 160
    write(picture, (right, canvas.height + 6), DISCLAIMER, TEXT, "ra")
    bar = np.repeat(np.linspace(0, 255, length, dtype=np.uint8)[np.newaxis], 10, axis=0)
    frame = [right - length - 1, canvas.height + 31, right, canvas.height + 42]
    ImageDraw.Draw(picture).rectangle(frame, outline="grey")
    colours = Image.fromarray(_palette(legend.alpha)[bar][..., :3])
    picture.paste(colours, (right - length, canvas.height + 32))
    write(picture, (right - length, canvas.height + 46), legend.low, TEXT)
    write(picture, (right, canvas.height + 46), legend.high, TEXT, "ra")
    size = fitting(legend.sentence, canvas.size[0] - 16)
    write(picture, (8, canvas.height + 70), legend.sentence, size)
