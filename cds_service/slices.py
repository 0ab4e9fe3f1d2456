"""What the page needs to scroll through a series: an index, and one file of packed slices.

It is made after the result is out, because no reader can open a page before the card is there. No
UID, name or date has a field to stand in; see `explanation` for the page itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from pydantic import BaseModel, ConfigDict

from cds_service.explanation import modality_of, png_size
from inference.analysis import Analysis, ModelResult, SeriesImages, SliceOutline
from inference.explain.sheet import FOOTER, plain
from inference.explain.stack import PackedSeries, PackedSlice, pack
from models.contract import FloatArray, ImageSlice

_POINTS = 40_000
"""Corners of all outlines of one result; a longer line is drawn through every second one, ..."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Piece(_Frozen):
    """Where in the file something lies, and what it must hash to."""

    at: int
    size: int
    sha256: str


class SliceEntry(_Frozen):
    """One slice of the file; see `inference.explain.stack.PackedSlice`."""

    number: int
    columns: int
    rows: int
    colour: bool
    shape: float
    width_mm: float | None
    marks: tuple[str, str, str, str] | None
    window: tuple[float, float] | None = None  # an index may be older than this
    piece: Piece


class WindowEntry(_Frozen):
    """A preset in modality units."""

    name: str
    centre: float
    width: float


class SeriesEntry(_Frozen):
    """One series: `total` slices were read, and those in `slices` are kept, some `reduced`."""

    slope: float
    intercept: float
    total: int
    windows: tuple[WindowEntry, ...]
    slices: tuple[SliceEntry, ...]
    reduced: bool = False  # an index may be older than this


Line = tuple[float, ...]
"""x, y, x, y, ... as parts of the image's width and height."""


class ResultEntry(_Frozen):
    """What is shown of one result: which series, its outlines by slice, and a plain key image.

    `first` is the slice that is shown first. `footer` is how many rows of a drawn picture lie below
    the image. `key` is a PNG of `key_size` (width, height), for a result that has no picture of its
    own.
    """

    series: int
    first: int
    lines: dict[int, tuple[Line, ...]]
    footer: int
    key: Piece | None
    key_size: tuple[int, int]


class SliceIndex(_Frozen):
    """All series, and all results in the order of the page's; ``None`` for one without images."""

    series: tuple[SeriesEntry, ...]
    results: tuple[ResultEntry | None, ...]


def packed_slices(analysis: Analysis, most_bytes: int) -> tuple[SliceIndex, bytes]:
    """The index and the file; the slices of one series hold at most `most_bytes` unpacked."""
    file = _File()
    modality = {use.series_uid: modality_of(use.modality) for use in analysis.series}
    series = tuple(
        _series(pack(images, modality.get(images.series_uid), most_bytes), images, file)
        for images in analysis.images
    )
    places = {images.series_uid: i for i, images in enumerate(analysis.images)}
    results = tuple(
        _result(result, places[result.series_uid], analysis.images, file)
        if result.series_uid in places
        else None
        for result in analysis.results
    )
    return SliceIndex(series=series, results=results), file.content


class _File:
    """Pieces, one after the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> Piece:
        piece = Piece(at=self._size, size=len(part), sha256=sha256(part).hexdigest())
        self._parts.append(part)
        self._size += len(part)
        return piece

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)


def _series(packed: PackedSeries, images: SeriesImages, file: _File) -> SeriesEntry:
    return SeriesEntry(
        slope=packed.slope,
        intercept=packed.intercept,
        total=images.total,
        windows=tuple(
            WindowEntry(name=w.name, centre=w.centre, width=w.width) for w in packed.windows
        ),
        slices=tuple(_slice(each, file) for each in packed.slices),
        reduced=packed.reduced,
    )


def _slice(packed: PackedSlice, file: _File) -> SliceEntry:
    return SliceEntry(
        number=packed.number,
        columns=packed.columns,
        rows=packed.rows,
        colour=packed.colour,
        shape=packed.shape,
        width_mm=packed.width_mm,
        marks=packed.marks,
        window=packed.window,
        piece=file.add(packed.content),
    )


def _result(
    result: ModelResult, place: int, images: Sequence[SeriesImages], file: _File
) -> ResultEntry:
    shown = images[place]
    by_number = dict(zip(shown.numbers, shown.slices, strict=True))
    first = result.deciding_slice if result.deciding_slice in by_number else _middle(shown.numbers)
    key = plain(by_number[first]) if result.explanation is None else b""
    return ResultEntry(
        series=place,
        first=first,
        lines=_lines(result.outlines, by_number),
        footer=FOOTER,
        key=file.add(key) if key else None,
        key_size=png_size(key),
    )


def _middle(numbers: Sequence[int]) -> int:
    return numbers[len(numbers) // 2]


def _lines(
    outlines: Iterable[SliceOutline], shown: dict[int, ImageSlice]
) -> dict[int, tuple[Line, ...]]:
    kept = [outline for outline in outlines if outline.slice_number in shown]
    corners = sum(len(contour) for outline in kept for contour in outline.contours)
    step = max(1, -(-corners // _POINTS))
    return {
        outline.slice_number: tuple(
            _line(contour, outline.mask.shape, step) for contour in outline.contours
        )
        for outline in kept
    }


def _line(contour: FloatArray, shape: tuple[int, ...], step: int) -> Line:
    """Corners in pixels, whose centres are whole numbers -> parts of the image."""
    fewer = contour[::step] if len(contour) >= 4 * step else contour
    parts = (fewer + 0.5) / np.array([shape[1], shape[0]])
    return tuple(round(float(value), 5) for value in parts.ravel())
