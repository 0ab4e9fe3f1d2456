"""From labelled slices to a model folder: train, score, calibrate, export, measure, package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.build import ood
from models.build.calibrate import Operating, choose_operating, softmax
from models.build.data import NEGATIVE, SPEC, Split, as_input, load_splits
from models.build.evaluate import Report, evaluate, outputs_of
from models.build.export import export, open_session
from models.build.network import LiteClassifier
from models.build.package import write_package
from models.build.recipe import Recipe, quick, read_recipe
from models.build.train import Progress, train
from models.manifest import read_manifest

Features = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Order:
    """What to build, from what, where to. `smoke` cuts the recipe down to a useless minute."""

    model: str
    data: Path
    work: Path
    out: Path
    recipe: Path
    smoke: bool = False


def build_package(order: Order, progress: Progress) -> Report:
    """Run the whole build; may be stopped and repeated, training goes on where it was."""
    order.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    recipe = quick(read_recipe(order.recipe)) if order.smoke else read_recipe(order.recipe)
    progress("reading the slices")
    splits = load_splits(order.data)
    network = train(splits, recipe, order.work, progress, pretrained=not order.smoke)
    progress("choosing thresholds")
    score, operating, compared = choose(network, splits, recipe)
    progress("exporting and measuring")
    graph = order.work / "fp32.onnx"
    export(network, score, SPEC.rows, graph)
    session = open_session(graph)
    outputs = {name: outputs_of(session, splits[name]) for name in ("val", "test", "ext_dev")}
    report = {"model": order.model, "score_comparison": compared} | evaluate(
        outputs, splits, operating, recipe.bootstrap, recipe.seed
    )
    if order.smoke:
        report["placeholder"] = "A smoke run: these figures say nothing about the model."
    chosen = {"method": score.method, "chosen": _chosen(recipe)}
    write_package(order.out, graph, order.recipe, operating, report, chosen)
    progress(f"{read_manifest(order.out).id} is in {order.out.name}")
    return report


def choose(
    network: LiteClassifier, splits: dict[str, Split], recipe: Recipe
) -> tuple[nn.Module, Operating, Report]:
    """The score that lets the fewest tumours from elsewhere pass as tumour-free, and thresholds.

    Where two let as few pass, the one that separates `ext_dev` from `val` better is taken.
    """
    features = {name: _features(network, split) for name, split in splits.items() if name != "test"}
    fitted = ood.candidates(features["train"][1], torch.from_numpy(splits["train"].labels), recipe)
    tried = []
    for score in fitted:
        scores = {name: _scores(score, pair) for name, pair in features.items()}
        logits = features["val"][0].numpy()
        operating = choose_operating(logits, splits["val"].labels, scores["val"], recipe)
        probabilities = softmax(features["ext_dev"][0].numpy(), operating.temperature)
        stated = operating.statements(probabilities, scores["ext_dev"])
        passed = float((stated == NEGATIVE).mean())
        separation = _separation(scores["val"], scores["ext_dev"])
        tried.append((passed, -separation, score.method, score, operating))
    best = min(tried, key=lambda row: row[:3])
    compared = {
        method: {"ext_dev_called_negative": round(passed, 4), "auroc": round(-separation, 4)}
        for passed, separation, method, _, _ in tried
    }
    return best[3], best[4], compared


def _features(network: LiteClassifier, split: Split) -> Features:
    """(logits (N, L), pooled features (N, 1280)) of a split, unaugmented."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), 32):
            parts.append(network(torch.from_numpy(as_input(split.images[start : start + 32]))))
    logits, pooled = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(pooled)


def _scores(score: nn.Module, features: Features) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with torch.inference_mode():
        return np.asarray(score(*features).numpy(), np.float64)


def _separation(
    inside: np.ndarray[tuple[int], np.dtype[np.float64]],
    outside: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> float:
    """The chance that an outside slice scores above an inside one (AUROC)."""
    return float((outside[:, None] > inside[None]).mean())


def _chosen(recipe: Recipe) -> str:
    return (
        f"The limit is the {recipe.ood_percentile:g}th percentile of the validation scores; "
        "the score is the one of three that let the fewest ext_dev tumours pass as tumour-free."
    )
