"""DICOM instances made in memory: no file, no patient, every kind the tests need.

Each function gives bytes of a PS3.10 file (or a Dataset where bytes would be inconvenient).
UIDs are made from names, so that the same call makes the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

Pixels = npt.NDArray[Any]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
PATIENT_NAME = "PLANTED^NAME"
PATIENT_ID = "PLANTED-ID"


def uid(*names: object) -> str:
    """A UID of the 2.25 branch made from names."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def head(rows: int = 64, columns: int = 64, blob: float = 0.0, seed: int = 0) -> Pixels:
    """A drawn slice, uint16, 0 to about 1000: a grey ellipse in a bright rim, as of a skull.

    With `blob` > 0 there is a bright disc in it, of that share of the image across.
    """
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    texture = np.random.default_rng(seed).normal(0, 8, (rows, columns))
    radius = np.hypot(x / 0.75, y / 0.9)
    image = (radius < 1) * (300 + 60 * np.cos(5 * x) * np.cos(4 * y))
    image[(radius > 0.92) & (radius < 1)] = 950
    image[np.hypot(x - 0.2, y + 0.2) < blob] = 900
    return (image + np.abs(texture)).astype(np.uint16)


def instance(pixels: Pixels | None = None, **elements: Any) -> Dataset:
    """A single-frame MR image; `elements` overrides or (with ``None``) removes by keyword."""
    pixels = head() if pixels is None else pixels
    ds = Dataset()
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = uid("instance")
    ds.StudyInstanceUID = uid("study")
    ds.SeriesInstanceUID = uid("series")
    ds.FrameOfReferenceUID = uid("frame of reference")
    ds.PatientName, ds.PatientID = PATIENT_NAME, PATIENT_ID
    ds.AccessionNumber = "A1"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 1, 1
    ds.BodyPartExamined = "HEAD"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    describe_pixels(ds, pixels)
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def describe_pixels(ds: Dataset, pixels: Pixels) -> None:
    """Write the Image Pixel Module for (rows, columns) or (rows, columns, 3) integers."""
    bits = pixels.dtype.itemsize * 8
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"


def place(
    ds: Dataset,
    position: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (1.0, 1.0),
) -> Dataset:
    """Write the Image Plane Module."""
    ds.ImagePositionPatient = list(position)
    ds.ImageOrientationPatient = list(orientation)
    ds.PixelSpacing = list(spacing)
    return ds


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a PS3.10 file; the data set's pixels are taken as they are."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta = meta
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def axial_series(
    count: int = 6,
    gap_mm: float = 5.0,
    pixels: Callable[[int], Pixels] | None = None,
    **elements: Any,
) -> list[Dataset]:
    """An axial MR series from the feet up; Instance Number runs the other way round."""
    made = []
    for index in range(count):
        ds = instance(pixels(index) if pixels else head(seed=index), **elements)
        ds.SOPInstanceUID = uid("slice", ds.SeriesInstanceUID, index)
        ds.InstanceNumber = count - index
        made.append(place(ds, (-32.0, -32.0, index * gap_mm)))
    return made


def enhanced_mr(frames: Sequence[Pixels], gap_mm: float = 4.0, **elements: Any) -> Dataset:
    """A multi-frame MR image whose frames lie, and are scaled, by functional groups.

    The frames are stored in descending order; frame n has slope n + 1 and intercept -n.
    """
    ds = instance(frames[0], SOPClassUID=EnhancedMRImageStorage, **elements)
    ds.NumberOfFrames = len(frames)
    ds.PixelData = b"".join(frame.tobytes() for frame in frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.75]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame_group(index, -gap_mm * index) for index in range(len(frames))
    ]
    return ds


def _frame_group(index: int, z: float) -> Dataset:
    group = Dataset()
    group.PlanePositionSequence = [Dataset()]
    group.PlanePositionSequence[0].ImagePositionPatient = [0.0, 0.0, z]
    transform = Dataset()
    transform.RescaleSlope, transform.RescaleIntercept = index + 1, -index
    group.PixelValueTransformationSequence = [transform]
    return group


def _native(ds: Dataset, pixels: Pixels) -> None:
    ds.PixelData = pixels.tobytes()


def _big_endian(ds: Dataset, pixels: Pixels) -> None:
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()


def _rle_frame(pixels: Pixels) -> bytes:
    """PS3.5 G: each byte plane in literal runs of at most 128."""
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(-1, 1).view(np.uint8)
    segments = []
    for column in range(planes.shape[1]):
        plane = planes[:, column].tobytes()
        runs = (plane[i : i + 128] for i in range(0, len(plane), 128))
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\x80" * (len(segment) % 2))
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : len(segments) + 1] = offsets
    return header.tobytes() + b"".join(segments)


_ENCODERS: dict[str, Callable[[Pixels], bytes]] = {
    RLELossless: _rle_frame,
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEG2000Lossless: lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", reversible=True),
    HTJ2KLossless: lambda p: imagecodecs.htj2k_encode(p, reversible=True),
    HTJ2K: lambda p: imagecodecs.htj2k_encode(p, reversible=True),
    JPEGLosslessSV1: lambda p: imagecodecs.jpeg8_encode(p, lossless=True, bitspersample=16),
    JPEGBaseline8Bit: lambda p: imagecodecs.jpeg8_encode(p, level=95),
}

NATIVE_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
LOSSLESS_SYNTAXES = (
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    JPEGLosslessSV1,
)


def transcoded(ds: Dataset, pixels: Pixels, syntax: str) -> bytes:
    """The bytes of `ds` with `pixels` (one frame) written in a transfer syntax."""
    if syntax == ExplicitVRBigEndian:
        _big_endian(ds, pixels)
    elif syntax in NATIVE_SYNTAXES:
        _native(ds, pixels)
    else:
        ds.PixelData = encapsulate([bytes(_ENCODERS[syntax](pixels))])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    return encoded(ds, syntax)


def _swap(series: list[Dataset], index: int, **elements: Any) -> list[Dataset]:
    for keyword, value in elements.items():
        if value is None:
            del series[index][keyword]
        else:
            setattr(series[index], keyword, value)
    return series


def _gantry_tilt(series: list[Dataset]) -> list[Dataset]:
    for index, ds in enumerate(series):
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y + index * 1.0, z]
    return series


def _two_stacks() -> list[Dataset]:
    first, second = axial_series(4), axial_series(4)
    for ds in second:
        ds.SOPInstanceUID = uid("second", ds.SOPInstanceUID)
    return first + second


def broken_geometries() -> Iterator[tuple[str, str, list[Dataset]]]:
    """What is wrong, the problem's kind, and a series of six images that has it."""
    made = axial_series
    no = None
    turned = {"ImageOrientationPatient": list(SAGITTAL)}
    skewed = [1.0, 0.0, 0.0, 0.5, 0.866, 0.0]
    yield "a slice is missing", "missing-slice", [ds for i, ds in enumerate(made()) if i != 3]
    yield (
        "two slices at one place",
        "duplicate-position",
        _swap(made(), 3, ImagePositionPatient=[-32.0, -32.0, 10.0]),
    )
    yield "two whole stacks", "duplicate-position", _two_stacks()
    yield "uneven gaps", "uneven-gaps", _swap(made(), 3, ImagePositionPatient=[-32, -32, 16.3])
    yield "one slice lies across", "mixed-orientation", _swap(made(), 2, **turned)
    yield "the gantry is tilted", "gantry-tilt", _gantry_tilt(made())
    yield (
        "one slice has no position",
        "geometry-incomplete",
        _swap(made(), 1, ImagePositionPatient=no),
    )
    yield (
        "one slice has no orientation",
        "geometry-incomplete",
        _swap(made(), 1, ImageOrientationPatient=no),
    )
    yield "one slice has no spacing", "geometry-incomplete", _swap(made(), 1, PixelSpacing=no)
    yield "spacing of zero", "geometry-spacing", _swap(made(), 1, PixelSpacing=[0.0, 1.0])
    yield (
        "directions not perpendicular",
        "geometry-orientation",
        _swap(made(), 1, ImageOrientationPatient=skewed),
    )
    yield (
        "directions not of unit length",
        "geometry-orientation",
        _swap(made(), 1, ImageOrientationPatient=[2.0, 0, 0, 0, 2.0, 0]),
    )
    yield "two spacings", "mixed-spacing", _swap(made(), 4, PixelSpacing=[1.0, 1.2])
    yield (
        "two frames of reference",
        "mixed-frame-of-reference",
        _swap(made(), 4, FrameOfReferenceUID=uid("elsewhere")),
    )
    yield (
        "no geometry at all",
        "geometry-missing",
        [instance(SOPInstanceUID=uid(i), InstanceNumber=i) for i in range(6)],
    )


def palette_colour(indices: Pixels) -> Dataset:
    """A PALETTE COLOR image: index n is (n, 255 - n, 7) in 8 bits."""
    ds = instance(indices, PhotometricInterpretation="PALETTE COLOR")
    ramp = np.arange(256, dtype="<u2") * 257
    tables = {"Red": ramp, "Green": ramp[::-1], "Blue": np.full(256, 7 * 257, "<u2")}
    for name, table in tables.items():
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", table.tobytes())
    return ds


def with_modality_table(pixels: Pixels) -> Dataset:
    """An image whose Modality LUT gives 2 x value + 100 for the first 1024 values."""
    ds = instance(pixels)
    item = Dataset()
    item.LUTDescriptor = [1024, 0, 16]
    item.ModalityLUTType = "US"
    item.LUTData = (np.arange(1024, dtype="<u2") * 2 + 100).tobytes()
    item["LUTData"].VR = "OW"
    ds.ModalityLUTSequence = [item]
    return ds
