"""What the script of the page is told of the slices, and the slices themselves."""

from __future__ import annotations

from typing import Any

from cds_service.explanation import ExplanationPage
from cds_service.slices import ResultEntry, SeriesEntry
from cds_service.stored import StoredSlices
from cds_service.viewer.strip import strip_of

KEY_IMAGE = "key.png"
"""The picture of a result over which nothing was drawn."""


def index_of(page: ExplanationPage, slices: StoredSlices, index: str) -> dict[str, Any] | None:
    """The slices of the result at `index`, for the script; ``None`` if there are none.

    `said` is what the model says of each slice; `heated` the slice whose overlay is drawn.
    """
    found = _entry(slices, index)
    if found is None or int(index) >= len(page.results):
        return None
    entry, series = found
    result = page.results[int(index)]
    strip = strip_of(result)
    return {
        "slope": series.slope,
        "intercept": series.intercept,
        "total": series.total,
        "windows": [window.model_dump() for window in series.windows],
        "slices": [each.model_dump(exclude={"piece"}) for each in series.slices],
        "first": entry.first,
        "footer": entry.footer,
        "lines": entry.lines,
        "heated": result.picture.slice_number if result.picture else None,
        "said": {bar.number: f"{strip.column} {bar.said}" for bar in strip.bars} if strip else {},
    }


def slice_of(slices: StoredSlices, index: str, number: str) -> bytes | None:
    """One slice of the result at `index`, gzip; numbers have no leading zeros."""
    found = _entry(slices, index)
    pieces = {str(each.number): each.piece for each in found[1].slices} if found else {}
    return slices.piece(pieces[number]) if number in pieces else None


def key_image(slices: StoredSlices, index: str) -> bytes | None:
    """The plain PNG of the result at `index`."""
    found = _entry(slices, index)
    return slices.piece(found[0].key) if found and found[0].key else None


def _entry(slices: StoredSlices, index: str) -> tuple[ResultEntry, SeriesEntry] | None:
    entry = {str(i): each for i, each in enumerate(slices.index.results)}.get(index)
    return (entry, slices.index.series[entry.series]) if entry else None
