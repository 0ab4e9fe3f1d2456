"""What every picture is drawn on: the image in grey, marks of orientation, texts, a footer.

No text of a DICOM tag is drawn, but for the letters of its sides: what is written comes from the
model's manifest and from here.
Every picture says that it is AI and not reviewed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageStat

from inference.explain.png import png_encode
from inference.sides import edges_of
from models.contract import ImageSlice
from models.errors import UnusablePixels
from models.preprocess import window_to_uint8

CAPTION = "AI, not reviewed"
FOOTER = 98
TEXT = 15
_SMALLEST, _LARGEST = 512, 1024  # of the longer side, so that marks can be read
_NARROWEST = 400  # of the PNG, so that the footer's texts stay apart
_MARK, _SMALLEST_TEXT = 20, 9
_OUTLINE = 2


@dataclass(frozen=True)
class Canvas:
    """Where the picture lies in the PNG: above a footer, centred, `width` x `height` pixels."""

    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return max(self.width, _NARROWEST), self.height + FOOTER

    @property
    def left(self) -> int:
        return (self.size[0] - self.width) // 2


def canvas_of(image: ImageSlice) -> Canvas:
    """The canvas of an image in its true proportions, neither too small nor too large to read."""
    rows, columns = image.pixels.shape[:2]
    height, width = rows * image.pixel_aspect, float(columns)
    longer = max(height, width)
    scale = min(max(longer, _SMALLEST), _LARGEST) / longer
    return Canvas(max(1, round(width * scale)), max(1, round(height * scale)))


def grey_of(image: ImageSlice) -> Image.Image:
    """8 bits by the stored window where it shows something, else between the outer percentiles."""
    pixels = image.pixels
    if pixels.ndim == 3:
        return Image.fromarray(np.asarray(pixels, np.uint8)).convert("L")
    shown = _stored_view(image)
    if shown is not None:
        return shown
    try:
        return Image.fromarray(window_to_uint8(pixels, 0.5, 99.5))
    except UnusablePixels:
        return Image.new("L", (pixels.shape[1], pixels.shape[0]), 0)


def shows_something(image: ImageSlice) -> bool:
    """Whether the stored window of a grey image leaves anything to be seen."""
    return image.pixels.ndim == 2 and _stored_view(image) is not None


def _stored_view(image: ImageSlice) -> Image.Image | None:
    if image.window is None:
        return None
    shown = Image.fromarray(_windowed(image.pixels, image.window))
    return shown if ImageStat.Stat(shown).stddev[0] > 1 else None


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


def plain(image: ImageSlice) -> bytes:
    """A PNG of one image in grey, captioned and marked, with nothing drawn over it."""
    canvas = canvas_of(image)
    grey = grey_of(image).resize((canvas.width, canvas.height), Image.Resampling.BILINEAR)
    return encoded(marked(grey, image, canvas))


def marked(picture: Image.Image, image: ImageSlice, canvas: Canvas) -> Image.Image:
    """A picture of `image` on its canvas: caption, orientation, scale."""
    sheet = framed(picture, canvas)
    draw_marks(sheet, image, canvas)
    draw_scale(sheet, image, canvas)
    return sheet


def framed(picture: Image.Image, canvas: Canvas) -> Image.Image:
    """A picture on its canvas, with the footer and its caption."""
    framed = Image.new(picture.mode, canvas.size, 0)
    framed.paste(picture, (canvas.left, 0))
    caption(framed, canvas)
    return framed


def caption(picture: Image.Image, canvas: Canvas) -> None:
    """Say in the footer that it is AI and not reviewed."""
    write(picture, (8, canvas.height + 6), CAPTION, TEXT)


_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200)


def draw_scale(picture: Image.Image, image: ImageSlice, canvas: Canvas) -> None:
    """A bar of round length in mm, in the footer; none where the geometry is not known."""
    if image.geometry is None:
        return
    width_mm = image.geometry.spacing_mm[1] * image.pixels.shape[1]
    fits = [mm for mm in _BARS_MM if mm <= width_mm / 3]
    if not fits:
        return
    length = round(fits[-1] * canvas.width / width_mm)
    bottom = canvas.height + 42
    pen, white = ImageDraw.Draw(picture), "white" if picture.mode != "L" else 255
    pen.line([8, bottom, 8 + length, bottom], fill=white, width=2)
    for x in (8, 8 + length):
        pen.line([x, bottom - 6, x, bottom], fill=white, width=2)
    write(picture, (8, bottom + 4), f"{fits[-1]} mm", TEXT)


def draw_marks(picture: Image.Image, image: ImageSlice, canvas: Canvas) -> None:
    """Say at each edge on which side of the patient it lies, or that it is not stated."""
    edges = edges_of(image.geometry, image.sides)
    if edges is None:
        write(picture, (8, canvas.height + 28), "Orientation not stated", TEXT)
        return
    left, right, top, bottom = edges
    middle_x, middle_y = canvas.size[0] // 2, canvas.height // 2
    write(picture, (canvas.left + 6, middle_y), left, _MARK, "lm")
    write(picture, (canvas.left + canvas.width - 6, middle_y), right, _MARK, "rm")
    write(picture, (middle_x, 6), top, _MARK, "mt")
    write(picture, (middle_x, canvas.height - 6), bottom, _MARK, "mb")


def write(
    picture: Image.Image, at: tuple[int, int], text: str, size: int, anchor: str = "la"
) -> None:
    """A white text with a black edge at a point; `anchor` is one of Pillow's."""
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


def fitting(text: str, width: int) -> int:
    """The largest size at which a text is not wider than `width` pixels."""
    sizes = range(TEXT, _SMALLEST_TEXT, -1)
    return next((size for size in sizes if _font(size).getlength(text) <= width), _SMALLEST_TEXT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def encoded(picture: Image.Image) -> bytes:
    """The picture as PNG."""
    return png_encode(np.asarray(picture))
