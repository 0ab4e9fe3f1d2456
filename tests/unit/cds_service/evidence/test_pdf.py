"""The page of the report, opened and looked at as somebody who prints it would."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from cds_service.evidence.extras import ReportExtras
from cds_service.evidence.pdf import TITLE, UNSHOWN, WHOSE, report_pdf
from fhir_mapping import wording
from inference.analysis import Analysis, ModelResult
from tests.doubles import explained
from tests.doubles.evidence_cases import manifest_of
from tests.unit.fhir_mapping.cases import FULL_REF

MANIFESTS = {explained.result().model_id: manifest_of(explained.result())}
AT = datetime(2026, 11, 22, 2, 39, tzinfo=timezone(timedelta(hours=1)))
STARTED = "2026-11-20T08:15:00+01:00"
SCALE = 2.0


def text_of(analysis: Analysis) -> str:
    """What stands on the page; it has to be one."""
    document = pypdfium2.PdfDocument(report_pdf(analysis, MANIFESTS, AT, STARTED))
    assert len(document) == 1
    return " ".join(document[0].get_textpage().get_text_range().split())


def seen(analysis: Analysis) -> Image.Image:
    """The page as a picture, twice 72 dpi."""
    document = pypdfium2.PdfDocument(report_pdf(analysis, MANIFESTS, AT, STARTED))
    return document[0].render(scale=SCALE).to_pil().convert("RGB")


@pytest.mark.parametrize(
    "analysis", [explained.finding(), explained.indeterminate(), explained.no_finding(),
                 explained.measured(), explained.undecided()],
)  # fmt: skip
def test_it_says_what_the_report_says_and_who_says_it(analysis: Analysis) -> None:
    text = text_of(analysis)
    result = analysis.results[0]
    for said in (TITLE, WHOSE, wording.conclusion([result]), wording.RESEARCH_NOTICE):
        assert " ".join(said.split()) in text
    assert f"{result.model_id} {result.model_version}" in text
    assert result.model_sha256[:16] in text


def test_it_says_when_and_of_which_series_and_how_probable_each_label_is() -> None:
    text = text_of(explained.finding())
    assert "Study of 2026-11-20. Analysed on 2026-11-22 01:39 UTC." in text
    assert "of series 4 (MR)." in text
    for label in explained.LABELS:
        assert f"{label.display} probability {wording.probability_band(label.probability)}" in text


@pytest.mark.parametrize(
    ("number", "modality", "named"),
    [
        (4, None, "of series 4."),
        (None, "MR", "of a series without a number (MR)."),
        (None, None, "of the series that was read."),
    ],
)
def test_it_says_of_the_series_what_the_images_state(
    number: int | None, modality: str | None, named: str
) -> None:
    finding = explained.finding()
    series = tuple(replace(u, series_number=number, modality=modality) for u in finding.series)
    assert named in text_of(replace(finding, series=series))


def test_it_names_no_patient() -> None:
    text = text_of(explained.finding())
    whose = explained.finding().identity
    for planted in (whose.patient_id, whose.accession_number, whose.study_uid):
        assert planted not in text


def test_the_key_image_on_it_is_the_figure_the_right_way_round() -> None:
    page = np.asarray(seen(explained.finding()), np.float32).mean(axis=2)
    rows, columns = np.nonzero(page < 40)  # the figure's black ground, and nothing else as large
    box = page[rows.min() :, columns.min() :]
    dark = Image.fromarray(page.astype(np.uint8))
    figure = explained.explanation().figure_png
    with Image.open(io.BytesIO(figure)) as drawn:
        width = round(105 / 25.4 * 72 * SCALE * drawn.width / max(drawn.size))
        height = round(width * drawn.height / drawn.width)
        small = np.asarray(drawn.convert("L").resize((width, height)), np.float32)
    best = max(
        _alike(np.asarray(dark)[top : top + height, left : left + width], small)
        for top in range(150, 330, 2)
        for left in range(96, 112, 2)
    )
    flipped = small[:, ::-1]
    assert box.size
    assert best > 0.95
    assert best > _alike(small, flipped)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_many_results_are_still_one_page() -> None:
    finding = explained.finding()
    many = replace(finding, results=finding.results * 12)
    assert text_of(many).count(finding.results[0].model_title) >= 12


def test_what_the_font_does_not_have_is_marked_and_said() -> None:
    def named(title: str) -> Analysis:
        result: ModelResult = replace(explained.result(), model_title=title)
        return replace(explained.finding(), results=(result,))

    for title, shown in (
        ("脳腫瘍 <b>&amp;", "??? <b>&amp;"),
        ("Опухоль 2", "??????? 2"),
        ("\u202eورم\u202c 3", "??? 3"),
    ):
        text = text_of(named(title))
        assert f"{shown} (" in text
        assert UNSHOWN in text
    for title, shown in (
        ("Tumeur cérébrale, Größe", "Tumeur cérébrale, Größe"),
        (unicodedata.normalize("NFD", "Größe"), "Größe"),
        ("Two\n\tlines\u00a0of it", "Two lines of it"),
    ):
        text = text_of(named(title))
        assert f"{shown} (" in text
        assert UNSHOWN not in text


def test_the_same_analysis_makes_the_same_bytes() -> None:
    first, again = (report_pdf(explained.finding(), MANIFESTS, AT) for _ in range(2))
    assert first == again


def test_nothing_is_made_where_no_model_answered() -> None:
    assert report_pdf(explained.not_analysed(), MANIFESTS, AT) == b""


def test_a_report_is_whole_without_a_page_that_cannot_be_made() -> None:
    broken = replace(
        explained.result(), explanation=replace(explained.explanation(), figure_png=b"")
    )
    analysis = replace(explained.finding(), results=(broken,))
    made = ReportExtras(MANIFESTS, pdf=True, key_image=False)(analysis, (), FULL_REF, AT)
    assert made.pdf == b""
