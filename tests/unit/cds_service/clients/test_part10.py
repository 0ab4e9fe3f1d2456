"""The walk over a Part 10 file: whose it is, and whether it is all there."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from functools import cache

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from cds_service.clients.part10 import NotDicom, NotWhole, instance_facts
from tests.doubles.faulty_archive import make_instance

STUDY, SERIES = "1.2.3", "1.2.3.4"
NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]


def rewritten(**changes: object) -> bytes:
    instance = pydicom.dcmread(io.BytesIO(make_instance(STUDY, SERIES)))
    nested = Dataset()
    nested.StudyDescription = "inside"
    nested.StudyInstanceUID = "9.9.9"  # of another level: must not be taken for ours
    instance.ReferencedStudySequence = Sequence([nested])
    instance["ReferencedStudySequence"].is_undefined_length = True
    for name, value in changes.items():
        setattr(instance, name, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


def encapsulated() -> bytes:
    instance = pydicom.dcmread(io.BytesIO(rewritten()))
    instance.file_meta.TransferSyntaxUID = JPEG2000Lossless
    instance.PixelData = encapsulate([b"\xff\x4f" * 500])
    instance["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    pydicom.dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


def big_endian() -> bytes:
    data = rewritten()
    instance = pydicom.dcmread(io.BytesIO(data))
    instance.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    instance.PixelData = np.frombuffer(instance.PixelData, "<u2").astype(">u2").tobytes()
    file = io.BytesIO()
    pydicom.dcmwrite(
        file, instance, little_endian=False, implicit_vr=False, enforce_file_format=True
    )
    return file.getvalue()


FILES = {
    "explicit": lambda: make_instance(STUDY, SERIES),
    "implicit": lambda: make_instance(STUDY, SERIES, syntax=ImplicitVRLittleEndian),
    "nested": rewritten,
    "encapsulated": encapsulated,
    "big endian": big_endian,
    "deflated": lambda: make_instance(STUDY, SERIES, syntax=DeflatedExplicitVRLittleEndian),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_identity_is_that_of_the_top_level(kind: str) -> None:
    data = FILES[kind]()
    facts = instance_facts(data)
    assert (facts.study_uid, facts.series_uid) == (STUDY, SERIES)
    assert facts.sop_instance_uid == pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_cut_in_its_pixels_is_not_whole(kind: str) -> None:
    data = FILES[kind]()
    for cut in range(len(data) - 300, len(data) - 8, 7):
        with pytest.raises(NotWhole):
            instance_facts(data[:cut])


@pytest.mark.parametrize("kind", ["explicit", "implicit", "nested", "encapsulated", "big endian"])
def test_a_cut_in_the_header_is_noticed_once_there_are_rows(kind: str) -> None:
    """Even between two elements, where the bytes alone look like a whole (smaller) file."""
    data = FILES[kind]()
    rows = data.rfind(b"\x28\x00\x10\x00" if kind != "big endian" else b"\x00\x28\x00\x10") + 10
    for cut in range(rows, len(data) - 300):
        with pytest.raises(NotWhole):
            instance_facts(data[:cut])


def test_fewer_pixels_than_the_header_declares_are_not_whole() -> None:
    with pytest.raises(NotWhole):
        instance_facts(rewritten(Rows=64))
    with pytest.raises(NotWhole):
        instance_facts(rewritten(NumberOfFrames=2))


def test_more_pixels_and_padding_are_let_pass() -> None:
    assert instance_facts(rewritten(Rows=16)).study_uid == STUDY
    assert instance_facts(rewritten() + b"\0\0").study_uid == STUDY


@pytest.mark.parametrize("data", [b"", b"x" * 500, b"\0" * 128 + b"DICM", b"<html>" * 50])
def test_what_is_not_dicom_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(NotDicom):
        instance_facts(data)


def test_a_deflated_bomb_is_read_for_its_identity_only() -> None:
    data = make_instance(STUDY, SERIES, syntax=DeflatedExplicitVRLittleEndian)
    start = data.rfind(zlib_start(data))
    header = zlib.decompressobj(-15).decompress(data[start:])
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(header[:-4] + struct.pack("<I", 200 << 20))
    for _ in range(200):
        bomb += packer.compress(b"\0" * (1 << 20))
    facts = instance_facts(data[:start] + bomb + packer.flush())
    assert facts.study_uid == STUDY


def zlib_start(data: bytes) -> bytes:
    """The first bytes after the file meta group."""
    length = struct.unpack_from("<I", data, 140)[0]
    return data[144 + length : 160 + length]


@cache
def original(kind: str) -> bytes:
    return FILES[kind]()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["nested", "encapsulated", "implicit"]),
    st.lists(st.tuples(st.integers(0, 2400), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_mutants_raise_nothing_else(kind: str, changes: list[tuple[int, int]]) -> None:
    mutant = bytearray(original(kind))
    for at, value in changes:
        mutant[128 + at % (len(mutant) - 128)] = value
    with suppress(NotDicom, NotWhole):
        instance_facts(bytes(mutant))
