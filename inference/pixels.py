"""Instance -> planes of pixels. Whatever a decoder raises leaves here as UndecodablePixels."""

from __future__ import annotations

import math

import numpy as np

from inference.boundary import contained
from inference.codecs import colour_is_rgb, decode_frame
from inference.encapsulation import frames_of
from inference.errors import UndecodablePixels
from inference.frames import FrameFacts
from inference.instance import Instance, PixelLayout
from inference.values import (
    meaningful_bits,
    palette_to_rgb,
    rgb_of_eight_bits,
    to_modality,
    ybr_to_rgb,
)
from models.contract import PixelArray

_FLOATS = {"float32": "f4", "float64": "f8"}
_GREY = ("MONOCHROME1", "MONOCHROME2")


class PixelSource:
    """The frames of one instance, each decoded when it is asked for; safe to share by threads.

    Raises UndecodablePixels from every method, and LimitExceeded where a frame would be
    implausibly large; nothing else.
    """

    def __init__(self, instance: Instance) -> None:
        if instance.layout is None:
            raise UndecodablePixels("The instance holds no image.", "no-pixels")
        self._instance = instance
        self._layout = instance.layout
        with contained(_undecodable):
            self._frames = _encoded_frames(instance) if instance.encapsulated else None
            if self._frames is None:
                _check_native_length(instance, self._layout)

    def stored(self, index: int) -> PixelArray:
        """Frame `index` (from 0) as stored: (rows, columns) or (rows, columns, samples).

        Unused bits are dropped, signed values have their sign, YBR colour is RGB, palette
        indices stay indices. Native little-endian data without unused bits is a view, not a copy.
        """
        with contained(_undecodable):
            return self._stored(index)

    def plane(self, index: int, facts: FrameFacts) -> tuple[PixelArray, FrameFacts]:
        """Frame `index` for the eye and the model: larger = brighter, modality units.

        Grey is (rows, columns) in the stored dtype, or float32 when it had to be scaled; colour is
        (rows, columns, 3) uint8. The facts come back with the window that fits these pixels.
        """
        with contained(_undecodable):
            stored, layout = self._stored(index), self._layout
            if layout.photometric == "PALETTE COLOR":
                return palette_to_rgb(stored, self._instance.header), facts
            if layout.samples > 1:
                return rgb_of_eight_bits(stored, layout), facts
            return to_modality(stored, self._instance.header, layout, facts)

    def _stored(self, index: int) -> PixelArray:
        instance, layout = self._instance, self._layout
        if self._frames is None:
            pixels, is_rgb = _native_frame(instance, layout, index), layout.photometric == "RGB"
        else:
            pixels = decode_frame(instance.transfer_syntax, self._frames[index], layout)
            is_rgb = colour_is_rgb(instance.transfer_syntax, layout.photometric)
        pixels = meaningful_bits(pixels, layout)
        return pixels if layout.samples == 1 or is_rgb else ybr_to_rgb(pixels, layout)


def _encoded_frames(instance: Instance) -> list[bytes]:
    table = instance.header.get("ExtendedOffsetTable")
    offsets = list(memoryview(table[: len(table) // 8 * 8]).cast("Q")) if table else None
    return frames_of(instance.pixel_value, instance.frames, offsets)


def _is_subsampled(layout: PixelLayout) -> bool:
    return layout.photometric == "YBR_FULL_422" and layout.samples == 3


def _frame_bits(layout: PixelLayout) -> int:
    """Bits of one frame as stored; only single-bit frames need not end on a byte (PS3.5 8.1.1)."""
    samples = 2 if _is_subsampled(layout) else layout.samples
    return layout.rows * layout.columns * samples * layout.bits_allocated


def _check_native_length(instance: Instance, layout: PixelLayout) -> None:
    if len(instance.pixel_value) < math.ceil(_frame_bits(layout) * layout.frames / 8):
        raise UndecodablePixels("The pixel data is too short for its stated size.", "truncated")


def _native_frame(instance: Instance, layout: PixelLayout, index: int) -> PixelArray:
    if layout.bits_allocated == 1:
        return _single_bits(instance, layout, index)
    size = _frame_bits(layout) // 8
    content = instance.pixel_value[index * size : (index + 1) * size]
    kind = _FLOATS.get(layout.number, f"u{layout.bits_allocated // 8}")
    little = instance.header.original_encoding[1] is not False
    flat = np.frombuffer(content, f"{'<' if little else '>'}{kind}")
    flat = flat if little else flat.astype(f"={kind}")
    if layout.samples == 1:
        return flat.reshape(layout.rows, layout.columns)
    return _native_colour(flat, layout)


def _single_bits(instance: Instance, layout: PixelLayout, index: int) -> PixelArray:
    """One bit a pixel, least significant first, frames packed without a gap (PS3.5 8.1.1)."""
    size = _frame_bits(layout)
    first, last = index * size, (index + 1) * size
    octets = np.frombuffer(instance.pixel_value[first // 8 : math.ceil(last / 8)], np.uint8)
    bits = np.unpackbits(octets, bitorder="little")[first % 8 :][:size]
    return bits.reshape(layout.rows, layout.columns)


def _native_colour(flat: PixelArray, layout: PixelLayout) -> PixelArray:
    if _is_subsampled(layout):
        return _upsampled(flat, layout)
    if layout.planar:
        planes = flat.reshape(layout.samples, layout.rows, layout.columns)
        return np.moveaxis(planes, 0, -1)
    return flat.reshape(layout.rows, layout.columns, layout.samples)


def _upsampled(flat: PixelArray, layout: PixelLayout) -> PixelArray:
    """YBR_FULL_422 is stored as Y Y Cb Cr for each two pixels of a row (PS3.3 C.7.6.3.1.2)."""
    pairs = flat.reshape(layout.rows, layout.columns // 2, 4)
    out = np.empty((layout.rows, layout.columns, 3), flat.dtype)
    out[..., 0] = pairs[..., :2].reshape(layout.rows, layout.columns)
    out[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
    return out


def _undecodable(reason: str) -> UndecodablePixels:
    return UndecodablePixels("The pixel data cannot be decoded.", reason)
