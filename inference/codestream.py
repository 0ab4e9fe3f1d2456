"""What a codestream says of itself, read from its header without decoding it.

A decoder allocates by these numbers, not by the DICOM tags: they are compared first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from struct import Struct

from inference.errors import UndecodablePixels

_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # F7: JPEG-LS
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SOS, _EOI, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE
_PADDING = 64  # a fragment is padded to even length; some writers pad more
_FRAME = Struct(">BHHB")
_SIZ = Struct(">HHIIIIIIIIH")
_BOX = Struct(">I4s")


@dataclass(frozen=True)
class Codestream:
    """Declared size of one encoded frame.

    `colour_transform` is Adobe's flag (JPEG APP14: 0 is none, 1 is YCbCr); JFIF is always YCbCr.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    lossless: bool = False
    multi_component: bool = False
    colour_transform: int | None = None


def jpeg(data: bytes) -> Codestream:
    """Read a JPEG or JPEG-LS header up to its frame header (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    position, transform = 2, None
    if data[:2] != b"\xff\xd8":
        raise _unrecognised()
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _unrecognised()
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (_SOS, _EOI):
            raise _unrecognised()
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _SOF:
            return _frame_header(data, position + 4, marker, transform)
        transform = _colour_transform(marker, data[position + 4 : position + 2 + length], transform)
        position += 2 + length
    raise _unrecognised()


def jpeg_is_whole(data: bytes) -> bool:
    """Whether the End Of Image marker of a JPEG or JPEG-LS stream is there (T.81 B.1.1.3)."""
    return b"\xff\xd9" in data[-_PADDING:]


def _colour_transform(marker: int, segment: bytes, before: int | None) -> int | None:
    if marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
        return segment[11]
    if marker == _APP0 and segment.startswith(b"JFIF\0") and before is None:
        return 1
    return before


def _frame_header(data: bytes, start: int, marker: int, transform: int | None) -> Codestream:
    try:
        precision, rows, columns, samples = _FRAME.unpack_from(data, start)
    except struct.error:
        raise _unrecognised() from None
    lossless = marker in (0xC3, 0xF7)
    return Codestream(
        rows, columns, samples, precision, lossless=lossless, colour_transform=transform
    )


def jpeg2000(data: bytes) -> Codestream:
    """Read the SIZ and COD marker segments of a JPEG 2000 or HTJ2K codestream (T.800 A.5, A.6)."""
    start = _codestream_start(data)
    try:
        _, _, width, height, left, top, *_, samples = _SIZ.unpack_from(data, start + 4)
        component = data[start + 42]
    except (struct.error, IndexError):
        raise _unrecognised() from None
    return Codestream(
        rows=height - top,
        columns=width - left,
        samples=samples,
        precision=(component & 0x7F) + 1,
        signed=bool(component & 0x80),
        multi_component=_multi_component(data, start + 2),
    )


def _codestream_start(data: bytes) -> int:
    """Offset of SOC; some writers wrap the codestream in a JP2 file, which PS3.5 A.4.4 forbids."""
    position = 0
    if data[:4] == b"\xff\x4f\xff\x51":
        return 0
    while position + 8 <= len(data):
        length, kind = _BOX.unpack_from(data, position)
        if kind == b"jp2c":
            start = position + (16 if length == 1 else 8)
            if data[start : start + 4] == b"\xff\x4f\xff\x51":
                return start
            break
        if length < 8:
            break
        position += length
    raise _unrecognised()


def _multi_component(data: bytes, position: int) -> bool:
    """Whether COD asks for the inverse colour transform after decoding."""
    while position + 4 <= len(data):
        marker = int.from_bytes(data[position : position + 2], "big")
        if marker == 0xFF52:  # COD: Lcod Scod SGcod(progression, layers x 2, transform)
            return data[position + 8 : position + 9] == b"\x01"
        if marker == 0xFF90:  # SOT: the main header has ended
            return False
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def rle_segments(data: bytes) -> int:
    """How many segments an RLE frame declares (PS3.5 G.5), once their offsets make sense."""
    if len(data) < 64:
        raise _unrecognised()
    header = memoryview(data[:64]).cast("I")
    count = header[0]
    offsets = list(header[1 : count + 1])
    if not 1 <= count <= 15 or offsets != sorted(offsets) or offsets[0] < 64:
        raise _unrecognised()
    if offsets[-1] >= len(data):
        raise UndecodablePixels("The pixel data ends before its last segment.", "truncated")
    return count


def _unrecognised() -> UndecodablePixels:
    return UndecodablePixels("The compressed image has no header that can be read.", "codestream")
