"""The figures that a template may name: `$accuracy` in a text stands for what was measured."""

from __future__ import annotations

from models.build.card.text import interval, number, percent, placeholder, spread
from models.build.evaluate.figures import Report


def facts(report: Report) -> dict[str, str]:
    """Every figure that a template may name, in words; only letters and underscores in names."""
    task = _of_classes if report["task"] == "classification" else _of_outlines
    named = task(report) | _of_data(report) | _of_explanation(report) | _of_score(report)
    return {placeholder(name): value for name, value in named.items()}


def external(report: Report) -> Report | None:
    """The figures of the images from elsewhere, if the recipe names such a split."""
    split = report.get("external_split")
    return report[split] if split else None


def _of_data(report: Report) -> dict[str, str]:
    named = {
        "test_images": str(report["test"]["images"]),
        "test_groups": str(report["test"]["groups"]),
    }
    data, counts = report.get("data", {}), report["images"]
    gone = data.get("left_out", {})
    for name, count in counts.items():
        named[f"{name}_images"] = str(count)
        named[f"{name}_left_out"] = str(gone.get(name, 0))
        named[f"{name}_listed"] = str(count + gone.get(name, 0))
        named[f"{name}_near_copied"] = str(data.get("near_copied", {}).get(name, 0))
    return named


def _of_classes(report: Report) -> dict[str, str]:
    test, silent = report["test"], report["test"]["abstaining"]
    named = {
        "accuracy": interval(test["accuracy"]),
        "calibration_error": number(test["ece"]),
        "any_sensitivity": interval(test["any_finding"]["sensitivity"]),
        "any_specificity": interval(test["any_finding"]["specificity"]),
        "in_distribution": percent(test["in_distribution"]),
        "answered": percent(silent["coverage"]),
        "answered_accuracy": percent(silent["accuracy"]),
        "negative_answered": percent(silent["negative_answered"]),
        "findings_called_negative": percent(silent["findings_called_negative"]),
        "set_coverage": percent(report["prediction_set"]["coverage"]),
        "set_coverage_test": percent(report["prediction_set"]["coverage_test"]),
    }
    for key, figures in test["per_class"].items():
        named[f"images_{key}"] = str(figures["images"])
        named[f"sensitivity_{key}"] = interval(figures["sensitivity"])
        named[f"specificity_{key}"] = interval(figures["specificity"])
    return named | _of_external(report)


def _of_external(report: Report) -> dict[str, str]:
    figures = external(report)
    if figures is None:
        return {}
    named = {f"external_{name}": percent(figures[name]) for name in figures if name in OF_EXTERNAL}
    return named | {"external_images": str(figures["images"])}


OF_EXTERNAL = (
    "accuracy",
    "in_distribution",
    "called_negative",
    "called_negative_abstaining",
    "called_negative_with_witness",
    "coverage_abstaining",
    "accuracy_abstaining",
)


def _of_outlines(report: Report) -> dict[str, str]:
    test = report["test"]
    named = {
        "dice": spread(test["dice"]),
        "dice_5th_percentile": spread(test["dice_5th_percentile"]),
        "missed": interval(test["missed"]),
        "false_outlines": interval(test["false_outlines"]),
        "calibration_error": number(test["ece"]),
        "with_structure": str(test["with_structure"]),
        "without_structure": str(test["without_structure"]),
    }
    for part in ("per_class", "per_size"):
        for key, figures in test[part].items():
            value = figures["dice"]
            named[f"dice_{key}"] = spread(value) if isinstance(value, dict) else number(value)
    return named


def _of_score(report: Report) -> dict[str, str]:
    chosen = report.get("score_comparison", {}).get(report.get("score"), {})
    return {
        name: percent(chosen[name])
        for name in ("strange_in_distribution", "strange_called_negative")
        if name in chosen
    }


def _of_explanation(report: Report) -> dict[str, str]:
    figures = report.get("faithfulness") or {}
    if not figures.get("images"):
        return {}
    return {
        "pointing_game": interval(figures["pointing_game"]),
        "pointing_game_by_chance": percent(figures["pointing_game_by_chance"]),
        "energy_in_mask": interval(figures["energy_in_mask"]),
        "energy_by_chance": percent(figures["energy_by_chance"]),
        "deletion": number(figures["deletion_auc"]),
        "deletion_random": number(figures["deletion_auc_random"]),
        "insertion": number(figures["insertion_auc"]),
        "insertion_random": number(figures["insertion_auc_random"]),
    }
