"""From labelled slices to a model folder: train, score, calibrate, export, measure, package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.build import ood
from models.build.calibrate import Operating, choose_operating, softmax
from models.build.data import NEGATIVE, SPEC, Images, Split, as_input, load_splits
from models.build.evaluate import Report, evaluate, outputs_of
from models.build.export import export, open_session
from models.build.network import LiteClassifier
from models.build.package import write_package
from models.build.recipe import Recipe, quick, read_recipe
from models.build.strange import strange_images
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
    network = train(splits, recipe, order.work, progress, pretrained=True)
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
    """The score that lets the least pass as tumour-free or as familiar, and thresholds.

    First counts how many tumours from elsewhere would be called tumour-free, then how many
    pictures that are no heads would be called in distribution, then how well `ext_dev` is told
    from `val`.
    """
    features = {
        name: _features(network, split.images) for name, split in splits.items() if name != "test"
    }
    strange = _features(network, strange_images(splits["val"].images, recipe.seed))
    fitted = ood.candidates(features["train"][1], torch.from_numpy(splits["train"].labels), recipe)
    tried = []
    for score in fitted:
        scores = {name: _scores(score, pair) for name, pair in features.items()}
        logits = features["val"][0].numpy()
        operating = choose_operating(logits, splits["val"].labels, scores["val"], recipe)
        figures = {
            "ext_dev_called_negative": _negatives(features["ext_dev"], score, operating),
            "no_heads_in_distribution": _familiar(strange, score, operating),
            "no_heads_called_negative": _negatives(strange, score, operating),
            "ext_dev_auroc": _separation(scores["val"], scores["ext_dev"]),
        }
        tried.append((score, operating, figures))
    score, operating, _ = min(tried, key=lambda row: _rank(row[2]))
    compared = {
        one.method: {name: round(value, 4) for name, value in figures.items()}
        for one, _, figures in tried
    }
    return score, operating, compared


def _rank(figures: dict[str, float]) -> tuple[float, float, float]:
    return (
        figures["ext_dev_called_negative"],
        figures["no_heads_in_distribution"],
        -figures["ext_dev_auroc"],
    )


def _negatives(features: Features, score: nn.Module, operating: Operating) -> float:
    """The share that would be called tumour-free."""
    probabilities = softmax(features[0].numpy(), operating.temperature)
    return float((operating.statements(probabilities, _scores(score, features)) == NEGATIVE).mean())


def _familiar(features: Features, score: nn.Module, operating: Operating) -> float:
    """The share that would be called in distribution."""
    return float((_scores(score, features) <= operating.ood_threshold).mean())


def _features(network: LiteClassifier, images: Images) -> Features:
    """(logits (N, L), pooled features (N, 1280)) of images (N, 224, 224), unaugmented."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 32):
            parts.append(network(torch.from_numpy(as_input(images[start : start + 32]))))
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
        "the score is the one of three that lets the fewest ext_dev tumours pass as tumour-free, "
        "then the fewest pictures that are no heads as familiar."
    )
