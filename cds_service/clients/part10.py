"""Which instance these bytes are, and whether they are all here: a walk over the headers only.

PS3.10 7, PS3.5 7. Nothing is decoded; a slice of 512 x 512 takes some tens of microseconds, so that
it can be done for every instance while the next one is arriving.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"})
_LONG |= {b"UT", b"UV"}
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
# also as floats, doubles, or behind a URL (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25)
_PIXELS = frozenset({_PIXEL_DATA, 0x7FE00008, 0x7FE00009, 0x00287FE0})
_UNDEFINED = 0xFFFFFFFF
_DEFLATED, _BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_IMPLICIT = frozenset({"1.2.840.10008.1.2", "1.2.840.113619.5.2"})  # the second is GE's own
_UIDS = {0x00080018: "sop", 0x0020000D: "study", 0x0020000E: "series"}
_NUMBERS = {
    0x00280002: "samples",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "bits",
}
_HEAD_BYTES = 1024 * 1024


class NotWhole(ValueError):
    """The bytes end inside an element, or hold fewer pixels than the header declares."""


class NotDicom(ValueError):
    """The bytes are not a DICOM file."""


@dataclass(frozen=True)
class InstanceFacts:
    """What the archive's list is compared with."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str


class _Walk:
    """A cursor over the elements of one data set, in either byte order, with or without VRs."""

    def __init__(self, data: bytes, start: int, syntax: str, whole: bool = True) -> None:
        self.data = data
        self.at = start
        self.whole = whole
        self.explicit = syntax not in _IMPLICIT
        self.order = ">" if syntax == _BIG else "<"
        self.texts: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}
        self.frames = 1
        self.pixel_bytes: int | None = None
        self.encapsulated = False
        self.has_pixels = False

    def run(self) -> None:
        """Walk to the end, reading what is wanted at the top level."""
        outside: list[bool] = []  # for each open sequence: whether VRs were explicit around it
        end = len(self.data)
        while self.at + 8 <= end:
            tag, vr, size = self._head()
            self.has_pixels |= tag in _PIXELS and not outside
            if tag == _SEQUENCE_END:
                self.explicit = outside.pop() if outside else self.explicit
            elif size == _UNDEFINED and tag != _ITEM:
                self.encapsulated |= tag == _PIXEL_DATA and not outside
                outside.append(self.explicit)
                self.explicit &= vr != b"UN"  # PS3.5 6.2.2: its content is implicit VR
            elif size != _UNDEFINED:
                if not outside:
                    self._keep(tag, size)
                self.at += size
        if self.whole and (self.at > end or outside):
            raise NotWhole

    def _head(self) -> tuple[int, bytes, int]:
        """The tag, VR and length of the next element; the cursor moves to its value."""
        data, at, order = self.data, self.at, self.order
        group, element = struct.unpack_from(order + "HH", data, at)
        tag = group << 16 | element
        if not self.explicit or group == 0xFFFE:
            self.at = at + 8
            return tag, b"", struct.unpack_from(order + "I", data, at + 4)[0]
        vr = data[at + 4 : at + 6]
        if vr in _LONG:
            if at + 12 > len(data):
                raise NotWhole
            self.at = at + 12
            return tag, vr, struct.unpack_from(order + "I", data, at + 8)[0]
        self.at = at + 8
        return tag, vr, struct.unpack_from(order + "H", data, at + 6)[0]

    def _keep(self, tag: int, size: int) -> None:
        value = self.data[self.at : self.at + min(size, 64)]
        if tag in _UIDS:
            self.texts[_UIDS[tag]] = value
        elif tag in _NUMBERS and len(value) >= 2:
            self.numbers[_NUMBERS[tag]] = struct.unpack_from(self.order + "H", value)[0]
        elif tag == 0x00280008 and value.strip(b" \0").isdigit():
            self.frames = int(value.strip(b" \0"))
        elif tag == _PIXEL_DATA:
            self.pixel_bytes = size

    def uid(self, name: str) -> str:
        """One of the three UIDs as text."""
        return self.texts.get(name, b"").rstrip(b"\0 ").decode("ascii", "replace")

    def check_pixels(self) -> None:
        """PS3.5 8.1.1: native pixel data is there and as long as the header says."""
        shape = self.numbers
        if "rows" in shape and not self.has_pixels:
            raise NotWhole
        if self.encapsulated or self.pixel_bytes is None or len(shape) < 4:
            return
        pixels = shape["rows"] * shape["columns"] * shape["samples"] * self.frames
        if self.pixel_bytes < pixels * shape["bits"] // 8 and not self._subsampled(pixels):
            raise NotWhole

    def _subsampled(self, pixels: int) -> bool:
        """YBR_FULL_422 stores two of three samples (PS3.3 C.7.6.3.1.2)."""
        return self.numbers["samples"] == 3 and (self.pixel_bytes or 0) * 3 >= pixels * 2


def instance_facts(data: bytes) -> InstanceFacts:
    """The identity of a Part 10 file, after proof that the file does not end early.

    Raises:
        NotDicom: no ``DICM`` prefix, or no SOP Instance UID.
        NotWhole: it ends inside an element or a sequence, has Rows but no pixel data, or has fewer
            native pixel bytes than Rows x Columns x SamplesPerPixel x NumberOfFrames x
            BitsAllocated / 8.
    """
    if data[128:132] != b"DICM":
        raise NotDicom
    try:
        syntax, start = _meta(data)
        walk = _inflated(data, start) if syntax == _DEFLATED else _Walk(data, start, syntax)
        walk.run()
    except struct.error:
        raise NotWhole from None
    if walk.whole:
        walk.check_pixels()
    facts = InstanceFacts(walk.uid("study"), walk.uid("series"), walk.uid("sop"))
    if not facts.sop_instance_uid:
        raise NotDicom
    return facts


def _meta(data: bytes) -> tuple[str, int]:
    """The transfer syntax, and where the data set begins (PS3.10 7.1)."""
    walk = _Walk(data, 132, "1.2.840.10008.1.2.1")
    syntax = ""
    while walk.at + 8 <= len(data) and data[walk.at : walk.at + 2] == b"\2\0":
        tag, _, size = walk._head()
        if tag == 0x00020010:
            syntax = data[walk.at : walk.at + size].rstrip(b"\0 ").decode("ascii", "replace")
        walk.at += size
    return syntax, walk.at


def _inflated(data: bytes, start: int) -> _Walk:
    """The first MiB of a deflated data set: enough for its identity, harmless if it is a bomb."""
    inflater = zlib.decompressobj(-15)
    try:
        head = inflater.decompress(memoryview(data)[start:], _HEAD_BYTES)
    except zlib.error:
        raise NotWhole from None
    whole = inflater.eof
    if not whole and not inflater.unconsumed_tail and len(head) < _HEAD_BYTES:
        raise NotWhole
    return _Walk(head, 0, "1.2.840.10008.1.2.1", whole)
