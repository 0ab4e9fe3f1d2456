"""The parts of `model.toml`, table by table; `models.manifest` puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.contract import Coding, Role

PrecisionName = Literal["fp32", "int8"]


@dataclass(frozen=True)
class TrainingData:
    """One data set that went into the model, and on what terms it may be used."""

    name: str
    use: str
    terms: str
    citation: str


@dataclass(frozen=True)
class Applicability:
    """Which series the model may be given.

    What a series does not state is not held against it, but for the modality; without a body part,
    another region in the names of study, protocol or series is (`models.regions`). `excluded_words`
    (each one or more words, lower case) are looked for as whole words in the series description,
    or the protocol where there is none, and in the image type. `views` are the values of View
    Position (0018,5101) that are read, for radiographs; none means any. The ages are in years, both
    included; none means any.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    excluded_words: tuple[str, ...]
    min_rows: int
    min_columns: int
    samples_per_pixel: int
    views: tuple[str, ...] = ()
    min_age_years: float | None = None
    max_age_years: float | None = None


@dataclass(frozen=True)
class Chain:
    """The model runs only where model `after` claims one of the labels `when` of the same series.

    Where that claim is one of `witnesses`, which are negative labels, and this model outlines
    something, the claim becomes indeterminate: the two contradict each other.
    """

    after: str
    when: tuple[str, ...]
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputSpec:
    """What the graph takes at `name`: one grey plane of `rows` x `columns`, float32, 0 to 1.

    The slice's values between its two percentiles (0 to 100) are spread over 0 to 1.
    """

    name: str
    rows: int
    columns: int
    low_percentile: float
    high_percentile: float


@dataclass(frozen=True)
class Outputs:
    """The names of the graph's outputs by what they are for; N slices, L labels.

    A classification has `logits` float32 (N, L) before temperature and `ood_score` (N,), larger =
    less like the data. `feature_map` (N, C, h, w) is what the head of the network sees.
    `class_weights` (L, C) come with a head that is a mean over h and w and one linear layer, so
    that a class activation map is `tensordot(class_weights, feature_map[n], 1)`. Without them the
    head is a graph of its own, `head.onnx`: an input named as `feature_map` here, an output named
    as `logits` here.

    A segmentation has `mask_logits` (N, 1, h, w) before temperature, at the size of the input or
    smaller, and perhaps `ood_score`.
    """

    logits: str | None = None
    feature_map: str | None = None
    class_weights: str | None = None
    ood_score: str | None = None
    mask_logits: str | None = None


@dataclass(frozen=True)
class Label:
    """One answer. It is stated only from `threshold` (calibrated probability) upwards.

    A `negative` label has no code: that one model found nothing is not "normal". The one label of
    a segmentation is a `structure`; its threshold is the probability of a pixel.
    `coding_verified` is false when no licensed terminology browser has confirmed the code.
    """

    key: str
    display: str
    role: Role
    threshold: float
    coding: Coding | None = None
    coding_verified: bool = False


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of logits; `ece_test` is what error remains on test.

    `softmax(logits / temperature)` of a classification's slices,
    `sigmoid(mask_logits / temperature)` of a segmentation's pixels.
    """

    method: Literal["temperature scaling"]
    temperature: float
    ece_test: float


@dataclass(frozen=True)
class OutOfDistribution:
    """A slice whose `ood_score` is above `threshold` is unlike the training data."""

    method: str
    threshold: float
    chosen: str


@dataclass(frozen=True)
class Aggregation:
    """How slices make a series; only a classification states it.

    The series' probabilities are the mean over those `window` neighbouring slices in which any
    finding is most probable. The negative may be stated only if at least
    `negative_min_in_distribution_fraction` of all slices are in distribution.
    """

    rule: Literal["neighbouring-slice mean", "each slice alone"]
    window: int
    negative_min_in_distribution_fraction: float


EACH_SLICE = Aggregation("each slice alone", 1, 0.0)
"""What holds where no aggregation is stated: a segmentation outlines slice by slice."""


@dataclass(frozen=True)
class PredictionSet:
    """Every label whose calibrated probability is at least `1 - threshold`.

    Split conformal prediction with the least ambiguous set (Sadinle, Lei, Wasserman 2019):
    `threshold` is the conformal quantile of one minus the true label's probability on held-out
    slices, so that the set holds the true label of a slice like them with probability `coverage`.
    `coverage_test` is the share measured on test. A set may be empty, or hold several labels:
    then there is no single answer.
    """

    method: Literal["split conformal (least ambiguous)"]
    coverage: float
    threshold: float
    coverage_test: float

    def holds(self, probability: float) -> bool:
        """Whether a label of this calibrated probability belongs to the set."""
        return probability >= 1 - self.threshold


@dataclass(frozen=True)
class Outline:
    """How a mask becomes outlined structures.

    Of the connected regions at least as large as `min_area_fraction` of the model's frame, the
    `parts` largest are kept (one tumour, two lungs); their `measure` is what is reported.
    """

    min_area_fraction: float
    measure: Literal["area"]
    parts: int


@dataclass(frozen=True)
class Int8Figures:
    """What the build measured of the int8 graph against the fp32 graph, on test.

    `agreement` is the share of slices with the same answer (of outlines: the mean Dice of the two
    masks), `speed_up` and `smaller` are ratios above 1 where int8 is better, `gates_held` is
    whether every gate of the build held.
    """

    agreement: float
    speed_up: float
    smaller: float
    gates_held: bool


@dataclass(frozen=True)
class Precision:
    """Which graph the build prefers, and why.

    `disagreement_limit` is the share of shadowed studies with different answers above which the
    int8 graph is no longer served.
    """

    preferred: PrecisionName
    reason: str
    disagreement_limit: float
    int8: Int8Figures | None = None


@dataclass(frozen=True)
class ExplanationSpec:
    """How the package is explained, of which `layer`.

    "cam": class activation maps (Zhou et al. 2016). "cells": each cell of the feature map is
    blanked in turn and the head alone is run. "occlusion": parts of the image are blanked in turn,
    for a graph that gives no map. "outline": the outline and the probability map.
    """

    method: Literal["cam", "cells", "occlusion", "outline"]
    layer: str
