"""Bytes -> a vetted header: nothing is decoded, and nothing is allocated by a declared size.

The pixel data stays where it is; the header says how large it will be, and that is checked
in Python integers, which do not wrap, before anybody reserves memory for it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from struct import Struct
from typing import Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from inference.age import age_years
from inference.boundary import contained
from inference.deflated import DeflatedBody
from inference.errors import InferenceError, LimitExceeded, UnreadableInstance
from inference.limits import Limits
from models.contract import SeriesFacts

# pydicom quotes the offending value in its warnings, and a value may be a patient's name
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
config.settings.reading_validation_mode = config.IGNORE

_PIXEL_TAGS = {0x7FE00010: "integer", 0x7FE00008: "float32", 0x7FE00009: "float64"}
_UNDEFINED = 0xFFFFFFFF
_UID = re.compile(r"[0-9.]{1,64}\Z")
_ELEMENT = Struct("<HH2sH")
_BITS_ALLOCATED = (1, 8, 16, 32, 64)


@dataclass(frozen=True)
class PixelLayout:
    """How the pixels are stored (Image Pixel Module, PS3.3 C.7.6.3); every factor is >= 1.

    `number` is ``integer``, ``float32`` or ``float64`` (PS3.3 C.7.6.24, C.7.6.25).
    """

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool
    photometric: str
    number: str = "integer"

    @property
    def decoded_bytes(self) -> int:
        """Size of all frames once decoded, as declared."""
        width = (self.bits_allocated + 7) // 8
        return self.rows * self.columns * self.samples * width * self.frames


@dataclass(frozen=True)
class Instance:
    """One SOP instance: its header, and where its pixel data lies.

    `header` holds every element before the pixel data. `pixel_value` is the undecoded value of
    the pixel data element (encapsulated if `encapsulated`). `layout` is ``None`` without pixels.
    An absent UID is an empty string.
    """

    header: Dataset
    transfer_syntax: str
    encapsulated: bool
    layout: PixelLayout | None
    pixel_value: memoryview
    encoded: bytes

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return uid_of(self.header, "SOPInstanceUID")

    @property
    def series_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return uid_of(self.header, "SeriesInstanceUID")

    @property
    def study_uid(self) -> str:
        """Study Instance UID (0020,000D)."""
        return uid_of(self.header, "StudyInstanceUID")

    @property
    def frames(self) -> int:
        """How many frames there are to decode."""
        return self.layout.frames if self.layout else 0

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes as they came."""
        return hashlib.sha256(self.encoded).hexdigest()


def read_instance(data: bytes, limits: Limits) -> Instance:
    """Read and vet the header of one instance (PS3.10 file, or a bare data set).

    Raises LimitExceeded when the encoded, header or declared decoded size is over `limits`;
    UnreadableInstance when the bytes are not DICOM or the header contradicts itself.
    """
    if len(data) > limits.instance_bytes:
        raise LimitExceeded("The instance is larger than the configured limit.")
    with contained(_unreadable):
        syntax, end = _file_meta(data)
        deflated = (
            _deflated(data, end, limits) if syntax == DeflatedExplicitVRLittleEndian else None
        )
        body = deflated.inflated if deflated else data
        header, pixel = _parse(body, limits, "" if deflated else syntax, end)
        layout = _layout(header, pixel.number) if pixel else None
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            uid_of(header, keyword)
        _check_size(layout, limits)
        if deflated and pixel and layout:
            deflated.inflate_pixels(pixel.start, pixel.length, layout.decoded_bytes)
            body = deflated.inflated
        value = _pixel_value(body, pixel)
    return Instance(
        header=header,
        transfer_syntax=syntax or _assumed_syntax(header),
        encapsulated=pixel is not None and pixel.length == _UNDEFINED,
        layout=layout,
        pixel_value=value,
        encoded=data,
    )


_PIXEL_MEANING = ("ImageType", "ComplexImageComponent", "AcquisitionContrast")
"""What is measured; the last two are those of enhanced MR (PS3.3 C.8.13.3.1)."""


def facts_of(instance: Instance, instances: int | None = None) -> SeriesFacts:
    """What one instance's header says of its series; `instances` is their number, if known."""
    header, layout = instance.header, instance.layout
    with contained(_unreadable):
        return SeriesFacts(
            series_uid=instance.series_uid,
            modality=text_of(header, "Modality") or None,
            series_number=_optional_integer(header, "SeriesNumber"),
            description=text_of(header, "SeriesDescription"),
            protocol=text_of(header, "ProtocolName"),
            body_part=text_of(header, "BodyPartExamined") or None,
            image_type=tuple(str(v) for k in _PIXEL_MEANING for v in values_of(header, k)),
            sop_class_uid=text_of(header, "SOPClassUID") or None,
            rows=layout.rows if layout else None,
            columns=layout.columns if layout else None,
            samples_per_pixel=layout.samples if layout else None,
            instances=instances,
            burned_in=text_of(header, "BurnedInAnnotation").strip().upper() == "YES",
            view_position=text_of(header, "ViewPosition") or None,
            age_years=age_years(
                *(text_of(header, k) for k in ("PatientAge", "PatientBirthDate", "StudyDate"))
            ),
            study_description=text_of(header, "StudyDescription"),
        )


def uid_of(header: Dataset, keyword: str) -> str:
    """A UID of the header, empty when absent. Raises UnreadableInstance when it is not one."""
    values = values_of(header, keyword)
    if not values:
        return ""
    if len(values) > 1 or not isinstance(values[0], str) or not _UID.match(values[0]):
        raise UnreadableInstance("An identifier of the instance is not a valid UID.")
    return str(values[0])


def text_of(header: Dataset, keyword: str) -> str:
    """A text element as one string; several values are joined as DICOM does."""
    return "\\".join(str(value) for value in values_of(header, keyword)).strip()


def values_of(header: Dataset, keyword: str) -> Sequence[Any]:
    """The values of an element, none when it is absent or empty."""
    tag = _tag(keyword)
    value = header[tag].value if tag in header else None  # by tag: a third of the time of by name
    if value is None or value == "":
        return ()
    return value if not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") else (value,)


@cache
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def _optional_integer(header: Dataset, keyword: str) -> int | None:
    values = values_of(header, keyword)
    return int(values[0]) if values else None


@dataclass(frozen=True)
class _PixelElement:
    number: str
    length: int
    start: int


class _CountingReader(io.BytesIO):
    """A buffer that refuses to be read past a position, or too many times.

    pydicom parses nested sequences eagerly: half a million empty elements take seconds.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        super().__init__(data)
        self._reads_left = limits.header_reads
        self._end = limits.header_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0 or self.tell() > self._end:
            raise LimitExceeded("The header of the instance is larger than the configured limit.")
        return super().read(size)


def _parse(
    body: bytes, limits: Limits, syntax: str, start: int
) -> tuple[Dataset, _PixelElement | None]:
    """Read the data set at `start`, or, when no `syntax` says how, whatever `body` holds."""
    reader = _CountingReader(body, limits)
    found: list[_PixelElement] = []

    def at_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in _PIXEL_TAGS:
            found.append(_PixelElement(_PIXEL_TAGS[tag], length, reader.tell()))
            return True
        if length != _UNDEFINED and reader.tell() + length > len(body):
            raise UnreadableInstance("The instance ends inside an element of its header.")
        return False

    if syntax:
        reader.seek(start)
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        header = read_dataset(reader, implicit, little, stop_when=at_pixel_data)
    else:
        header = read_partial(reader, stop_when=at_pixel_data, force=True)
    if not header:
        raise _unreadable("empty")
    return header, found[-1] if found else None


def _deflated(data: bytes, end: int, limits: Limits) -> DeflatedBody:
    """The data set behind the File Meta Information, inflated as far as a header may reach."""
    body = DeflatedBody(memoryview(data)[end:])
    body.inflate_to(limits.header_bytes + 1)
    return body


def _file_meta(data: bytes) -> tuple[str, int]:
    """Transfer Syntax UID and end of the File Meta Information (PS3.10 7.1), always explicit LE."""
    position, syntax = 132 if data[128:132] == b"DICM" else 0, ""
    while position + 8 <= len(data):
        group, element, vr, length = _ELEMENT.unpack_from(data, position)
        if group != 0x0002:
            break
        start = position + 8
        if vr in (b"OB", b"UN", b"OW", b"SQ", b"UT"):
            length, start = int.from_bytes(data[start : start + 4], "little"), start + 4
        if element == 0x0010:
            syntax = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        position = start + length
    if syntax and not _UID.match(syntax):
        raise UnreadableInstance("The transfer syntax is not a valid UID.")
    return syntax, position


def _assumed_syntax(header: Dataset) -> str:
    """What a data set without file meta information turned out to be written in."""
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _pixel_value(body: bytes, pixel: _PixelElement | None) -> memoryview:
    """Undefined length means items up to a delimiter, whatever the transfer syntax (PS3.5 A.4)."""
    if pixel is None:
        return memoryview(b"")
    end = len(body) if pixel.length == _UNDEFINED else pixel.start + pixel.length
    if end > len(body):
        raise UnreadableInstance("The instance ends inside its pixel data.")
    return memoryview(body)[pixel.start : end]


def _layout(header: Dataset, number: str) -> PixelLayout:
    width = {"float32": 32, "float64": 64}.get(number)
    allocated = width or _count(header, "BitsAllocated")
    stored = allocated if width else _count(header, "BitsStored", allocated)
    layout = PixelLayout(
        rows=_count(header, "Rows"),
        columns=_count(header, "Columns"),
        samples=_count(header, "SamplesPerPixel", 1),
        frames=_count(header, "NumberOfFrames", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_integer(header, "HighBit", stored - 1),
        signed=_integer(header, "PixelRepresentation", 0) == 1,
        planar=_integer(header, "PlanarConfiguration", 0) == 1,
        photometric=text_of(header, "PhotometricInterpretation") or "MONOCHROME2",
        number=number,
    )
    _check_bits(layout)
    return layout


def _check_bits(layout: PixelLayout) -> None:
    low_bit = layout.high_bit - layout.bits_stored + 1
    if (
        layout.bits_allocated not in _BITS_ALLOCATED
        or layout.samples not in (1, 3, 4)
        or low_bit < 0
        or layout.high_bit >= layout.bits_allocated
    ):
        raise UnreadableInstance("The stored size of a pixel contradicts itself.")


def _integer(header: Dataset, keyword: str, absent: int | None = None) -> int:
    value = _optional_integer(header, keyword)
    if value is not None:
        return value
    if absent is None:
        raise UnreadableInstance("The header does not state the size of its image.")
    return absent


def _count(header: Dataset, keyword: str, absent: int | None = None) -> int:
    value = _integer(header, keyword, absent)
    if value < 1:
        raise UnreadableInstance("The header states an image without pixels.")
    return value


def _check_size(layout: PixelLayout | None, limits: Limits) -> None:
    if layout is None:
        return
    if layout.decoded_bytes > limits.decoded_instance_bytes or layout.frames > limits.frames:
        raise LimitExceeded("The decoded image would be larger than the configured limit.")


def _unreadable(reason: str) -> InferenceError:
    if reason == "memory":
        return LimitExceeded("There was not enough memory to read the instance.")
    return UnreadableInstance("The bytes are not a DICOM instance that can be read.")
