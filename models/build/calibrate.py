"""From scores to statements: temperature, thresholds and the out-of-distribution limit.

Everything here is chosen on the validation split, but for which out-of-distribution score is taken:
there `ext_dev`, tumours from elsewhere, has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.build.data import KEYS, NEGATIVE
from models.build.recipe import Recipe

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
UNDECIDED = -1
_LOWEST = 0.5  # so that two findings can never be stated at once
_HIGHEST, _STEP = 0.99, 0.01


@dataclass(frozen=True)
class Operating:
    """Where the model speaks and where it keeps silent.

    `thresholds` are calibrated probabilities by label key; a slice whose out-of-distribution score
    is above `ood_threshold` never gets the negative.
    """

    temperature: float
    thresholds: dict[str, float]
    ood_threshold: float

    def statements(self, probabilities: Floats, ood: Floats) -> Labels:
        """What is stated of each slice (N,): a label's index, or UNDECIDED."""
        stated = np.full(len(probabilities), UNDECIDED, np.int64)
        for index, key in enumerate(KEYS):
            sure = probabilities[:, index] >= self.thresholds[key]
            if index == NEGATIVE:
                sure &= ood <= self.ood_threshold
            stated[sure] = index
        return stated


def softmax(logits: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Calibrated probabilities (N, L) of logits (N, L)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: npt.NDArray[np.floating], labels: Labels) -> float:
    """The temperature of least negative log-likelihood, by search from 0.2 to 5 (Guo et al. 2017).

    Classes weigh alike, so that the rare ones are calibrated as well as the common.
    """
    weights = 1 / np.bincount(labels, minlength=len(KEYS))[labels]

    def loss(temperature: float) -> float:
        likely = softmax(logits, temperature)[np.arange(len(labels)), labels]
        return float(-(weights * np.log(np.maximum(likely, 1e-12))).sum())

    return min((float(t) for t in np.geomspace(0.2, 5, 400)), key=loss)


def choose_operating(
    logits: npt.NDArray[np.floating], labels: Labels, ood: Floats, recipe: Recipe
) -> Operating:
    """Choose temperature and thresholds on validation logits (N, L), labels (N,), scores (N,).

    All findings share one threshold, the strictest that leaves the recipe's coverage: one for each
    finding fitted the validation split closer and the tumours from elsewhere worse.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    limit = float(np.percentile(ood, recipe.ood_percentile))
    negative = _negative_threshold(probabilities, labels, recipe)
    operating = Operating(temperature, {}, limit)
    for level in np.arange(_HIGHEST, _LOWEST - _STEP / 2, -_STEP):
        finding = round(float(level), 3)
        thresholds = dict.fromkeys(KEYS, finding) | {KEYS[NEGATIVE]: max(negative, finding)}
        operating = Operating(temperature, thresholds, limit)
        if (operating.statements(probabilities, ood) != UNDECIDED).mean() >= recipe.coverage:
            break
    return operating


def _negative_threshold(probabilities: Floats, labels: Labels, recipe: Recipe) -> float:
    """The strictest threshold at which the asked-for share of tumour-free slices is answered."""
    likely = probabilities[labels == NEGATIVE, NEGATIVE]
    strictest = float(np.quantile(likely, 1 - recipe.negative_answered))
    return round(min(max(strictest, _LOWEST), _HIGHEST), 3)
