"""Reads one bomb in a process of its own; prints how it ended, in what time, with what memory.

`python -m tests.faults.dicom_bombs NAME` prints JSON: error, seconds, growth of the resident size.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from inference.frames import frame_facts
from inference.instance import read_instance
from inference.limits import Limits
from inference.pixels import PixelSource
from tests.reference import dicom_factory as factory

_TINY = np.zeros((10, 10), np.uint8)


def _meta(syntax: str) -> bytes:
    """Preamble and File Meta Information alone."""
    data = factory.encoded(factory.instance(_TINY), syntax)
    return data[: 144 + struct.unpack_from("<I", data, 140)[0]]


def _element(group: int, element: int, vr: bytes, length: int) -> bytes:
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return struct.pack("<HH2sHI", group, element, vr, 0, length)
    return struct.pack("<HH2sH", group, element, vr, length)


def _deflated(head: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    parts = [stream.compress(head), *(stream.compress(zeros) for _ in range(1024)), stream.flush()]
    return _meta(DeflatedExplicitVRLittleEndian) + b"".join(parts)


def deflated_element() -> bytes:
    """A gigabyte of zeros in one private element: 1 MB."""
    return _deflated(_element(0x0009, 0x1001, b"OB", 1 << 30))


def deflated_pixels() -> bytes:
    """A 10 x 10 image whose pixel data is a gigabyte of zeros."""
    ds = factory.instance(_TINY)
    whole = factory.encoded(ds, ExplicitVRLittleEndian)
    header = whole[len(_meta(ExplicitVRLittleEndian)) : -112]
    return _deflated(header + _element(0x7FE0, 0x0010, b"OB", 1 << 30))


def native_sizes() -> bytes:
    """65535 x 65535 x (2^31 - 1) frames of 16 bits, with 100 bytes."""
    ds = factory.instance(_TINY, Rows=65535, Columns=65535, NumberOfFrames=2**31 - 1)
    return factory.encoded(ds)


def many_frames() -> bytes:
    """2^31 - 1 frames of one pixel."""
    return factory.encoded(factory.instance(_TINY, Rows=1, Columns=1, NumberOfFrames=2**31 - 1))


def _compressed(syntax: str, frame: bytes, **elements: int) -> bytes:
    ds = factory.instance(_TINY, **elements)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return factory.encoded(ds, syntax)


def _run_lengths(rows: int, columns: int, samples: int = 1) -> bytes:
    segment = bytes([129, 0]) * (rows * columns // 128 + 1)
    offsets = [64 + index * len(segment) for index in range(samples)]
    header = struct.pack("<16I", samples, *offsets, *[0] * (15 - samples))
    return header + segment * samples


def run_lengths() -> bytes:
    """20000 x 20000 in two-byte runs: 6 MB for 400."""
    return _compressed(RLELossless, _run_lengths(20_000, 20_000), Rows=20_000, Columns=20_000)


def run_lengths_declared() -> bytes:
    """65535 x 10000 x 3 declared, 2 kB of data: aborts a process that trusts it."""
    frame = _run_lengths(30, 1000, 3)
    return _compressed(RLELossless, frame, Rows=65535, Columns=10_000, SamplesPerPixel=3)


def jpeg_2000_size() -> bytes:
    """A codestream whose SIZ says 60000 x 60000, under tags that say the same."""
    frame = bytearray(factory.imagecodecs.jpeg2k_encode(_TINY, codecformat="j2k", reversible=True))
    at = frame.find(b"\xff\x51")
    struct.pack_into(">II", frame, at + 6, 60_000, 60_000)
    struct.pack_into(">II", frame, at + 22, 60_000, 60_000)
    return _compressed(JPEG2000Lossless, bytes(frame), Rows=60_000, Columns=60_000)


def jpeg_2000_size_hidden() -> bytes:
    """The same codestream under tags that say 10 x 10."""
    frame = bytearray(factory.imagecodecs.jpeg2k_encode(_TINY, codecformat="j2k", reversible=True))
    at = frame.find(b"\xff\x51")
    struct.pack_into(">II", frame, at + 6, 60_000, 60_000)
    return _compressed(JPEG2000Lossless, bytes(frame))


def nested_sequences() -> bytes:
    """5000 sequences of undefined length inside each other."""
    level = _element(0x0008, 0x1115, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return _meta(ExplicitVRLittleEndian) + level * 5000


def element_of_4_gib() -> bytes:
    """A pixel data element of 0xFFFFFFF0 bytes in a tiny file."""
    data = factory.encoded(factory.instance(_TINY))
    return data[:-112] + _element(0x7FE0, 0x0010, b"OW", 0xFFFFFFF0) + b"x" * 10


def many_elements() -> bytes:
    """Half a million empty elements: 4 MB."""
    block = b"".join(_element(0x0011, number, b"LO", 0) for number in range(0x1000, 0xFFFF))
    return _meta(ExplicitVRLittleEndian) + block * 8


def many_nested_elements() -> bytes:
    """The same inside one sequence of undefined length."""
    block = b"".join(_element(0x0011, number, b"LO", 0) for number in range(0x1000, 0xFFFF))
    opened = _element(0x0008, 0x1115, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return _meta(ExplicitVRLittleEndian) + opened + block * 8


def truncated_jpeg_ls() -> bytes:
    """A JPEG-LS frame without its end, on which CharLS loops for ever."""
    pixels = factory.head(512, 512, blob=0.3)
    frame = bytes(factory.imagecodecs.jpegls_encode(pixels))[:48518]
    ds = factory.instance(pixels)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return factory.encoded(ds, factory.JPEGLSLossless)


BOMBS: dict[str, Callable[[], bytes]] = {
    bomb.__name__: bomb
    for bomb in (
        deflated_element,
        deflated_pixels,
        native_sizes,
        many_frames,
        run_lengths,
        run_lengths_declared,
        jpeg_2000_size,
        jpeg_2000_size_hidden,
        nested_sequences,
        element_of_4_gib,
        many_elements,
        many_nested_elements,
        truncated_jpeg_ls,
    )
}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str) -> None:
    """Read one bomb as the pipeline would."""
    data = BOMBS[name]()
    before, since, ended = _peak_bytes(), time.process_time(), "read"
    try:
        instance = read_instance(data, Limits())
        source = PixelSource(instance)
        source.plane(0, frame_facts(instance)[0])
    except BaseException as error:  # noqa: BLE001 what leaves is what is told
        ended = type(error).__name__
    seconds = time.process_time() - since
    report = {"ended": ended, "cpu_s": seconds, "growth_bytes": _peak_bytes() - before}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
