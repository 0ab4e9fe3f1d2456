"""Which out-of-distribution score is exported, and what it lets pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build import ood
from models.build.calibrate import Floats, Operating, choose_operating, softmax
from models.build.evaluate.curves import auroc
from models.build.evaluate.figures import Report, rounded
from models.build.export import open_session, run
from models.build.networks import Network
from models.build.packs import Images, Samples, as_input
from models.build.recipe import Recipe
from models.build.strange import strange_images
from models.manifest import InputSpec

_BATCH = 32


@dataclass(frozen=True)
class Features:
    """What the network says of N images: `logits` (N, L) or None, `pooled` (N, C)."""

    logits: Tensor | None
    pooled: Tensor

    def scores(self, score: nn.Module) -> Floats:
        """The score of each image (N,)."""
        with torch.inference_mode():
            seen = self.pooled if self.logits is None else self.logits
            return np.asarray(score(seen, self.pooled).numpy(), np.float64)


@dataclass(frozen=True)
class Chosen:
    """The score, its limit (the operating point of a classifier) and what was compared."""

    score: nn.Module
    limit: float
    why: str
    compared: Report


def choose_score(
    network: Network, samples: dict[str, Samples], spec: InputSpec, recipe: Recipe
) -> Chosen:
    """The score that lets the least pass as negative or as familiar.

    First counts how many images with a finding from elsewhere (where the recipe has an external
    split) or of nothing of the kind would be called negative, whichever share is larger; then how
    many of nothing of the kind would be called in distribution, then how well those from elsewhere
    are told from `val`. The test split is not
    looked at.
    """
    external = recipe.data.external
    names = ("train", "val", *((external,) if external else ()))
    seen = {name: features(network, samples[name].images) for name in names}
    seen["strange"] = features(network, strange_images(samples["val"].images, spec, recipe.seed))
    labels = torch.from_numpy(samples["train"].labels)
    fitted = ood.candidates(seen["train"].pooled, labels, recipe.calibrate)
    if seen["val"].logits is None:
        fitted = tuple(score for score in fitted if not isinstance(score, ood.Energy))
    tried = [(score, *_judge(score, seen, samples, recipe)) for score in fitted]
    score, limit, _ = min(tried, key=lambda row: _rank(row[2]))
    compared = {one.method: figures for one, _, figures in tried}
    return Chosen(score, limit, _why(recipe, len(tried)), compared)


def features(network: Network, images: Images) -> Features:
    """Run the network over images (N, R, C) as they are."""
    device = next(network.parameters()).device
    network.eval()
    logits, pooled = [], []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(as_input(images[start : start + _BATCH])).to(device)
            heads = network(batch)
            pooled.append(heads.pooled.cpu())
            logits.append(None if heads.logits is None else heads.logits.cpu())
    said = None if logits[0] is None else torch.cat(logits)
    return Features(said, torch.cat(pooled))


def _judge(
    score: nn.Module, seen: dict[str, Features], samples: dict[str, Samples], recipe: Recipe
) -> tuple[float, Report]:
    """The limit of this score, and what passes it."""
    scores = {name: one.scores(score) for name, one in seen.items()}
    limit = float(f"{np.percentile(scores['val'], recipe.calibrate.ood_percentile):.6g}")
    figures: Report = {
        "threshold": limit,
        "strange_in_distribution": rounded(float((scores["strange"] <= limit).mean())),
        "strange_auroc": rounded(_told_apart(scores["val"], scores["strange"])),
    }
    external, val = recipe.data.external, seen["val"]
    if external:
        figures["external_in_distribution"] = rounded(float((scores[external] <= limit).mean()))
        figures["external_auroc"] = rounded(_told_apart(scores["val"], scores[external]))
    if val.logits is not None and recipe.data.negative is not None:
        negative = recipe.data.keys.index(recipe.data.negative)
        operating = choose_operating(
            val.logits.numpy(),
            samples["val"].labels,
            scores["val"],
            recipe.data.keys,
            negative,
            recipe.calibrate,
        )
        for name in ("strange", *((external,) if external else ())):
            share = _negatives(seen[name], scores[name], operating)
            figures[f"{'external' if name == external else name}_called_negative"] = share
    return limit, figures


def _rank(figures: Report) -> tuple[float, float, float]:
    """What is called negative and should not be, the worse of both kinds, comes first."""
    return (
        max(
            figures.get("external_called_negative", 0.0),
            figures.get("strange_called_negative", 0.0),
        ),
        figures["strange_in_distribution"],
        -figures["external_auroc" if "external_auroc" in figures else "strange_auroc"],
    )


def _negatives(seen: Features, scores: Floats, operating: Operating) -> float:
    """The share that would be called negative."""
    if seen.logits is None:
        return 0.0
    probabilities = softmax(seen.logits.numpy(), operating.temperature)
    return rounded(
        float((operating.statements(probabilities, scores) == operating.negative).mean())
    )


def _told_apart(inside: Floats, outside: Floats) -> float:
    """The chance that an outside image scores above an inside one (AUROC)."""
    positive = np.concatenate((np.ones(len(outside), bool), np.zeros(len(inside), bool)))
    return auroc(positive, np.concatenate((outside, inside)))


def _why(recipe: Recipe, tried: int) -> str:
    how = "lets the fewest pictures that are nothing of the kind pass as familiar"
    if recipe.data.negative:
        others = f"findings of {recipe.data.external} or " if recipe.data.external else ""
        how = (
            f"lets the fewest {others}pictures that are nothing of the kind pass as negative, then "
            "the fewest of the latter as familiar"
        )
    percentile = f"{recipe.calibrate.ood_percentile:g}th percentile of the validation scores"
    return f"The limit is the {percentile}; the score is the one of {tried} that {how}."


def distance(network: Network, graph: Path, images: Images) -> float:
    """The largest difference of the answers of network and graph, on real images (N, R, C).

    Relative to the largest answer where that is above 1.
    """
    given = as_input(images)
    with torch.inference_mode():
        heads = copy.deepcopy(network).cpu().eval()(torch.from_numpy(given))
    outputs = run(open_session(graph), given)
    if heads.logits is not None:
        expected, answered = heads.logits.numpy(), outputs["logits"]
    else:
        size = outputs["mask_logits"].shape[2:]
        masks = functional.interpolate(
            heads.mask_logits, size=size, mode="bilinear", align_corners=False
        )
        expected, answered = masks.numpy(), outputs["mask_logits"]
    largest = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(expected - answered).max()) / largest
