"""The pictures are drawn from the report, small, and the same every time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from models.build import plots
from tests.unit.models.build.made_reports import Report, classes_report, outline_report

pytest.importorskip("matplotlib", reason="the extra [build] is not installed")

REPORTS = {
    "classification": classes_report(("ill", "well"), "well"),
    "segmentation": outline_report(("a", "b")),
}
NAMES = {
    "classification": {
        *("reliability.png", "confusion.png", "roc.png", "coverage-risk.png", "latency.png"),
    },
    "segmentation": {"reliability.png", "dice.png", "latency.png"},
}


@pytest.fixture(scope="module", params=sorted(REPORTS))
def drawn(request: pytest.FixtureRequest) -> tuple[Report, dict[str, bytes]]:
    report = REPORTS[request.param]
    return report, plots.draw(report)


def test_every_figure_gets_its_picture(drawn: tuple[Report, dict[str, bytes]]) -> None:
    report, pictures = drawn
    assert set(pictures) == NAMES[report["task"]]


def test_the_pictures_are_small_and_not_empty(drawn: tuple[Report, dict[str, bytes]]) -> None:
    for content in drawn[1].values():
        assert len(content) < 60_000
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        assert min(pixels.shape) > 100
        assert (pixels < 128).mean() > 0.005


def test_the_same_report_gives_the_same_bytes(drawn: tuple[Report, dict[str, bytes]]) -> None:
    report, pictures = drawn
    assert plots.draw(report) == pictures


def test_a_median_stands_at_its_bar_and_not_at_the_tick() -> None:
    from matplotlib import pyplot

    engines = [
        {"engine": "a", "served": True, "p50_ms": 7.1, "p90_ms": 7.9},
        {"engine": "b", "served": False, "p50_ms": 40.0, "p90_ms": 250.0},
    ]
    figure = pyplot.figure(figsize=(5.2, 1.64), dpi=110, layout="constrained")
    plots._latency(figure, {"title": "Time", "engines": engines})
    figure.canvas.draw()
    (axes,) = figure.axes
    (ticks,) = axes.lines
    places = np.asarray(ticks.get_xydata())
    for text, engine, tick in zip(axes.texts, engines, places, strict=True):
        assert text.get_position()[0] == engine["p50_ms"]
        assert text.get_text() == f" {engine['p50_ms']}"
        x, y = axes.transData.transform(tick)
        size = ticks.get_markersize() * figure.dpi / 72
        box = text.get_window_extent()
        assert not (box.x0 <= x <= box.x1 and box.y0 <= y + size / 2)
    pyplot.close(figure)


def test_a_report_without_latency_has_no_picture_of_it() -> None:
    report = {name: value for name, value in REPORTS["segmentation"].items() if name != "latency"}
    assert "latency.png" not in plots.draw(report)
