"""Scores of slices -> the series' probabilities, as the manifest's `aggregation` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract import FloatArray, Prediction, SliceScore
from models.manifest import Label, Manifest


def calibrated(logits: FloatArray, temperature: float) -> tuple[float, ...]:
    """Softmax of logits over temperature; float64, so that the sum is 1 to the last digit shown."""
    scaled = logits.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max())
    return tuple(float(share) for share in shares / shares.sum())


def predict(scores: Sequence[SliceScore], manifest: Manifest) -> Prediction:
    """The mean over those neighbouring slices in which any finding is most probable.

    `scores` are in anatomical order. The deciding slice is the one of that window in which the
    window's strongest finding is most probable.
    """
    table = np.array([score.probabilities for score in scores], np.float64)
    width = min(manifest.aggregation.window, len(scores))
    sums = np.cumsum(np.vstack((np.zeros((1, table.shape[1])), table)), axis=0)
    means = (sums[width:] - sums[:-width]) / width
    start = int(np.argmin(means[:, manifest.negative]))
    window = range(start, start + width)
    strongest = max(manifest.findings, key=lambda label: means[start, label])
    return Prediction(
        probabilities=_by_key(manifest.labels, table[start : start + width].mean(axis=0)),
        scores=tuple(scores),
        window=window,
        deciding_slice=start + int(np.argmax(table[start : start + width, strongest])),
    )


def _by_key(labels: Sequence[Label], means: FloatArray) -> dict[str, float]:
    return {label.key: float(mean) for label, mean in zip(labels, means, strict=True)}


@dataclass(frozen=True)
class Claim:
    """What could be stated if every gate holds; `label` is ``None`` when nothing could.

    `strongest` is the most probable label of all, `strongest_finding` that among the findings.
    """

    label: Label | None
    strongest: Label
    strongest_finding: Label

    @property
    def is_negative(self) -> bool:
        """Whether the claim is that the model's findings are absent."""
        return self.label is not None and self.label.role == "negative"


def claim_of(prediction: Prediction, manifest: Manifest) -> Claim:
    """The most probable finding that reaches its threshold, else the negative if that does."""
    chances = prediction.probabilities
    by_chance = sorted(manifest.labels, key=lambda label: -chances[label.key])
    findings = [label for label in by_chance if label.role == "finding"]
    reached = [label for label in by_chance if chances[label.key] >= label.threshold]
    stated = [label for label in reached if label.role == "finding"] or reached
    return Claim(stated[0] if stated else None, by_chance[0], findings[0])
