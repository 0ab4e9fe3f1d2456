"""Pictures beside the card, drawn from the report alone: the same figures, the same pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from models.build.evaluate.figures import Report

_INK, _BLUE, _RED, _GREY = "#222222", "#1f5a94", "#b3372c", "#9a9a9a"
_TONES = (_BLUE, _RED, "#2d7d46", "#8a5fa8", "#b07d12", "#1b8a8f")
_STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "scanhook",
}
_DPI = 110
_HALF = 0.2  # of a bar's place: the middle of its upper half


def draw(report: Report) -> dict[str, bytes]:
    """PNG bytes by file name; only what the report has figures for."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display is asked for
    with mpl.rc_context(_STYLE):
        return dict(_drawn(report))


def _drawn(report: Report) -> Iterator[tuple[str, bytes]]:
    test = report["test"]
    yield "reliability.png", _png(_reliability, test, 3.4, 3.2)
    if report["task"] == "classification":
        yield "confusion.png", _png(_confusion, test, *_confusion_size(test))
        yield "roc.png", _png(_roc_and_pr, test, 6.8, 3.2)
        yield "coverage-risk.png", _png(_coverage_risk, test, 3.9, 3.2)
    else:
        yield "dice.png", _png(_dice, test, 3.9, 3.2)
    if report.get("latency"):
        yield "latency.png", _png(_latency, report["latency"], 5.2, 0.8 + 0.42 * _rows(report))


def _rows(report: Report) -> int:
    return len(report["latency"]["engines"])


def _png(paint: Callable[[Any, Any], None], figures: Any, width: float, height: float) -> bytes:
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    try:
        paint(figure, figures)
        stream = io.BytesIO()
        # no date and no version of the library: the bytes depend on the figures alone
        figure.savefig(stream, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)
    return _fewer_colours(stream.getvalue())


def _fewer_colours(content: bytes) -> bytes:
    """The same picture in 128 colours: a third of the bytes."""
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            stream, "PNG", optimize=True
        )
    return stream.getvalue()


def _reliability(figure: Any, test: Report) -> None:
    axes = figure.subplots()
    bins = test["reliability"]
    total = sum(row["count"] for row in bins)
    confidence = [row["confidence"] for row in bins]
    accuracy = [row["accuracy"] for row in bins]
    sizes = [12 + 160 * (row["count"] / total) ** 0.5 for row in bins]
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="perfect")
    axes.plot(confidence, accuracy, color=_BLUE, linewidth=1)
    axes.scatter(confidence, accuracy, s=sizes, color=_BLUE, label="measured (area: how many)")
    axes.set(
        xlim=(-0.03, 1.03),
        ylim=(-0.03, 1.05),
        xlabel="stated probability",
        ylabel="how often it was right",
        title=f"Reliability on test, calibration error {test['ece']:.3f}",
    )
    axes.legend(loc="upper left", markerscale=0.5)


def _confusion_size(test: Report) -> tuple[float, float]:
    count = len(test["confusion"]["order"])
    return 2.0 + 0.75 * count, 1.3 + 0.55 * count


def _confusion(figure: Any, test: Report) -> None:
    axes, order = figure.subplots(), test["confusion"]["order"]
    counts = np.array(test["confusion"]["true_by_stated"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        ink = "white" if shares[row, column] > 0.55 else _INK
        text = f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(order)), order, rotation=20, ha="right")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="most probable", ylabel="true", title="Confusion on test")
    axes.spines[:].set_visible(False)


def _roc_and_pr(figure: Any, test: Report) -> None:
    left, right = figure.subplots(1, 2)
    for (key, curve), colour in zip(test["curves"].items(), _TONES * 4, strict=False):
        point = curve["at_threshold"]
        left.plot(
            curve["false_positive_rate"],
            curve["sensitivity"],
            color=colour,
            label=f"{key} {curve['auroc']:.3f}",
        )
        left.plot(point["false_positive_rate"], point["sensitivity"], "o", color=colour)
        right.plot(
            curve["sensitivity"],
            curve["precision"],
            color=colour,
            label=f"{key} {curve['average_precision']:.3f}",
        )
        right.plot(point["sensitivity"], point["precision"], "o", color=colour)
    left.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC; dots: the thresholds")
    right.set(
        xlabel="sensitivity", ylabel="precision", title="Precision and recall", ylim=(0, 1.04)
    )
    left.legend(loc="lower right", title="area under the curve", title_fontsize=8)
    right.legend(loc="lower left", title="average precision", title_fontsize=8)


def _coverage_risk(figure: Any, test: Report) -> None:
    axes, curve = figure.subplots(), test["coverage_risk"]
    axes.plot(
        curve["coverage"], [100 * r for r in curve["risk"]], color=_BLUE, label="by confidence"
    )
    silent = test["abstaining"]
    if silent["accuracy"] is not None:
        axes.plot(
            silent["coverage"],
            100 * (1 - silent["accuracy"]),
            "o",
            color=_RED,
            label="as packaged (thresholds, distribution)",
        )
    axes.set(
        xlim=(0, 1.02),
        xlabel="share of images answered",
        ylabel="wrong answers among them, %",
        title="Coverage and risk on test",
    )
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def _dice(figure: Any, test: Report) -> None:
    axes, counts = figure.subplots(), test["dice_histogram"]
    edges = np.linspace(0, 1, len(counts) + 1)
    axes.bar(edges[:-1], counts, width=edges[1], align="edge", color=_BLUE, edgecolor="white")
    for name, key, colour in (
        ("mean", "dice", _RED),
        ("5th percentile", "dice_5th_percentile", _INK),
    ):
        value = test[key]["value"]
        axes.axvline(value, color=colour, linewidth=1.2, label=f"{name} {value:.3f}")
    axes.set(
        xlim=(0, 1), xlabel="Dice", ylabel="images", title="Overlap with the true outline, test"
    )
    axes.legend(loc="upper left")


def _latency(figure: Any, latency: Report) -> None:
    axes, rows = figure.subplots(), latency["engines"]
    places = np.arange(len(rows))[::-1]
    middle, slow = ([row[name] for row in rows] for name in ("p50_ms", "p90_ms"))
    axes.barh(places, middle, color=[_BLUE if row.get("served") else _GREY for row in rows])
    # the median's number above, the tick below: however near they are, each can be read
    axes.hlines(places - _HALF, middle, slow, color=_INK, linewidth=0.8)
    axes.plot(slow, places - _HALF, "|", color=_INK, markersize=7)
    for place, value in zip(places + _HALF, middle, strict=True):
        text = f" {value:.1f}" if value < 100 else f" {value:.0f}"
        axes.text(value, place, text, va="center", fontsize=8)
    axes.set_yticks(places, [row["engine"] for row in rows])
    axes.set(xlabel="ms an image: median, tick at 90 %", title=latency["title"])
    axes.margins(x=0.12)
