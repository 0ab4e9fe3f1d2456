from __future__ import annotations

import struct
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.boundary import contained
from inference.codecs import decode_frame
from inference.encapsulation import frames_of
from inference.errors import LimitExceeded, UndecodablePixels
from inference.instance import read_instance
from inference.limits import Limits
from tests.reference import dicom_factory as factory

GREY = factory.head(48, 40, blob=0.3)
BASELINE = "1.2.840.10008.1.2.4.50"


def _undecodable(reason: str) -> UndecodablePixels:
    return UndecodablePixels("x", reason)


def _encoded(syntax: str, pixels: Any = GREY) -> tuple[bytes, Any]:
    instance = read_instance(factory.transcoded(factory.instance(pixels), pixels, syntax), Limits())
    return frames_of(instance.pixel_value, 1)[0], instance.layout


@pytest.mark.parametrize("syntax", factory.LOSSLESS_SYNTAXES)
def test_a_lossless_frame_comes_back_bit_by_bit(syntax: str) -> None:
    frame, layout = _encoded(syntax)
    assert np.array_equal(decode_frame(syntax, frame, layout), GREY)


@pytest.mark.parametrize("syntax", [*factory.LOSSLESS_SYNTAXES, BASELINE])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_frame_is_an_error_never_a_grey_area(syntax: str, share: float) -> None:
    """libjpeg fills what is missing, and OpenJPH gives back what was in memory."""
    pixels = (GREY >> 2).astype(np.uint8) if syntax == BASELINE else GREY
    frame, layout = _encoded(syntax, pixels)
    with pytest.raises(UndecodablePixels), contained(_undecodable):
        decode_frame(syntax, frame[: int(len(frame) * share)], layout)


@pytest.mark.parametrize("syntax", [*factory.LOSSLESS_SYNTAXES, BASELINE])
@pytest.mark.parametrize("change", [{"rows": 47}, {"columns": 41}, {"samples": 3}, {"rows": 65535}])
def test_a_codestream_of_another_size_than_its_tags_is_refused(
    syntax: str, change: dict[str, int]
) -> None:
    pixels = (GREY >> 2).astype(np.uint8) if syntax == BASELINE else GREY
    frame, layout = _encoded(syntax, pixels)
    with pytest.raises(UndecodablePixels), contained(_undecodable):
        decode_frame(syntax, frame, replace(layout, **change))


def test_a_codestream_deeper_than_its_tags_is_refused() -> None:
    frame, layout = _encoded(factory.JPEGLSLossless)
    with pytest.raises(UndecodablePixels):
        decode_frame(factory.JPEGLSLossless, frame, replace(layout, bits_allocated=8))


def test_an_unknown_syntax_is_named_unsupported() -> None:
    frame, layout = _encoded(factory.JPEGLSLossless)
    with pytest.raises(UndecodablePixels) as caught:
        decode_frame("1.2.840.10008.1.2.4.100", frame, layout)
    assert caught.value.reason == "unsupported"


def test_a_run_length_bomb_is_refused_before_its_memory_is_asked_for() -> None:
    rows = columns = 20_000
    segment = bytes([129, 0]) * (rows * columns // 128 + 1)
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + segment
    _, layout = _encoded(factory.RLELossless)
    big = replace(layout, rows=rows, columns=columns, bits_allocated=8, bits_stored=8, high_bit=7)
    with pytest.raises(LimitExceeded):
        decode_frame(factory.RLELossless, frame, big)


def test_no_gpl_decoder_is_loaded() -> None:
    assert not {name for name in sys.modules if name.startswith(("pylibjpeg", "libjpeg", "gdcm"))}
