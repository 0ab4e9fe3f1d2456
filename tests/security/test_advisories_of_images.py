"""One test for each advisory of other readers of DICOM that could have been ours: what bit them.

The name of a test holds the id, its docstring what went wrong there.
"""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from inference.analysis import StudyIdentity
from inference.errors import InferenceError
from inference.evidence.making import Maker
from inference.evidence.objects import EvidenceObject
from inference.evidence.source import source_image
from inference.frames import frame_facts
from inference.instance import read_instance
from inference.limits import MIB, Limits
from inference.pixels import PixelSource
from models.contract import PixelArray
from tests.doubles.evidence_cases import ALL, AT, DECIDING, found_on, manifest_of, series
from tests.reference import dicom_factory as factory

PROGRAM = b"MZ\x90\x00\x03 a program for Windows " + bytes(30)
"""What a preamble may begin with."""

SMALL = factory.head(16, 16).astype(np.uint8)
META_END = 144 + struct.unpack_from("<I", factory.encoded(factory.instance(SMALL)), 140)[0]
"""Where the File Meta Information of our drawn files ends (PS3.10, 7.1)."""


def decoded(data: bytes) -> PixelArray:
    """The first frame of a file, as the pipeline reads it."""
    instance = read_instance(data, Limits())
    return PixelSource(instance).plane(0, frame_facts(instance)[0])[0]


def refused_in_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InferenceError):
            decoded(data)
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()


def compressed(ds: Dataset, syntax: str, frame: bytes) -> bytes:
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return factory.encoded(ds, syntax)


def test_cve_2019_11687_no_preamble_is_carried_on() -> None:
    """DICOM: a file is also a program, if its first 128 bytes say so; it was stored and sent on."""
    images = series()
    result = found_on(images)
    file = factory.encoded(images[DECIDING - 1])
    file = PROGRAM + file[len(PROGRAM) :]
    assert decoded(file).shape == (64, 64)
    whose = StudyIdentity(str(images[0].StudyInstanceUID), str(images[0].PatientID))
    sources = {DECIDING: source_image(file, 1, whose)}
    made = Maker(result, manifest_of(result), sources, AT).make(ALL)
    objects = [each for each in made if isinstance(each, EvidenceObject)]
    assert objects
    for each in objects:
        assert each.encoded[:132] == bytes(128) + b"DICM"
        assert PROGRAM.rstrip(b"\0") not in each.encoded


def test_cve_2026_5437_a_broken_file_meta_is_read_no_further_than_it_goes() -> None:
    """Orthanc: the reader of the File Meta Information went beyond the end of its buffer."""
    whole = factory.encoded(factory.instance(SMALL))
    for cut in range(META_END):
        refused_in_little_memory(whole[:cut])
    for length in (0, 1, 0xFFFF, 0xFFFFFFFF):
        claimed = bytearray(whole)
        struct.pack_into("<I", claimed, 140, length)  # File Meta Information Group Length
        assert np.array_equal(decoded(bytes(claimed)), SMALL)


@pytest.mark.parametrize("length", [0x7FFF, 0xFFFF, 0xFFFFFFF0])
@pytest.mark.parametrize("vr", [b"ZZ", b"OB", b"UN", b"\0\0"])
def test_cve_2026_3650_a_strange_element_of_the_file_meta_costs_no_memory(
    vr: bytes, length: int
) -> None:
    """GDCM: a value representation that does not exist made it allocate without end."""
    whole = factory.encoded(factory.instance(SMALL))
    long = vr in (b"OB", b"UN")
    stated = struct.pack("<HI", 0, length) if long else struct.pack("<H", length & 0xFFFF)
    element = struct.pack("<HH2s", 0x0002, 0x0016, vr) + stated
    refused_in_little_memory(whole[:144] + element + whole[144:])


def test_cve_2026_3650_gdcm_is_not_there() -> None:
    assert importlib.util.find_spec("gdcm") is None


def run_lengths(rows: int = 16, columns: int = 16) -> bytes:
    """One segment: each row is one literal run (PS3.5 G.3)."""
    rows_of_bytes = (bytes([columns - 1]) + SMALL[row].tobytes() for row in range(rows))
    return struct.pack("<16I", 1, 64, *[0] * 14) + b"".join(rows_of_bytes)


def rle(frame: bytes) -> bytes:
    return compressed(factory.instance(SMALL), RLELossless, frame)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"", id="ends early"),
        pytest.param(bytes([127]), id="a literal run of nothing"),
        pytest.param(bytes([127, 1, 2]), id="a literal run that breaks off"),
        pytest.param(bytes([129]), id="a repeat of nothing"),
        pytest.param(bytes([128, 128]), id="no operation"),
    ],
)
def test_cve_2026_5441_no_pixel_is_what_was_in_memory(end: bytes) -> None:
    """Orthanc: a run at the end of the data was read on, and what lay behind became an image."""
    whole = run_lengths()
    assert np.array_equal(decoded(rle(whole)), SMALL)
    with pytest.raises(InferenceError):
        decoded(rle(whole[:-17] + end))


def test_cve_2026_5441_a_format_that_is_not_known_is_not_guessed_at() -> None:
    """It was the one vendor's own compression in which this happened."""
    file = rle(run_lengths())
    assert file.count(RLELossless.encode()) == 1
    with pytest.raises(InferenceError):
        decoded(file.replace(RLELossless.encode(), b"1.2.840.10008.1.9.5"))


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
@pytest.mark.parametrize("more", [1 << 16, 1 << 31, (1 << 32) - 32])
def test_cve_2026_5442_a_size_of_32_bits_is_the_size_that_counts(keyword: str, more: int) -> None:
    """Orthanc: a size stated as UL was multiplied in 32 bits, and the buffer was too small."""
    ds = factory.instance(SMALL)
    del ds[keyword]
    ds.add_new(keyword, "UL", 16 + more)
    refused_in_little_memory(factory.encoded(ds))


def test_cve_2026_5443_5444_a_product_beyond_32_bits_is_no_small_one() -> None:
    """Orthanc: columns x rows x samples came out small, of a palette image and of a PAM."""
    colours = factory.palette_colour(SMALL)
    colours.Rows = colours.Columns = 65535
    refused_in_little_memory(factory.encoded(colours))
    many = factory.instance(SMALL, NumberOfFrames=2**31 - 1, Rows=65535, Columns=65535)
    refused_in_little_memory(factory.encoded(many))


def test_cve_2026_5445_an_index_beyond_the_palette_is_its_last_colour() -> None:
    """Orthanc: an index was looked up wherever it led (the clause: PS3.3 C.7.6.3.1.5)."""
    ds = factory.palette_colour(np.full((16, 16), 200, np.uint8))
    for name in ("Red", "Green", "Blue"):
        table = getattr(ds, f"{name}PaletteColorLookupTableData")
        setattr(ds, f"{name}PaletteColorLookupTableData", table[:32])
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [16, 0, 16])
    assert np.unique(decoded(factory.encoded(ds)).reshape(-1, 3), axis=0).tolist() == [[15, 240, 7]]


@pytest.mark.parametrize(("across", "down"), [(2, 1), (1, 2), (2, 2), (255, 255), (0, 1)])
def test_cve_2021_3575_components_of_other_sizes_are_refused(across: int, down: int) -> None:
    """OpenJPEG: colour of half the size was written beyond its buffer while it was converted."""
    colour = np.stack([SMALL] * 3, axis=-1)
    frame = bytearray(factory.imagecodecs.jpeg2k_encode(colour, codecformat="j2k", reversible=True))
    siz = frame.find(b"\xff\x51")
    for component in (1, 2):
        struct.pack_into(">BB", frame, siz + 41 + 3 * component, across, down)
    ds = factory.instance(colour, PhotometricInterpretation="YBR_RCT", PlanarConfiguration=0)
    with pytest.raises(InferenceError):
        decoded(compressed(ds, JPEG2000Lossless, bytes(frame)))


def test_cve_2021_3575_no_door_to_a_decoder_is_open_in_the_web_process() -> None:
    """Whatever a decoder still has, it has in the child of a worker alone."""
    seen = "import sys, cds_service.bootstrap.web; print('inference.codecs' in sys.modules)"
    run = [sys.executable, "-c", seen]
    started = subprocess.run(run, capture_output=True, text=True, check=True)
    assert started.stdout.strip() == "False"
