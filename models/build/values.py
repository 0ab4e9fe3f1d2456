"""What the build fills into the template: the operating point, the precision, and every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from models.build.card.facts import facts
from models.build.card.text import placeholder
from models.build.evaluate.figures import Report

DISAGREEMENT_LIMIT = 0.05


def values(report: Report, files: dict[str, str]) -> dict[str, str]:
    """Texts and numbers by placeholder; `files` are SHA-256 by name."""
    measured = report["measured"]
    named: dict[str, Any] = {
        "temperature": measured["temperature"],
        "ece": report["test"]["ece"],
        "layer": measured["layer"],
        "explanation_method": measured["explains"],
        **_score(report),
        **(_classes(report) if report["task"] == "classification" else _outline(report)),
    }
    plain = {placeholder(name): _written(value) for name, value in named.items()}
    blocks = {
        "files": file_lines(files),
        "outputs": output_lines(measured["outputs"]),
        "precision": precision_lines(report["precision"], has_int8="int8.onnx" in files),
    }
    return facts(report) | plain | blocks


def _classes(report: Report) -> dict[str, Any]:
    sets, measured = report["prediction_set"], report["measured"]
    return {f"threshold_{key}": value for key, value in measured["thresholds"].items()} | {
        "prediction_set_method": sets["method"],
        "prediction_set_coverage": sets["coverage"],
        "prediction_set_threshold": sets["threshold"],
        "prediction_set_coverage_test": sets["coverage_test"],
    }


def _outline(report: Report) -> dict[str, Any]:
    measured = report["measured"]
    return {name: measured[name] for name in ("threshold", "min_area_fraction", "parts")}


def _score(report: Report) -> dict[str, Any]:
    if not report.get("score"):
        return {}
    measured = report["measured"]
    return {
        "ood_method": report["score"],
        "ood_threshold": measured["ood_threshold"],
        "ood_chosen": measured["ood_chosen"],
    }


def file_lines(files: dict[str, str]) -> str:
    """The lines of [files]."""
    return "\n".join(f'"{name}" = "{digest}"' for name, digest in files.items())


def output_lines(names: Sequence[str]) -> str:
    """The lines of [outputs]."""
    return "\n".join(f'{name} = "{name}"' for name in names)


def precision_lines(chosen: Report, *, has_int8: bool) -> str:
    """The lines of [precision], with [precision.int8] where the package has that graph."""
    lines = [
        f"preferred = {json.dumps(chosen['preferred'])}",
        f"reason = {json.dumps(chosen['reason'], ensure_ascii=False)}",
        f"disagreement_limit = {DISAGREEMENT_LIMIT}",
    ]
    if has_int8:
        lines += ["", "[precision.int8]"]
        lines += [f"{name} = {_written(value)}" for name, value in chosen["int8"].items()]
    return "\n".join(lines)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)
