from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from inference.errors import InferenceError, LimitExceeded, UnreadableInstance
from inference.instance import facts_of, read_instance
from inference.limits import Limits
from tests.reference import dicom_factory as factory

LIMITS = Limits()


def _read(**elements: Any) -> Any:
    return read_instance(factory.encoded(factory.instance(**elements)), LIMITS)


def _holds_no_image(data: bytes) -> bool:
    try:
        return read_instance(data, LIMITS).layout is None
    except UnreadableInstance:
        return True


@pytest.mark.parametrize("syntax", factory.NATIVE_SYNTAXES)
def test_every_uncompressed_syntax_states_the_same_layout(syntax: str) -> None:
    pixels = factory.head(20, 24)
    data = factory.transcoded(factory.instance(pixels), pixels, syntax)
    read = read_instance(data, LIMITS)
    assert read.layout is not None
    assert (read.layout.rows, read.layout.columns, read.layout.bits_stored) == (20, 24, 16)
    assert (read.transfer_syntax, read.encapsulated) == (syntax, False)
    assert len(read.pixel_value) == 20 * 24 * 2
    assert read.sop_instance_uid == factory.uid("instance")


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_a_bare_data_set_without_preamble_and_meta_is_read(syntax: str) -> None:
    pixels = factory.head(20, 24)
    data = factory.transcoded(factory.instance(pixels), pixels, syntax)
    group_length = struct.unpack_from("<I", data, 140)[0]
    read = read_instance(data[144 + group_length :], LIMITS)
    assert read.transfer_syntax == syntax
    assert read.frames == 1


def test_the_facts_are_what_the_header_states() -> None:
    facts = facts_of(_read(SeriesDescription="t1 ax", SeriesNumber=7), instances=3)
    assert facts.series_uid == factory.uid("series")
    assert (facts.modality, facts.series_number, facts.description) == ("MR", 7, "t1 ax")
    assert (facts.body_part, facts.image_type) == ("HEAD", ("ORIGINAL", "PRIMARY"))
    assert (facts.rows, facts.columns, facts.samples_per_pixel, facts.instances) == (64, 64, 1, 3)


def test_an_enhanced_image_says_elsewhere_what_its_pixels_mean() -> None:
    """Phases and diffusion need not stand in Image Type (PS3.3 C.8.13.3.1)."""
    stated = {"ComplexImageComponent": "PHASE", "AcquisitionContrast": "DIFFUSION"}
    facts = facts_of(_read(**stated))
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "PHASE", "DIFFUSION")


def test_what_is_not_stated_is_none() -> None:
    facts = facts_of(_read(Modality=None, SeriesNumber=None, BodyPartExamined=None))
    assert (facts.modality, facts.series_number, facts.body_part) == (None, None, None)


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 0},
        {"Columns": 0},
        {"Rows": None},
        {"SamplesPerPixel": 2},
        {"NumberOfFrames": 0},
        {"NumberOfFrames": -1},
        {"BitsAllocated": 12},
        {"BitsAllocated": None},
        {"BitsStored": 17},
        {"HighBit": 16},
        {"HighBit": 3},
        {"SOPInstanceUID": "1.2.x"},
        {"SOPInstanceUID": "../../etc/passwd"},
        {"StudyInstanceUID": "1" * 65},
        {"SeriesInstanceUID": ["1.2", "1.3"]},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_header_that_contradicts_itself_is_unreadable(elements: dict[str, Any]) -> None:
    with pytest.raises(UnreadableInstance):
        _read(**elements)


@pytest.mark.parametrize("cut", [0, 1, 100, 131, 140, 200, 400, 900])
def test_a_cut_file_holds_no_image(cut: int) -> None:
    assert _holds_no_image(factory.encoded(factory.instance())[:cut])


def test_pixel_data_that_ends_early_is_unreadable() -> None:
    data = factory.encoded(factory.instance())
    with pytest.raises(UnreadableInstance, match="ends inside its pixel data"):
        read_instance(data[:-1], LIMITS)


@pytest.mark.parametrize("noise", [b"", b"\0" * 500, b"GIF89a" * 100, bytes(range(256)) * 8])
def test_other_bytes_hold_no_image(noise: bytes) -> None:
    assert _holds_no_image(noise)


@pytest.mark.parametrize(
    ("limits", "elements"),
    [
        (replace(LIMITS, instance_bytes=1000), {}),
        (replace(LIMITS, header_bytes=300), {}),
        (replace(LIMITS, header_reads=20), {}),
        (replace(LIMITS, decoded_instance_bytes=64 * 64 * 2 - 1), {}),
        (replace(LIMITS, frames=9), {"NumberOfFrames": 10}),
        (LIMITS, {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1}),
    ],
    ids=str,
)
def test_what_is_over_a_limit_is_refused(limits: Limits, elements: dict[str, Any]) -> None:
    with pytest.raises(LimitExceeded):
        read_instance(factory.encoded(factory.instance(**elements)), limits)


def test_no_error_quotes_a_value_of_the_object() -> None:
    secret = "JANE.DOE.1.2"
    with pytest.raises(InferenceError) as caught:
        _read(SOPInstanceUID=secret)
    assert secret not in str(caught.value)
    assert secret not in caught.value.sentence


def test_deflated_pixels_beyond_the_stated_image_are_not_inflated() -> None:
    """PS3.5 A.5: a megabyte of deflated zeros is a gigabyte."""
    ds = factory.instance(np.zeros((10, 10), np.uint16))
    ds.PixelData = bytes(50_000_000)
    data = factory.encoded(ds, DeflatedExplicitVRLittleEndian)
    assert len(data) < 100_000
    with pytest.raises(LimitExceeded):
        read_instance(data, LIMITS)


def test_a_deflated_file_cut_short_is_unreadable() -> None:
    data = factory.encoded(factory.instance(), DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableInstance):
        read_instance(data[:-300], LIMITS)


def test_the_digest_is_of_the_bytes_as_they_came() -> None:
    data = factory.encoded(factory.instance())
    assert read_instance(data, LIMITS).sha256 == hashlib.sha256(data).hexdigest()
