"""Stored values -> modality units, larger = brighter; colour -> RGB of 8 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from inference.errors import UndecodablePixels
from inference.frames import FrameFacts
from inference.instance import PixelLayout, values_of
from models.contract import PixelArray

# PS3.3 C.7.6.3.1.2: ITU-R BT.601, full range, chroma centred on 128
_RED_CR, _GREEN_CB, _GREEN_CR, _BLUE_CB = 1.402, 0.344136, 0.714136, 1.772


def meaningful_bits(stored: PixelArray, layout: PixelLayout) -> PixelArray:
    """Drop what is not part of the value (old files keep overlays there) and give it its sign.

    The dtype has as many bits as were decoded, signed if Pixel Representation says so.
    """
    if stored.dtype.kind == "f":
        return stored
    width = stored.dtype.itemsize * 8
    low = layout.high_bit - layout.bits_stored + 1
    # `width` may be smaller than Bits Allocated: a codec keeps only what its stream holds
    above = max(0, width - layout.high_bit - 1)
    if layout.signed:
        return _signed(stored.view(f"i{width // 8}"), above, low)
    values = stored.view(f"u{width // 8}")
    if not above and not low:
        return values
    mask = np.array((1 << min(layout.bits_stored, width)) - 1, values.dtype)
    shifted = values >> np.array(low, values.dtype) if low else values
    return np.asarray(shifted & mask)


def _signed(values: npt.NDArray[Any], above: int, low: int) -> PixelArray:
    if not above and not low:
        return values
    left, right = (np.array(count, values.dtype) for count in (above, above + low))
    return np.asarray((values << left) >> right)


def to_modality(
    stored: PixelArray, header: Dataset, layout: PixelLayout, facts: FrameFacts
) -> tuple[PixelArray, FrameFacts]:
    """Grey stored values -> modality units (PS3.3 C.11.1), MONOCHROME1 turned over.

    The dtype stays the stored one where nothing is to be scaled, else float32.
    The facts come back with their window turned over as well.
    """
    if values_of(header, "ModalityLUTSequence"):
        values = np.asarray(apply_modality_lut(stored, header))
        ends = _table_ends(header)
    elif facts.slope == 1 and facts.intercept == 0:
        values, ends = stored, _stored_ends(stored, layout)
    else:
        values = stored.astype(np.float32) * np.float32(facts.slope) + np.float32(facts.intercept)
        ends = 2 * facts.intercept + facts.slope * _stored_ends(stored, layout)
    if layout.photometric == "MONOCHROME1":
        return _turned_over(values, ends), _window_turned_over(facts, ends)
    return values, facts


def _stored_ends(stored: PixelArray, layout: PixelLayout) -> float:
    """Smallest plus largest value that can be stored: what a value and its opposite add up to."""
    if stored.dtype.kind == "f":
        return float(np.nanmin(stored)) + float(np.nanmax(stored))
    return -1 if layout.signed else (1 << layout.bits_stored) - 1


def _table_ends(header: Dataset) -> float:
    table = values_of(header.ModalityLUTSequence[0], "LUTData")
    if isinstance(table[0], bytes):
        words = np.frombuffer(table[0][: len(table[0]) // 2 * 2], "<u2")
        return float(words.min()) + float(words.max())
    return float(min(table)) + float(max(table))


def _turned_over(values: npt.NDArray[Any], ends: float) -> PixelArray:
    if values.dtype.kind == "f":
        return np.asarray(np.float32(ends) - values, np.float32)
    return np.asarray(np.array(int(ends), values.dtype) - values)


def _window_turned_over(facts: FrameFacts, ends: float) -> FrameFacts:
    if facts.window is None:
        return facts
    centre, width = facts.window
    return replace(facts, window=(ends - centre, width))


def palette_to_rgb(stored: PixelArray, header: Dataset) -> PixelArray:
    """PALETTE COLOR indices -> (rows, columns, 3) uint8 (PS3.3 C.7.6.3.1.5)."""
    return _eight_bits(np.asarray(apply_color_lut(stored, header))[..., :3])


def ybr_to_rgb(stored: PixelArray, layout: PixelLayout) -> PixelArray:
    """YBR_FULL or YBR_FULL_422 (already upsampled) -> RGB of the same depth."""
    if layout.photometric not in ("YBR_FULL", "YBR_FULL_422"):
        raise UndecodablePixels("The image's kind of colour is not read.", "unsupported")
    top, half = float((1 << layout.bits_stored) - 1), float(1 << (layout.bits_stored - 1))
    y, cb, cr = (stored[..., i].astype(np.float32) for i in range(3))
    cb, cr = cb - half, cr - half
    rgb = np.stack(
        (y + _RED_CR * cr, y - _GREEN_CB * cb - _GREEN_CR * cr, y + _BLUE_CB * cb), axis=-1
    )
    return np.clip(rgb + 0.5, 0, top).astype(stored.dtype)


def rgb_of_eight_bits(stored: PixelArray, layout: PixelLayout) -> PixelArray:
    """RGB of any depth -> uint8; a fourth sample (alpha, CMYK's black) is not read."""
    if layout.samples == 4:
        raise UndecodablePixels("The image's kind of colour is not read.", "unsupported")
    return _eight_bits(stored, layout.bits_stored)


def _eight_bits(rgb: PixelArray, bits: int | None = None) -> PixelArray:
    if rgb.dtype == np.uint8:
        return rgb
    excess = (bits or rgb.dtype.itemsize * 8) - 8
    return np.asarray(rgb >> np.array(max(0, excess), rgb.dtype)).astype(np.uint8)
