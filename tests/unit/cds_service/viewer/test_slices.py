"""The slices of a page: kept beside it, sent one by one, and nothing that was changed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.security.links import Links
from cds_service.slices import packed_slices
from cds_service.store import ExplanationStore, StoreError
from cds_service.viewer import viewer_blueprint
from inference.analysis import Analysis, SeriesImages
from inference.explain.held import held_images
from inference.limits import MIB
from models.contract import ImageSlice
from tests.doubles import explained
from tests.doubles.page_site import SECRET, OneCard

ID = explained.EXPLANATION_ID


def studied(count: int = 24, analysis: Analysis | None = None) -> Analysis:
    """An analysis with the images of its series."""
    found = analysis or explained.finding()
    plane = explained.phantom(64)
    slices = [replace(plane, pixels=plane.pixels + i) for i in range(min(count, 40))]
    images = [slices[i % len(slices)] for i in range(count)]
    return replace(found, images=(held_images("1.2.3", images, found.results),))


class Site:
    """One explanation with its slices."""

    def __init__(self, root: Path, analysis: Analysis) -> None:
        self.store, self.recalled = ExplanationStore(root), set[str]()
        self.links = Links([SECRET], "https://ai.example.org", 900)
        app = Flask("site")
        app.register_blueprint(
            viewer_blueprint(
                self.store,
                self.links,
                OneCard("# Card"),
                clock_s=lambda: 1000.0,
                recalled=lambda _, models, __: any(name in self.recalled for name, _ in models),
            )
        )
        self.client: FlaskClient = app.test_client()
        self.names = {"explanation_id": ID, "study_key": explained.STUDY_KEY}
        self.store.keep(analysis, analysed_ms=explained.ANALYSED_MS, **self.names)
        self.store.keep_slices(analysis, most_bytes=MIB, **self.names)

    def path(self, study_key: str = explained.STUDY_KEY) -> str:
        url = self.links.explanation_url(ID, study_key, 1000)
        return url.removeprefix("https://ai.example.org")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "explanations", studied())


def test_a_page_is_told_what_it_can_scroll_through(site: Site) -> None:
    index = site.client.get(f"{site.path()}/0/slices.json").get_json()
    assert [each["number"] for each in index["slices"]] == list(range(1, 25))
    assert (index["first"], index["heated"], index["total"]) == (12, 12, 24)
    assert index["said"]["12"].startswith("Glioma ")
    first = index["slices"][0]
    assert first["marks"] == ["R", "L", "A", "P"]
    assert first["width_mm"] == pytest.approx(64 * 0.9)
    assert "1.2.3" not in json.dumps(index), "no UID"


def test_a_slice_comes_as_it_was(site: Site) -> None:
    sent = site.client.get(f"{site.path()}/0/slices/3")
    assert sent.headers["Content-Encoding"] == "gzip"
    assert sent.headers["Cache-Control"] == "no-store"
    differences = np.frombuffer(gzip.decompress(sent.data), "<u2").reshape(64, 64)
    assert np.array_equal(differences.cumsum(axis=1) % 65536, explained.phantom(64).pixels + 2)


@pytest.mark.parametrize(
    "end",
    ["/0/slices/0", "/0/slices/25", "/0/slices/03", "/1/slices/3", "/0/slices/x", "/9/slices.json"],
)
def test_what_is_not_there_is_the_one_answer(site: Site, end: str) -> None:
    answer = site.client.get(f"{site.path()}{end}")
    assert (answer.status_code, answer.data) == (404, site.client.get("/e/x").data)


def test_no_slice_of_a_recalled_result_is_shown(site: Site) -> None:
    site.recalled = {explained.result().model_id}
    for end in ("/0/slices.json", "/0/slices/3"):
        assert site.client.get(f"{site.path()}{end}").status_code == 404


def test_beside_a_recalled_result_the_slices_of_the_others_are_shown(tmp_path: Path) -> None:
    (first,) = explained.finding().results
    two = replace(explained.finding(), results=(first, replace(first, model_id="other")))
    site = Site(tmp_path / "explanations", studied(analysis=two))
    site.recalled = {"other"}
    for end in ("slices.json", "slices/3", "image.png"):
        assert site.client.get(f"{site.path()}/0/{end}").status_code == 200
        assert site.client.get(f"{site.path()}/1/{end}").status_code in (204, 404)
    assert "Recalled" in site.client.get(site.path()).get_data(as_text=True)


def test_another_study_s_link_opens_no_slice(site: Site) -> None:
    for end in ("/0/slices.json", "/0/slices/3"):
        assert site.client.get(f"{site.path('77' * 16)}{end}").status_code == 404
        assert site.client.get(f"{site.path()}{end}?a=1").status_code == 404


def test_a_slice_that_was_changed_on_the_disk_is_not_sent(site: Site, tmp_path: Path) -> None:
    (file,) = (tmp_path / "explanations" / ID).glob("slices-*.bin")
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(bytes(content))
    assert site.client.get(f"{site.path()}/0/slices/1").status_code == 404
    assert site.client.get(f"{site.path()}/0/slices/2").status_code == 200
    index = tmp_path / "explanations" / ID / "slices.json"
    index.write_text(index.read_text().replace('"total": 24', '"total": 25'))
    assert site.client.get(f"{site.path()}/0/slices.json").status_code == 204
    assert site.client.get(site.path()).status_code == 200, "the page needs none of it"


def test_a_repeat_leaves_one_file_of_slices(site: Site, tmp_path: Path) -> None:
    site.store.keep_slices(studied(12), most_bytes=MIB, **site.names)
    folder = tmp_path / "explanations" / ID
    assert len(list(folder.glob("slices-*.bin"))) == 1
    assert len(site.client.get(f"{site.path()}/0/slices.json").get_json()["slices"]) == 12


def test_slices_of_an_explanation_that_is_gone_are_an_error(tmp_path: Path) -> None:
    store = ExplanationStore(tmp_path / "explanations")
    with pytest.raises(StoreError):
        store.keep_slices(studied(), explanation_id=ID, study_key="k", most_bytes=MIB)
    assert list((tmp_path / "explanations").iterdir()) == []


def test_no_room_keeps_none(tmp_path: Path) -> None:
    site = Site(tmp_path / "explanations", explained.finding())
    site.store.keep_slices(studied(), most_bytes=0, **site.names)
    assert site.store.slices(ID) is None
    assert site.client.get(f"{site.path()}/0/slices.json").status_code == 204


def test_a_result_without_a_picture_has_a_key_image(tmp_path: Path) -> None:
    site = Site(tmp_path / "explanations", studied(analysis=explained.no_finding()))
    picture = site.client.get(f"{site.path()}/0/key.png")
    assert picture.mimetype == "image/png"
    page = site.client.get(site.path()).get_data(as_text=True)
    assert "/0/key.png" in page
    assert "/0/overlay.png" not in page


def test_two_thousand_slices_are_bounded_and_the_page_says_so(tmp_path: Path) -> None:
    many = replace(explained.result(), slices=explained.slices(2000, 900), deciding_slice=900)
    site = Site(
        tmp_path / "explanations",
        studied(2000, replace(explained.finding(), results=(many,))),
    )
    index = site.client.get(f"{site.path()}/0/slices.json").get_json()
    assert len(index["slices"]) == 300
    assert 900 in [each["number"] for each in index["slices"]]
    assert sum(2 * s["rows"] * s["columns"] for s in index["slices"]) <= MIB
    page = site.client.get(site.path()).get_data(as_text=True)
    assert "300 of 2,000 slices are kept for this page" in page


def test_an_outline_lies_within_its_mask() -> None:
    outline, _ = explained.outline()
    result = replace(explained.outlined(), outlines=(outline,))
    image = ImageSlice(np.zeros((256, 256), np.int16), "1.2")
    held = SeriesImages("1.2.3", (image,), (12,), 1)
    analysis = replace(explained.measured(), results=(result,), images=(held,))
    index, _ = packed_slices(analysis, MIB)
    entry = index.results[0]
    assert entry is not None
    (line,) = entry.lines[12]
    rows, columns = np.nonzero(outline.mask)
    assert min(line[0::2]) * 256 == pytest.approx(columns.min(), abs=0.01)
    assert max(line[0::2]) * 256 == pytest.approx(columns.max() + 1, abs=0.01)
    assert min(line[1::2]) * 256 == pytest.approx(rows.min(), abs=0.01)
    assert max(line[1::2]) * 256 == pytest.approx(rows.max() + 1, abs=0.01)
