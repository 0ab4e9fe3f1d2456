"""Reports as a build writes them, from made-up outputs: for cards, pictures and templates."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.build.calibrate import choose_operating, describe
from models.build.conformal import conformal_report, conformal_threshold
from models.build.evaluate.classes import answers, report_external, report_test, report_val
from models.build.evaluate.outlines import choose_outline, report_outlines
from models.build.packs import Samples
from models.build.recipe import CalibrateRecipe

Report = dict[str, Any]
_CALIBRATE = CalibrateRecipe(coverage=0.85, negative_answered=0.75, bootstrap=30)
_FAITHFUL = {
    "images": 30,
    "of": 32,
    "images_perturbed": 20,
    "map_cells": [7, 7],
    "pointing_game": {"value": 0.8, "low": 0.7, "high": 0.9},
    "pointing_game_exact": 0.7,
    "pointing_game_by_chance": 0.2,
    "energy_in_mask": {"value": 0.3, "low": 0.2, "high": 0.4},
    "energy_by_chance": 0.03,
    "deletion_auc": 0.4,
    "insertion_auc": 0.7,
    "deletion_auc_random": 0.6,
    "insertion_auc_random": 0.5,
    "randomisation": {"classifier": 0.2, "all weights": 0.0},
}


def classes_report(
    keys: tuple[str, ...], negative: str, *, external: str | None = None, masks: bool = False
) -> Report:
    """A classifier of these labels that is right nine times of ten."""
    rng, index = np.random.default_rng(0), keys.index(negative)
    logits, labels = _logits(rng, len(keys), 400)
    score = rng.normal(1, 0.2, 400)
    how = choose_operating(logits, labels, score, keys, index, _CALIBRATE)
    groups = tuple(str(number // 5) for number in range(400))
    found = answers({"logits": logits, "ood_score": score.astype("f")}, labels, groups, how)
    limit = conformal_threshold(found.probabilities, labels, 0.9)
    compared = {"strange_in_distribution": 0.01, "strange_called_negative": 0.0}
    report = _common("classification", keys) | {
        "operating_point": describe(_CALIBRATE),
        "test": report_test(found, 30, 0),
        "val": report_val(found),
        "prediction_set": conformal_report(found.probabilities, labels, keys, 0.9, limit),
        "faithfulness": _FAITHFUL if masks else None,
        "score_comparison": {"mahalanobis": compared, "energy": compared},
    }
    if external:
        report |= {"external_split": external, external: report_external(found, 30, 0)}
    report["measured"] |= {
        "explains": "cam",
        "outputs": ["logits", "feature_map", "class_weights", "ood_score"],
        "temperature": how.temperature,
        "thresholds": dict(zip(keys, how.thresholds, strict=True)),
    }
    return report


def outline_report(labels: tuple[str, ...], *, empties: bool = True) -> Report:
    """An outline that is nearly right; a fifth of the images has none."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:48, :48]
    places = rng.uniform(10, 38, (40, 2))
    radii = np.where(np.arange(40) % 5 == 0 if empties else False, -1, rng.uniform(3, 9, 40))
    masks = np.array(
        [(y - r) ** 2 + (x - c) ** 2 < abs(s) * s for (r, c), s in zip(places, radii, strict=True)]
    )
    logits = (np.where(masks, 3, -3) + rng.normal(0, 1, masks.shape)).astype(np.float32)
    names = tuple(str(number) for number in range(40))
    strata = np.where(masks.any(axis=(1, 2)), np.arange(40) % len(labels), -1)
    samples = Samples(
        np.zeros(masks.shape, np.uint8), strata, masks, np.ones(40, bool), names, names
    )
    how = choose_outline(logits, masks, 1)
    test = report_outlines(logits, samples, masks, how, labels, 30, 0) | {"in_distribution": 0.98}
    report = _common("segmentation", ("structure",)) | {
        "operating_point": "Chosen on val.",
        "test": test,
        "val": {"images": 40, "dice": 0.9},
        "score_comparison": {"mahalanobis": {"strange_in_distribution": 0.0}},
    }
    report["measured"] |= {
        "explains": "outline",
        "outputs": ["mask_logits", "ood_score"],
        "temperature": how.temperature,
        "threshold": how.threshold,
        "min_area_fraction": how.min_area_fraction,
        "parts": 1,
    }
    return report


def _logits(rng: np.random.Generator, labels: int, count: int) -> tuple[Any, Any]:
    true = rng.integers(0, labels, count)
    logits = rng.normal(0, 1, (count, labels))
    logits[np.arange(count), true] += 3
    return logits.astype(np.float32), true


def _common(task: str, keys: tuple[str, ...]) -> Report:
    engines = [
        {"engine": "ONNX Runtime fp32", "served": True, "p50_ms": 7.1, "p90_ms": 8.0},
        {"engine": "PyTorch eager fp32", "served": False, "p50_ms": 40.0, "p90_ms": 44.0},
    ]
    sensitivity = dict.fromkeys(keys, 0.9)
    row = {
        "step": "fp32",
        "accuracy": 0.9 if task == "classification" else None,
        "dice": None if task == "classification" else 0.9,
        "sensitivity": sensitivity,
        "ece": 0.02,
        "agreement": 1.0,
        "bytes": 1_000_000,
        "macs": 300_000_000,
        "latency_ms": 7.0,
        "speed_up": 1.0,
    }
    int8 = {"agreement": 0.98, "speed_up": 2.0, "smaller": 3.7, "gates_held": True}
    return {
        "schema": 2,
        "task": task,
        "intervals": "95 %, bootstrap over groups",
        "images": {"train": 100, "val": 50, "test": 400},
        "score": "mahalanobis",
        "compression": {"rows": [row], "choice": "int8", "step": "int8", "reason": ""},
        "gates": [{"name": "accuracy", "held": True, "sentence": "Accuracy falls by nothing."}],
        "precision": {"preferred": "int8", "reason": "Every gate held.", "int8": int8},
        "latency": {
            "title": "Time for one image",
            "machine": "a machine",
            "engines": engines,
            "load": 1.2,
        },
        "measured": {
            "layer": "the last convolution",
            "ood_threshold": 1.5,
            "ood_chosen": 'The "98th" percentile.',
        },
    }
