"""The card's sections on compression, precision and speed, all from the report."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from models.build.card.facts import external
from models.build.card.text import interval, number, paragraphs, percent, spread, table
from models.build.evaluate.figures import Report
from models.build.measure.answers import markdown
from models.manifest import Manifest


def precision(manifest: Manifest, report: Report) -> str:
    """Which graph is served, every step that was tried, and the gates."""
    chosen = manifest.precision
    return paragraphs(
        "## Precision and compression",
        f"Served: **{chosen.preferred}**. {chosen.reason}",
        _of_int8(report),
        _steps(report.get("compression")),
        _gates(report),
    )


def _of_int8(report: Report) -> str:
    """What the int8 graph reaches, beside the figures above, which are the fp32 graph's."""
    if not report.get("int8"):
        return ""
    test = report["int8"]["test"]
    if report["task"] != "classification":
        return (
            f"The int8 graph on test: Dice {spread(test['dice'])}, 5th percentile "
            f"{spread(test['dice_5th_percentile'])}, missed {interval(test['missed'])}."
        )
    away = external(report["int8"] | {"external_split": report.get("external_split")})
    elsewhere = (
        f" From elsewhere: {percent(away['accuracy'])} right without abstention, "
        f"{percent(away['called_negative_abstaining'])} called negative with it."
        if away
        else ""
    )
    silent = test["abstaining"]
    return (
        f"The int8 graph on test: accuracy {interval(test['accuracy'])}, expected calibration "
        f"error {number(test['ece'])}; with abstention {percent(silent['coverage'])} answered, "
        f"{percent(silent['accuracy'])} of them right, "
        f"{percent(silent['findings_called_negative'])} of the findings called negative."
        f"{elsewhere}"
    )


def _steps(compression: Report | None) -> str:
    if not compression:
        return ""
    rows = [
        (
            row["step"],
            number(row["accuracy"] if row["accuracy"] is not None else row["dice"], 4),
            ", ".join(f"{key} {value:.3f}" for key, value in row["sensitivity"].items()),
            number(row["ece"]),
            percent(row["agreement"]),
            f"{row['bytes'] / 1e6:.2f}",
            number(row["latency_ms"], 1),
            f"{row['speed_up']:.2f}",
        )
        for row in compression["rows"]
    ]
    worth = "Dice" if compression["rows"][0]["accuracy"] is None else "accuracy"
    header = (
        *("step (figures on val)", worth, "sensitivity", "calibration error", "same as fp32"),
        *("MB", "ms", "times faster"),
    )
    said = " ".join(_said(compression["rows"]))
    return paragraphs("Each step that was tried:", table(header, rows), said)


def _said(rows: list[Report]) -> Iterator[str]:
    """What the table does not show: steps that were not asked for, or that changed nothing."""
    steps = " ".join(row["step"] for row in rows)
    absent = [name for word, name in _STEPS.items() if word not in steps]
    if absent:
        yield f"Not run, since the recipe asks for none or the gates held without: {_list(absent)}."
    for before, after in pairwise(rows):
        same = (before["bytes"], before["macs"]) == (after["bytes"], after["macs"])
        if same and after["step"].startswith("factorised"):
            yield f'"{after["step"]}" found no layer where it pays: the graph is as before.'


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


_STEPS = {
    "pruned": "pruning",
    "factorised": "factorising",
    "epochs of training with": "training with quantisation",
}


def _gates(report: Report) -> str:
    gates = [
        *([report["graph_gate"]] if report.get("graph_gate") else []),
        *report.get("gates", []),
        *report.get("speed_gates", []),
    ]
    if not gates:
        return ""
    rows = [(g["name"], "held" if g["held"] else "**missed**", g["sentence"]) for g in gates]
    return paragraphs(
        "Gates, on the test split and on this machine:", table(("gate", "", "measured"), rows)
    )


def latency(report: Report) -> str:
    """One image, engine by engine."""
    measured = report.get("latency")
    if not measured:
        return ""
    rows = [
        (
            row["engine"] + (" (served)" if row.get("served") else ""),
            number(row["p50_ms"], 2),
            number(row["p90_ms"], 2),
        )
        for row in measured["engines"]
    ]
    return paragraphs(
        "## Speed",
        f"{measured['title']}, on {measured['machine']}; measured in turns. The machine's load "
        f"was {measured['load']:.1f} at the end, of which the measurement itself is about 1.",
        table(("engine", "median ms", "90th percentile ms"), rows),
        "![Time for one image, engine by engine](latency.png)",
    )


def backbones(report: Report) -> str:
    """The networks that were trained side by side."""
    table = report.get("backbones")
    if not table:
        return ""
    page = markdown(table).splitlines()
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in page).strip()
