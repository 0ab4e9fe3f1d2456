"""One encoded frame -> stored values, by transfer syntax (PS3.5 A.4).

imagecodecs is BSD, has every codec, and lets go of the GIL while it decodes.
"""

from __future__ import annotations

from collections.abc import Callable

import imagecodecs
import numpy as np
from pydicom import uid

from inference import codestream
from inference.codestream import Codestream
from inference.errors import LimitExceeded, UndecodablePixels
from inference.instance import PixelLayout
from inference.limits import MIB
from models.contract import PixelArray

Codec = Callable[[bytes, PixelLayout], PixelArray]
# no modality compresses a single frame of this size this well; a run-length bomb does
_LARGE_BYTES, _PLAUSIBLE_RATIO = 64 * MIB, 32
_RGB = 2  # JCS_RGB: what the decoder is told, so that it converts nothing


def decode_frame(syntax: str, frame: bytes, layout: PixelLayout) -> PixelArray:
    """Decode one frame: (rows, columns) or (rows, columns, samples), stored values.

    The codestream's own size is compared with the tags before anything is allocated.
    Colour that the codestream itself transforms (YBR_ICT, YBR_RCT, JPEG YCbCr) comes out as RGB:
    see `colour_is_rgb`. Raises UndecodablePixels; a damaged stream may raise anything else.
    """
    codec = _CODECS.get(syntax)
    if codec is None:
        raise UndecodablePixels("The image is compressed in a way that is not read.", "unsupported")
    size = layout.decoded_bytes // layout.frames
    if size > _LARGE_BYTES and size > _PLAUSIBLE_RATIO * len(frame):
        raise LimitExceeded("A frame claims to be far larger than its compressed data suggests.")
    pixels = codec(frame, layout)
    expected = (layout.rows, layout.columns, layout.samples)[: 2 if layout.samples == 1 else 3]
    if pixels.shape != expected:
        raise UndecodablePixels("The image is not of the size its header states.", "size")
    return pixels


def colour_is_rgb(syntax: str, photometric: str) -> bool:
    """Whether `decode_frame` has already turned this kind of colour into RGB."""
    if syntax in _JPEG_LOSSY:
        return True
    return photometric in ("RGB", "YBR_ICT", "YBR_RCT")


def _agree(stated: Codestream, layout: PixelLayout) -> None:
    sizes = (stated.rows, stated.columns, stated.samples)
    if sizes != (layout.rows, layout.columns, layout.samples):
        raise UndecodablePixels("The compressed image is not of the size its tags state.", "size")
    if stated.precision > layout.bits_allocated:
        raise UndecodablePixels("The compressed image is deeper than its tags state.", "size")


def _must_end(frame: bytes) -> None:
    """Without its last marker libjpeg fills the rest with grey, and CharLS may never return."""
    if not codestream.jpeg_is_whole(frame):
        raise UndecodablePixels("The compressed image ends too early.", "truncated")


def _jpeg(frame: bytes, layout: PixelLayout) -> PixelArray:
    stated = codestream.jpeg(frame)
    _agree(stated, layout)
    _must_end(frame)
    # libjpeg takes three components for YCbCr unless a marker says otherwise; the tag knows
    untouched = stated.samples == 3 and stated.colour_transform is None and _is_rgb(stated, layout)
    space = _RGB if untouched else None
    return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace=space))


def _is_rgb(stated: Codestream, layout: PixelLayout) -> bool:
    return stated.lossless or layout.photometric == "RGB"


def _jpeg_ls(frame: bytes, layout: PixelLayout) -> PixelArray:
    _agree(codestream.jpeg(frame), layout)
    _must_end(frame)
    return np.asarray(imagecodecs.jpegls_decode(frame))


def _jpeg_2000(frame: bytes, layout: PixelLayout) -> PixelArray:
    # HTJ2K too: OpenJPEG refuses a damaged stream, where imagecodecs.htj2k_decode (2026.3.6)
    # drops OpenJPH's error and gives back whatever was in memory
    _agree(codestream.jpeg2000(frame), layout)
    return np.asarray(imagecodecs.jpeg2k_decode(frame, planar=False, numthreads=1))


def _rle(frame: bytes, layout: PixelLayout) -> PixelArray:
    """PS3.5 G: one segment for each byte of each sample, most significant first."""
    width = layout.bits_allocated // 8
    if width not in (1, 2, 4) or codestream.rle_segments(frame) != width * layout.samples:
        raise UndecodablePixels("The compressed image is not of the size its tags state.", "size")
    size = layout.rows * layout.columns * layout.samples * width
    if size > len(frame) * 64:  # a two-byte run stands for at most 128 bytes
        raise UndecodablePixels("The pixel data is too short for its stated size.", "truncated")
    out = np.empty(size, np.uint8)
    decoded = imagecodecs.dicomrle_decode(frame, f"<u{width}", out=out.data)
    if len(decoded) != size:
        raise UndecodablePixels("The pixel data is too short for its stated size.", "truncated")
    planes = out.view(f"<u{width}").reshape(layout.samples, layout.rows, layout.columns)
    return planes[0] if layout.samples == 1 else np.moveaxis(planes, 0, -1)


_JPEG_LOSSY = frozenset({uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, "1.2.840.10008.1.2.4.55"})

_CODECS: dict[str, Codec] = {
    **dict.fromkeys(_JPEG_LOSSY, _jpeg),
    uid.JPEGLossless: _jpeg,
    uid.JPEGLosslessSV1: _jpeg,
    uid.JPEGLSLossless: _jpeg_ls,
    uid.JPEGLSNearLossless: _jpeg_ls,
    uid.JPEG2000Lossless: _jpeg_2000,
    uid.JPEG2000: _jpeg_2000,
    uid.HTJ2KLossless: _jpeg_2000,
    uid.HTJ2KLosslessRPCL: _jpeg_2000,
    uid.HTJ2K: _jpeg_2000,
    uid.RLELossless: _rle,
}
