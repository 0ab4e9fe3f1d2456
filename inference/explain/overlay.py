"""Pictures of the deciding slice: the image, the heat-map alone, and both with a legend.

No text of a DICOM tag is drawn: what is written comes from the model's manifest and from here.
Every picture says that it is AI and not reviewed.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageStat

from inference.explain.png import png_encode
from models.contract import FloatArray, ImageSlice, PlaneGeometry
from models.errors import UnusablePixels
from models.preprocess import InputSpec, window_to_uint8

CAPTION = "AI, not reviewed"
DISCLAIMER = "Not for diagnosis on its own"
_SMALLEST, _LARGEST = 512, 1024  # of the longer side, so that marks can be read
_FOOTER = 98
_NARROWEST = 400  # of the PNG, so that the footer's texts stay apart
_MARK, _TEXT, _SMALLEST_TEXT = 20, 15, 9
_OUTLINE = 2
_MAX_ALPHA, _FAINTEST = 0.55, 0.12
_SECOND_DIRECTION = 0.3  # a mark names a second direction when its cosine is above this
_AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # of increasing, decreasing x, y, z (LPS)

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
    """Three PNGs of equal size: grey image, RGBA heat-map alone, RGB figure with legend."""

    image_png: bytes
    overlay_png: bytes
    figure_png: bytes


@dataclass(frozen=True)
class _Canvas:
    """Where the picture lies in the PNG: above a footer, centred, `width` x `height` pixels."""

    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return max(self.width, _NARROWEST), self.height + _FOOTER

    @property
    def left(self) -> int:
        return (self.size[0] - self.width) // 2


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

    Each picture is compressed by `encoders` while the next one is drawn.

    `heat` is (down, across), 0 to 1, over the model's input frame `spec`; it is put back where
    `models.preprocess.prepare` took the picture from, its black margins left out.
    """
    canvas = _canvas(image)
    strength = _strength(heat, image, spec, canvas)
    colours = _coloured(strength)
    alone = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    alone.paste(colours, (canvas.left, 0))
    _caption(alone, canvas)
    overlay = encoders.submit(_png, alone)
    grey = _grey(image).resize((canvas.width, canvas.height), Image.Resampling.BILINEAR)
    picture = _framed(grey.convert("RGB"), canvas)
    picture.paste(colours, (canvas.left, 0), colours)
    _draw_marks(picture, image.geometry, canvas)
    _draw_legend(picture, label if stated else f"{label} (not stated)", canvas)
    figure = encoders.submit(_png, picture)
    plain = _framed(grey, canvas)
    _draw_marks(plain, image.geometry, canvas)
    return Rendering(_png(plain), overlay.result(), figure.result())


def orientation_marks(geometry: PlaneGeometry) -> tuple[str, str, str, str]:
    """Letters for the left, right, top and bottom edge (PS3.3 C.7.6.1.1.1): L R A P H F."""
    row, column = geometry.row_cosines, geometry.column_cosines
    left, top = (tuple(-c for c in cosines) for cosines in (row, column))
    return _letters(left), _letters(row), _letters(top), _letters(column)


def placement(image: ImageSlice, spec: InputSpec) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the picture inside the model's input frame, in its pixels."""
    rows, columns = image.pixels.shape[:2]
    height, width = rows * image.pixel_aspect, float(columns)
    scale = min(spec.rows / height, spec.columns / width)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (spec.columns - across) // 2, (spec.rows - down) // 2
    return left, top, left + across, top + down


def _letters(direction: tuple[float, ...]) -> str:
    by_size = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    named = [axis for i, axis in enumerate(by_size) if i == 0 or _is_named(direction[axis])]
    return "".join(_AXES[axis][direction[axis] < 0] for axis in named[:2])


def _is_named(cosine: float) -> bool:
    return abs(cosine) > _SECOND_DIRECTION


def _canvas(image: ImageSlice) -> _Canvas:
    rows, columns = image.pixels.shape[:2]
    height, width = rows * image.pixel_aspect, float(columns)
    longer = max(height, width)
    scale = min(max(longer, _SMALLEST), _LARGEST) / longer
    return _Canvas(max(1, round(width * scale)), max(1, round(height * scale)))


def _grey(image: ImageSlice) -> Image.Image:
    """8 bits by the stored window where it shows something, else between the outer percentiles."""
    pixels = image.pixels
    if pixels.ndim == 3:
        return Image.fromarray(np.asarray(pixels, np.uint8)).convert("L")
    if image.window is not None:
        shown = Image.fromarray(_windowed(pixels, image.window))
        if ImageStat.Stat(shown).stddev[0] > 1:
            return shown
    try:
        return Image.fromarray(window_to_uint8(pixels, 0.5, 99.5))
    except UnusablePixels:
        return Image.new("L", (pixels.shape[1], pixels.shape[0]), 0)


def _windowed(
    pixels: npt.NDArray[np.generic], window: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    centre, width = window
    values = pixels.astype(np.float32)
    values -= np.float32(centre)
    values /= np.float32(width)
    values += np.float32(0.5)
    if pixels.dtype.kind == "f":
        np.nan_to_num(values, copy=False)
    np.clip(values, 0, 1, out=values)
    values *= np.float32(255)
    return np.asarray(values, np.uint8)


def _strength(
    heat: FloatArray, image: ImageSlice, spec: InputSpec, canvas: _Canvas
) -> npt.NDArray[np.float32]:
    down, across = heat.shape
    left, top, right, bottom = placement(image, spec)
    box = (
        left * across / spec.columns,
        top * down / spec.rows,
        right * across / spec.columns,
        bottom * down / spec.rows,
    )
    cells = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    size = (canvas.width, canvas.height)
    spread = np.asarray(cells.resize(size, Image.Resampling.BICUBIC, box=box))
    return np.asarray(np.clip(spread, 0, 1), np.float32)


@cache
def _palette() -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 1, 256)
    channels = [np.interp(levels, _STOPS, [colour[i] for colour in _COLOURS]) for i in range(3)]
    alpha = np.where(levels < _FAINTEST, 0, levels**0.75 * _MAX_ALPHA * 255)
    palette = np.stack((*channels, alpha), axis=-1).astype(np.uint8)
    palette.flags.writeable = False
    return palette


def _coloured(strength: npt.NDArray[np.float32]) -> Image.Image:
    levels = (strength * 255 + 0.5).astype(np.uint8)
    pixels = _palette().view(np.uint32)[:, 0].take(levels)  # four bytes at a time
    return Image.frombuffer("RGBA", (levels.shape[1], levels.shape[0]), pixels, "raw", "RGBA", 0, 1)


def _framed(picture: Image.Image, canvas: _Canvas) -> Image.Image:
    framed = Image.new(picture.mode, canvas.size, 0)
    framed.paste(picture, (canvas.left, 0))
    _caption(framed, canvas)
    return framed


def _caption(picture: Image.Image, canvas: _Canvas) -> None:
    _write(picture, (8, canvas.height + 6), CAPTION, _TEXT)


def _draw_marks(picture: Image.Image, geometry: PlaneGeometry | None, canvas: _Canvas) -> None:
    if geometry is None:
        _write(picture, (8, canvas.height + 28), "Orientation not stated", _TEXT)
        return
    left, right, top, bottom = orientation_marks(geometry)
    middle_x, middle_y = canvas.size[0] // 2, canvas.height // 2
    _write(picture, (canvas.left + 6, middle_y), left, _MARK, "lm")
    _write(picture, (canvas.left + canvas.width - 6, middle_y), right, _MARK, "rm")
    _write(picture, (middle_x, 6), top, _MARK, "mt")
    _write(picture, (middle_x, canvas.height - 6), bottom, _MARK, "mb")


def _draw_legend(picture: Image.Image, label: str, canvas: _Canvas) -> None:
    right, length = canvas.size[0] - 8, 160
    _write(picture, (right, canvas.height + 6), DISCLAIMER, _TEXT, "ra")
    bar = np.repeat(np.linspace(0, 255, length, dtype=np.uint8)[np.newaxis], 10, axis=0)
    frame = [right - length - 1, canvas.height + 31, right, canvas.height + 42]
    ImageDraw.Draw(picture).rectangle(frame, outline="grey")
    picture.paste(Image.fromarray(_palette()[bar][..., :3]), (right - length, canvas.height + 32))
    _write(picture, (right - length, canvas.height + 46), "low", _TEXT)
    _write(picture, (right, canvas.height + 46), "high", _TEXT, "ra")
    text = f"Speaks for: {label}"
    _write(picture, (8, canvas.height + 70), text, _fitting(text, canvas.size[0] - 16))


def _write(
    picture: Image.Image, at: tuple[int, int], text: str, size: int, anchor: str = "la"
) -> None:
    white, black = ("white", "black") if picture.mode != "L" else (255, 0)
    stamp = _stamp(text, size, anchor)
    corner = at[0] + stamp.left, at[1] + stamp.top
    picture.paste(black, corner, stamp.outlined)
    picture.paste(white, corner, stamp.inner)


@dataclass(frozen=True)
class _Stamp:
    """A text as two masks: with its outline and without; `left` and `top` from its anchor."""

    left: int
    top: int
    outlined: Image.Image
    inner: Image.Image


@lru_cache(maxsize=128)
def _stamp(text: str, size: int, anchor: str) -> _Stamp:
    """Most texts are on every picture: drawing all of them takes longer than the rest."""
    font = _font(size)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = measure.textbbox(
        (0, 0), text, font=font, anchor=anchor, stroke_width=_OUTLINE
    )
    corner = math.floor(left), math.floor(top)
    masks = []
    for width in (_OUTLINE, 0):
        mask = Image.new("L", (math.ceil(right) - corner[0], math.ceil(bottom) - corner[1]))
        ImageDraw.Draw(mask).text(
            (-corner[0], -corner[1]), text, 255, font, anchor, stroke_width=width
        )
        masks.append(mask)
    return _Stamp(*corner, *masks)


def _fitting(text: str, width: int) -> int:
    """The largest size at which a text is not wider than `width` pixels."""
    sizes = range(_TEXT, _SMALLEST_TEXT, -1)
    return next((size for size in sizes if _font(size).getlength(text) <= width), _SMALLEST_TEXT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _png(picture: Image.Image) -> bytes:
    return png_encode(np.asarray(picture))
