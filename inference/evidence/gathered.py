"""What a model's judgement of one series rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inference.aggregation import predict
from inference.analysis import SliceOutline
from inference.scoring import Score, ScoredSlice
from inference.segmentation import MaskScore, largest
from inference.volume import Arrangement
from models.contract import Prediction, Reason, SliceScore
from models.manifest import Manifest


@dataclass(frozen=True)
class OrderedSeries:
    """One series that has been read; `slices` are in anatomical order."""

    series_uid: str
    slices: tuple[ScoredSlice, ...]
    arrangement: Arrangement

    @property
    def usable(self) -> tuple[int, ...]:
        """The indices of the slices that show something."""
        return tuple(index for index, item in enumerate(self.slices) if item.quality.usable)


@dataclass(frozen=True)
class ClassEvidence:
    """What a classification says of a series, slice by slice and as a whole."""

    series: OrderedSeries
    inapplicable: tuple[Reason, ...]
    prediction: Prediction
    in_distribution: tuple[bool, ...]


@dataclass(frozen=True)
class MaskEvidence:
    """What a segmentation says of those slices of a series that it was run on, by index."""

    series: OrderedSeries
    inapplicable: tuple[Reason, ...]
    scores: Mapping[int, MaskScore]
    outlines: tuple[SliceOutline, ...]
    in_distribution: tuple[bool, ...]

    @property
    def deciding(self) -> int | None:
        """The index of the slice with the largest outline, else with the most probable pixel."""
        most = largest(self.outlines)
        if most is not None:
            return most.slice_number - 1
        return max(self.scores, key=lambda i: float(self.scores[i].probability.max()), default=None)


Evidence = ClassEvidence | MaskEvidence


def gather(
    series: OrderedSeries,
    inapplicable: tuple[Reason, ...],
    manifest: Manifest,
    scores: Mapping[int, Score],
) -> Evidence:
    """Put together what one model said; `scores` are by the index of the slice.

    A classification must have scored every slice.
    """
    limit = manifest.ood_limit
    inside = tuple(
        item.quality.usable and (index not in scores or scores[index].ood_score <= limit)
        for index, item in enumerate(series.slices)
    )
    if manifest.task == "segmentation":
        masks = {i: score for i, score in scores.items() if isinstance(score, MaskScore)}
        return MaskEvidence(series, inapplicable, masks, _numbered(masks), inside)
    classes = [score for _, score in sorted(scores.items()) if isinstance(score, SliceScore)]
    return ClassEvidence(series, inapplicable, predict(classes, manifest), inside)


def _numbered(scores: Mapping[int, MaskScore]) -> tuple[SliceOutline, ...]:
    """The outlines in anatomical order, each with the number of its slice."""
    return tuple(
        replace(score.outline, slice_number=index + 1)
        for index, score in sorted(scores.items())
        if score.outline is not None
    )
