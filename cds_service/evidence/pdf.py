"""An analysis -> one page of PDF: what was found, the key image, which model, what it is not.

It names no patient: a sheet of paper that loses its chart would else carry a name, and no embedded
font has every script. Whose images they are stands in the report that holds it, and the page says
so: by the day of the study, the series' number and the time of the analysis its page is told from
others. The same analysis makes the same bytes.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from PIL import Image as Picture
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepInFrame, Paragraph, Spacer, Table, TableStyle

from fhir_mapping import wording
from inference.analysis import (
    Analysis,
    Explanation,
    LabelProbability,
    ModelResult,
    Outcome,
    SeriesUse,
)
from models.manifest import Manifest

TITLE = "AI report: preliminary, not reviewed"
WHOSE = "Whose images these are stands in the chart that holds this page."
UNSHOWN = "A character that this page's font does not have is written as ?."

_MARGIN, _PICTURE = 18 * mm, 105 * mm
_FONT, _BOLD = "Vera", "VeraBd"  # Bitstream Vera comes with reportlab and is embedded
_QUALITY = 90
_GRAVEST = tuple(Outcome)


@dataclass(frozen=True)
class _Styles:
    title: ParagraphStyle
    text: ParagraphStyle
    small: ParagraphStyle


def report_pdf(
    analysis: Analysis, manifests: Mapping[str, Manifest], at: datetime, started: str = ""
) -> bytes:
    """Lay the page out; it is scaled down as far as it takes to be one. `manifests` are by id.

    `at` is when the analysis was made, `started` the study's FHIR ``dateTime`` of any precision.
    Returns no bytes where no model answered.
    """
    results = sorted(
        (r for r in analysis.results if r.outcome is not Outcome.NOT_ANALYSED),
        key=lambda result: _GRAVEST.index(result.outcome),
    )
    if not results:
        return b""
    page = _Page({use.series_uid: use for use in analysis.series})
    flow = list(page.flow(results, manifests, _when(at, started)))
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle(TITLE)
    canvas.setSubject(wording.AI_NOTICE)
    width, height = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN
    frame = KeepInFrame(width, height, flow, mode="shrink")
    _, used = frame.wrapOn(canvas, width, height)
    frame.drawOn(canvas, _MARGIN, A4[1] - _MARGIN - used)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


class _Page:
    """The parts of the page, from above; it remembers whether a character could not be shown."""

    def __init__(self, series: Mapping[str, SeriesUse]) -> None:
        self._series = series
        for name in (_FONT, _BOLD):
            if name not in pdfmetrics.getRegisteredFontNames():
                pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
        self._glyphs = pdfmetrics.getFont(_FONT).face.charToGlyph
        self._unshown = False
        self._styles = _Styles(
            ParagraphStyle("title", fontName=_BOLD, fontSize=15, leading=20, spaceAfter=4),
            ParagraphStyle("text", fontName=_FONT, fontSize=9.5, leading=13, spaceAfter=4),
            ParagraphStyle("small", fontName=_FONT, fontSize=7.5, leading=10, spaceAfter=2),
        )

    def flow(
        self, results: Sequence[ModelResult], manifests: Mapping[str, Manifest], when: str
    ) -> Iterator[Flowable]:
        """Title, conclusion, picture with its caption, numbers, models, notices."""
        styles = self._styles
        yield self._paragraph(TITLE, styles.title)
        yield self._paragraph(f"{when} {WHOSE}", styles.small)
        yield self._paragraph(wording.conclusion(results), styles.text)
        shown = next((r for r in results if r.explanation is not None), None)
        if shown is not None and shown.explanation is not None:
            yield _picture(shown.explanation)
            yield self._paragraph(_caption(shown, self._read(shown)), styles.small)
        for result in results:
            yield from self._result(result)
        for result in results:
            yield self._paragraph(_identity(result, manifests.get(result.model_id)), styles.small)
        yield self._paragraph(f"{wording.AI_NOTICE} {wording.RESEARCH_NOTICE}", styles.text)
        if self._unshown:
            yield self._paragraph(UNSHOWN, styles.small)

    def _result(self, result: ModelResult) -> Iterator[Flowable]:
        rows = [_chance(label) for label in result.probabilities]
        rows += [
            (m.display, wording.quantity(m.value, m.unit), m.method) for m in result.measurements
        ]
        if rows:
            head = f"{result.model_title}, on {self._read(result)}"
            yield self._table([(head, "", ""), *rows])
        for gate in result.reasons:
            yield self._paragraph(f"Not held: {gate.sentence}", self._styles.small)
        yield Spacer(1, 2 * mm)

    def _read(self, result: ModelResult) -> str:
        return _named(self._series.get(result.series_uid))

    def _table(self, rows: Sequence[tuple[str, str, str]]) -> Table:
        cells = [[self._paragraph(text, self._styles.small) for text in row] for row in rows]
        grid = Table(cells, colWidths=[58 * mm, 36 * mm, 78 * mm], hAlign="LEFT")
        grid.setStyle(
            TableStyle(
                [("LINEBELOW", (0, 0), (-1, -1), 0.25, "#999999"), ("SPAN", (0, 0), (-1, 0))]
            )
        )
        return grid

    def _paragraph(self, text: str, style: ParagraphStyle) -> Paragraph:
        return Paragraph(escape(self._showable(text)), style)

    def _showable(self, text: str) -> str:
        legible = _legible(text)
        shown = "".join(each if ord(each) in self._glyphs else "?" for each in legible)
        self._unshown = self._unshown or shown != legible
        return shown


def _legible(text: str) -> str:
    """The text with composed letters and single spaces, without marks that steer its layout."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(each for each in composed if unicodedata.category(each) != "Cf")


def _picture(shown: Explanation) -> Image:
    """The figure, with the caption that is part of its pixels."""
    file = io.BytesIO()
    with Picture.open(io.BytesIO(shown.figure_png)) as figure:
        width, height = figure.size
        figure.convert("RGB").save(file, "JPEG", quality=_QUALITY, subsampling=0)
    scale = _PICTURE / max(width, height)
    return Image(file, width * scale, height * scale, hAlign="LEFT")


def _caption(result: ModelResult, read: str) -> str:
    shown = result.explanation
    number = shown.slice_number if shown else 0
    return f"Slice {number} of {len(result.slices)} of {read}."


def _named(use: SeriesUse | None) -> str:
    """``series 4 (MR)``, as far as the images state it; a description may name a person."""
    if use is None or (use.series_number is None and not use.modality):
        return "the series that was read"
    numbered = use.series_number is not None
    named = f"series {use.series_number}" if numbered else "a series without a number"
    return f"{named} ({use.modality})" if use.modality else named


def _when(at: datetime, started: str) -> str:
    analysed = f"Analysed on {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    day = started.partition("T")[0]
    return f"Study of {day}. {analysed}" if day else analysed


def _chance(label: LabelProbability) -> tuple[str, str, str]:
    band = wording.probability_band(label.probability)
    return (
        wording.unsaid(label.display),
        f"probability {band}",
        f"stated from {100 * label.threshold:.0f} %",
    )


def _identity(result: ModelResult, manifest: Manifest | None) -> str:
    made_by = f", by {manifest.developer}" if manifest else ""
    return (
        f"Model: {result.model_title} ({result.model_id} {result.model_version}{made_by}), run in "
        f"{result.precision}; SHA-256 of its file {result.model_sha256[:16]}…"
    )
