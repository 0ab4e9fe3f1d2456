from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest

from inference.errors import UndecodablePixels
from inference.frames import frame_facts
from inference.instance import Instance, read_instance
from inference.limits import Limits
from inference.pixels import PixelSource
from tests.reference import dicom_factory as factory
from tests.reference.real_dicom import manifest, real_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

LOSSY = ("JPEG Baseline", "JPEG Extended", "JPEG Full")


def _open(data: bytes) -> tuple[Instance, PixelSource]:
    instance = read_instance(data, Limits())
    return instance, PixelSource(instance)


def _plane(ds: Any, syntax: str = factory.ExplicitVRLittleEndian, frame: int = 0) -> Any:
    instance, source = _open(factory.encoded(ds, syntax))
    return source.plane(frame, frame_facts(instance)[frame])


@pytest.mark.parametrize("syntax", [*factory.NATIVE_SYNTAXES, *factory.LOSSLESS_SYNTAXES])
@pytest.mark.parametrize("signed", [False, True])
def test_every_syntax_gives_the_stored_values(syntax: str, signed: bool) -> None:
    pixels = factory.head(32, 28)
    stored = pixels.astype(np.int16) - 300 if signed else pixels
    if signed and syntax in (factory.JPEGLSLossless, factory.JPEGLosslessSV1):
        written = stored.view(np.uint16)  # these codecs know no sign: the tag does
    else:
        written = stored
    ds = factory.instance(stored)
    _, source = _open(factory.transcoded(ds, written, syntax))
    assert source.stored(0).dtype == stored.dtype
    assert np.array_equal(source.stored(0), stored)


def test_uncompressed_pixels_are_a_view_of_the_bytes() -> None:
    _, source = _open(factory.encoded(factory.instance()))
    assert source.stored(0).base is not None
    assert not source.stored(0).flags.writeable


def test_bits_beyond_the_stored_ones_are_not_part_of_the_value() -> None:
    pixels = factory.head(16, 16)
    ds = factory.instance(pixels | 0xF000, BitsStored=12, HighBit=11)
    assert np.array_equal(_plane(ds)[0], pixels)


def test_a_signed_value_of_12_bits_keeps_its_sign() -> None:
    values = np.arange(-128, 128, dtype=np.int16).reshape(16, 16)
    ds = factory.instance((values & 0x0FFF).astype(np.int16), BitsStored=12, HighBit=11)
    assert np.array_equal(_plane(ds)[0], values)


def test_without_a_scale_the_stored_dtype_stays() -> None:
    plane, _ = _plane(factory.instance(RescaleSlope=1, RescaleIntercept=0))
    assert plane.dtype == np.uint16


def test_slope_and_intercept_lead_to_modality_units() -> None:
    """PS3.3 C.11.1.1.2"""
    pixels = factory.head(16, 16)
    plane, _ = _plane(factory.instance(pixels, RescaleSlope="0.5", RescaleIntercept="-10"))
    assert plane.dtype == np.float32
    assert np.allclose(plane, pixels * 0.5 - 10)


def test_a_modality_table_leads_to_modality_units() -> None:
    """PS3.3 C.11.1.1.1"""
    pixels = factory.head(16, 16) % 1000
    plane, _ = _plane(factory.with_modality_table(pixels))
    assert np.array_equal(plane, pixels * 2 + 100)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("scale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -5}])
def test_monochrome1_is_turned_over_so_that_larger_is_brighter(
    dtype: type[np.generic], scale: dict[str, int]
) -> None:
    pixels = (factory.head(16, 16) % 100).astype(dtype)
    plain, _ = _plane(factory.instance(pixels, **scale))
    turned, _ = _plane(factory.instance(pixels, PhotometricInterpretation="MONOCHROME1", **scale))
    both = turned.astype(np.float64) + plain.astype(np.float64)
    assert both.min() == both.max()
    assert turned.dtype == plain.dtype


def test_the_window_is_turned_over_with_the_pixels() -> None:
    ds = factory.instance(PhotometricInterpretation="MONOCHROME1", WindowCenter=100, WindowWidth=50)
    _, facts = _plane(ds)
    assert facts.window == (65535 - 100, 50)


def test_palette_colours_become_rgb() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    plane, _ = _plane(factory.palette_colour(indices))
    assert np.array_equal(plane[..., 0], indices)
    assert np.array_equal(plane[..., 1], 255 - indices)
    assert (plane[..., 2] == 7).all()


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_by_pixel_and_by_plane_is_the_same(planar: int) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (6, 4, 3), np.uint8)
    ds = factory.instance(colour, PlanarConfiguration=planar)
    ds.PixelData = (np.moveaxis(colour, -1, 0) if planar else colour).tobytes()
    assert np.array_equal(_plane(ds)[0], colour)


def test_ybr_full_422_is_upsampled_and_becomes_rgb() -> None:
    """PS3.3 C.7.6.3.1.2: Y Y Cb Cr for every two pixels."""
    ds = factory.instance(np.zeros((2, 2, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    ds.PixelData = bytes([76, 76, 85, 255] * 2)
    assert np.abs(_plane(ds)[0].astype(int) - [255, 0, 0]).max() <= 2


def test_single_bits_are_unpacked_least_significant_first() -> None:
    """PS3.5 8.1.1: the second frame does not begin on a byte."""
    bits = np.random.default_rng(0).integers(0, 2, (3, 5, 3), np.uint8)
    ds = factory.instance(np.zeros((5, 3), np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.NumberOfFrames = 3
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    instance, source = _open(factory.encoded(ds))
    assert np.array_equal([source.stored(i) for i in range(instance.frames)], bits)


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_float_pixels_are_read(keyword: str, dtype: str) -> None:
    """PS3.3 C.7.6.24, C.7.6.25"""
    values = np.linspace(-1, 1, 64).reshape(8, 8).astype(dtype)
    ds = factory.instance(
        np.zeros((8, 8), np.uint16), PixelData=None, BitsStored=None, HighBit=None
    )
    ds.BitsAllocated = values.dtype.itemsize * 8
    setattr(ds, keyword, values.tobytes())
    assert np.array_equal(_plane(ds)[0], values)


def test_each_frame_of_an_enhanced_instance_has_its_own_scale() -> None:
    frames = [factory.head(16, 16, seed=i) for i in range(3)]
    ds = factory.enhanced_mr(frames)
    for index, frame in enumerate(frames):
        assert np.allclose(_plane(ds, frame=index)[0], frame * (index + 1.0) - index)


def test_32_bits_are_read() -> None:
    pixels = factory.head(8, 8).astype(np.uint32) * 70_000
    assert np.array_equal(_plane(factory.instance(pixels))[0], pixels)


@pytest.mark.parametrize(
    "elements",
    [
        {"PixelData": b"\0" * 100},
        {"PixelData": None},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_PARTIAL_420", "Rows": 8},
    ],
)
def test_what_cannot_be_decoded_is_one_kind_of_error(elements: dict[str, Any]) -> None:
    with pytest.raises(UndecodablePixels):
        _plane(factory.instance(**elements))


@pytest.mark.data
def test_every_real_file_decodes_to_what_the_table_says() -> None:
    """All files that pydicom 3 decodes (with every plug-in) decode here to the same shape."""
    wrong = {}
    for row in manifest():
        expected = row["decode_pydicom301"]
        if expected.startswith("ok"):
            instance, source = _open(real_files()[row["file"]])
            frames = [source.stored(index) for index in range(instance.frames)]
            shape = np.stack(frames).shape if len(frames) > 1 else frames[0].shape
            source.plane(0, frame_facts(instance)[0])
            if f"ok {shape}" != expected:
                wrong[row["file"]] = shape
    assert wrong == {}


@pytest.mark.data
def test_real_values_are_those_of_pydicom() -> None:
    wrong, compared = {}, 0
    for row in manifest():
        data = real_files()[row["file"]]
        reference = _pydicom(data)
        if reference is None:
            continue
        instance, source = _open(data)
        frames = np.stack([source.stored(index) for index in range(instance.frames)])
        difference = np.abs(
            np.squeeze(frames).astype(np.float64) - np.squeeze(reference).astype(np.float64)
        )
        compared += 1
        if difference.max() > (1 if row["transfer_syntax"].startswith(LOSSY) else 0):
            wrong[row["file"]] = difference.max()
    assert wrong == {}
    assert compared > 140


def _pydicom(data: bytes) -> Any:
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True).pixel_array
    except Exception:  # noqa: BLE001 what pydicom without plug-ins cannot read is no reference
        return None
