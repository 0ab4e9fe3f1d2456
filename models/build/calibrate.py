"""From logits to statements: temperature, thresholds, and what is unlike the training data.

Everything here is chosen on the validation split. What a slice alone would be answered is what
the service answers for a series of one slice: threshold, margin and distribution, gate by gate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.build.recipe import CalibrateRecipe

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
UNDECIDED = -1
MARGIN = 0.1
"""How far an answer must lead the next one; `inference.gates.uncertainty` has the same."""
_LOWEST = 0.5  # so that two findings can never be stated at once
_HIGHEST, _STEP = 0.99, 0.01
_COLDEST, _HOTTEST = 0.2, 5.0


@dataclass(frozen=True)
class Operating:
    """Where the model speaks and where it keeps silent.

    `thresholds` are calibrated probabilities in the order of `keys`; `negative` is the index of the
    label that says there is nothing. A slice whose out-of-distribution score is above
    `ood_threshold` is not answered.
    """

    keys: tuple[str, ...]
    negative: int
    temperature: float
    thresholds: tuple[float, ...]
    ood_threshold: float

    def statements(self, probabilities: Floats, ood: Floats) -> Labels:
        """What is stated of each slice (N,): a label's index, or UNDECIDED."""
        reached = probabilities >= np.array(self.thresholds)
        findings = np.delete(np.arange(len(self.keys)), self.negative)
        chances = np.where(reached, probabilities, -1.0)
        best = findings[chances[:, findings].argmax(axis=1)]
        stated = np.where(reached[:, findings].any(axis=1), best, self.negative)
        rows = np.arange(len(probabilities))
        others = probabilities.copy()
        others[rows, stated] = -1.0
        leads = probabilities[rows, stated] - others.max(axis=1) >= MARGIN
        spoken = reached[rows, stated] & leads & (ood <= self.ood_threshold)
        return np.where(spoken, stated, UNDECIDED).astype(np.int64)


def softmax(logits: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrated probabilities (N, L) of logits (N, L)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float32]:
    """Calibrated probabilities of the logits of pixels, of any shape."""
    scaled = np.clip(logits.astype(np.float32) / np.float32(temperature), -60, 60)
    return np.asarray(1 / (1 + np.exp(-scaled)), np.float32)


def fit_temperature(logits: npt.NDArray[np.floating], labels: Labels) -> float:
    """The temperature of least negative log-likelihood, by search from 0.2 to 5 (Guo et al. 2017).

    Classes weigh alike, so that the rare ones are calibrated as well as the common.
    """
    weights = 1 / np.bincount(labels, minlength=logits.shape[1])[labels]

    def loss(temperature: float) -> float:
        likely = softmax(logits, temperature)[np.arange(len(labels)), labels]
        return float(-(weights * np.log(np.maximum(likely, 1e-12))).sum())

    return _coolest(loss)


def fit_pixel_temperature(logits: npt.NDArray[np.floating], masks: npt.NDArray[np.bool_]) -> float:
    """The same for pixels: `logits` and `masks` of one shape; at most about a million are asked."""
    step = max(1, logits.size // 1_000_000)
    some, truth = logits.ravel()[::step], masks.ravel()[::step]

    def loss(temperature: float) -> float:
        chances = sigmoid(some, temperature).astype(np.float64)
        likely = np.where(truth, chances, 1 - chances)
        return float(-np.log(np.maximum(likely, 1e-9)).mean())

    return _coolest(loss, steps=60)


def _coolest(loss: Callable[[float], float], steps: int = 400) -> float:
    candidates = [float(t) for t in np.geomspace(_COLDEST, _HOTTEST, steps)]
    coolest = min(candidates, key=loss)
    return round(coolest, 4)


def choose_operating(
    logits: npt.NDArray[np.floating],
    labels: Labels,
    ood: Floats,
    keys: tuple[str, ...],
    negative: int,
    recipe: CalibrateRecipe,
) -> Operating:
    """Choose temperature and thresholds on validation logits (N, L), labels (N,), scores (N,).

    All findings share one threshold, the strictest that leaves the recipe's coverage (and
    sensitivity, where it asks for one): one for each finding fitted the validation split closer
    and images from elsewhere worse.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    limit = float(f"{np.percentile(ood, recipe.ood_percentile):.6g}")
    strictest = _negative_threshold(probabilities, labels, negative, recipe)
    operating = Operating(keys, negative, temperature, (), limit)
    for level in np.arange(_HIGHEST, _LOWEST - _STEP / 2, -_STEP):
        finding = round(float(level), 3)
        thresholds = [finding] * len(keys)
        thresholds[negative] = max(strictest, finding)
        operating = Operating(keys, negative, temperature, tuple(thresholds), limit)
        stated = operating.statements(probabilities, ood)
        if _enough(stated, labels, negative, recipe):
            break
    return operating


def _enough(stated: Labels, labels: Labels, negative: int, recipe: CalibrateRecipe) -> bool:
    if (stated != UNDECIDED).mean() < recipe.coverage:
        return False
    if recipe.sensitivity is None:
        return True
    found = ~np.isin(stated, (UNDECIDED, negative))[labels != negative]
    return bool(found.mean() >= recipe.sensitivity)


def _negative_threshold(
    probabilities: Floats, labels: Labels, negative: int, recipe: CalibrateRecipe
) -> float:
    """The strictest threshold at which the asked-for share of negative slices is answered."""
    likely = probabilities[labels == negative, negative]
    strictest = float(np.quantile(likely, 1 - recipe.negative_answered))
    return round(min(max(strictest, _LOWEST), _HIGHEST), 3)


def describe(recipe: CalibrateRecipe) -> str:
    """The operating point in words, for the report and the card."""
    asked = f"at least {100 * recipe.coverage:g} % of the validation images are answered"
    if recipe.sensitivity is not None:
        asked += f" and {100 * recipe.sensitivity:g} % of those with a finding are called so"
    return (
        f"Findings: the strictest common threshold at which {asked}. The negative: the strictest "
        f"at which {100 * recipe.negative_answered:g} % of the validation images without a finding "
        f"still get it. Both from {_LOWEST:g} to {_HIGHEST:g}; an answer must lead the next one "
        f"by {MARGIN:g}."
    )
