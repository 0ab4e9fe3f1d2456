"""What a graph is worth on some samples, beside the fp32 graph it was made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from models.build.calibrate import fit_pixel_temperature, fit_temperature, sigmoid, softmax
from models.build.compress.graph import macs
from models.build.evaluate.figures import expected_calibration_error
from models.build.evaluate.outlines import OutlineOperating, at_size, served_outlines
from models.build.export import Outputs, open_session, run
from models.build.packs import Samples, as_input

BATCHES = (1, 2, 4, 8)
_SPECK = 1e-3  # of the frame: a smaller outline is none
_ORDINARY = 98  # percent of the samples are in distribution
_PIXELS = 1_000_000
_ROUNDS, _SLICE = 11, 3

Shares = npt.NDArray[np.float64]
Answers = npt.NDArray[np.generic]  # the class of each image (N,), or its outline, bool (N, h, w)


@dataclass(frozen=True)
class Figures:
    """One graph's figures; what its task does not have is None.

    `sensitivity` is by label key; for outlines it is the share of structures that are touched
    ("structure") and of empty images that stay empty ("none"). `agreement` with the fp32 graph is
    the share of the same answers, or the mean Dice of the two outlines; `ood_agreement` the share
    of images on the same side of the limit that 98 % of them keep in fp32. `latency_ms` is for one
    image on one thread, and `speed_up` how many times faster than fp32, measured in turns.
    """

    accuracy: float | None
    sensitivity: Mapping[str, float]
    ece: float
    dice: float | None
    agreement: float
    ood_agreement: float | None
    bytes: int
    macs: int
    latency_ms: float
    speed_up: float


@dataclass(frozen=True)
class Row:
    """One step of the compression and what came of it."""

    step: str
    figures: Figures

    def as_dict(self) -> dict[str, Any]:
        """For the report: floats with four digits."""
        table = asdict(self.figures) | {"sensitivity": dict(self.figures.sensitivity)}
        return {"step": self.step, **{name: _rounded(value) for name, value in table.items()}}


@dataclass(frozen=True)
class Parity:
    """Whether a batch changes an answer: the classes (or outlines found) and the probabilities."""

    same: bool
    largest_difference: float


class Bench:
    """Measures graphs against one fp32 graph on one split.

    `keys` name the labels, in the order of the logits; for outlines they are not looked at. The
    temperature is the one that fits the fp32 graph on these samples, and serves every graph. With
    `how`, which an outline has once it was chosen, outlines are those that will be served; before
    that, those of probability 0.5 but for specks.
    """

    def __init__(
        self,
        fp32: Path,
        samples: Samples,
        keys: Sequence[str],
        how: OutlineOperating | None = None,
    ) -> None:
        self._samples, self._keys, self._how = samples, keys, how
        self._session = open_session(fp32)
        self._outputs = outputs_of(self._session, samples)
        self._outlines = "mask_logits" in self._outputs
        self._masks = self._true_masks() if self._outlines else samples.masks
        self._temperature = how.temperature if how else self._fitted_temperature()
        self._expected = self._answers(self._outputs)
        figures = self._figures(self._outputs, fp32, self._session)
        self.fp32 = Row("fp32", replace(figures, speed_up=1.0))

    def row(self, step: str, path: Path) -> Row:
        """The figures of another graph with the same outputs."""
        session = open_session(path)
        return Row(step, self._figures(outputs_of(session, self._samples), path, session))

    def parity(self, path: Path) -> Parity:
        """Compare the answers of batches with those one by one, for eight images of all kinds."""
        session = open_session(path)
        spread = np.linspace(0, len(self._samples) - 1, BATCHES[-1]).astype(np.int64)
        images = as_input(self._samples.images[spread])  # manifests go class by class
        batched = [self._chances(_in_batches(session, images, size)) for size in BATCHES]
        decided = [self._decided(chances) for chances in batched]
        differences = [float(np.abs(batched[0] - chances).max()) for chances in batched[1:]]
        same = all((decided[0] == one).all() for one in decided[1:])
        return Parity(same, max(differences))

    def _figures(self, outputs: Outputs, path: Path, session: ort.InferenceSession) -> Figures:
        slower, latency_ms = _timed(self._session, session, as_input(self._samples.images[:1]))
        answers = self._answers(outputs)
        quality = self._outline_quality if self._outlines else self._class_quality
        accuracy, sensitivity, dice = quality(answers)
        return Figures(
            accuracy=accuracy,
            sensitivity=sensitivity,
            ece=self._ece(outputs),
            dice=dice,
            agreement=self._agreement(answers),
            ood_agreement=self._ood_agreement(outputs),
            bytes=path.stat().st_size,
            macs=macs(onnx.load(path)),
            latency_ms=latency_ms,
            speed_up=slower,
        )

    def _class_quality(self, answers: Answers) -> tuple[float, dict[str, float], None]:
        labels = self._samples.labels
        right = answers == labels
        sensitivity = {
            key: float(right[labels == index].mean())
            for index, key in enumerate(self._keys)
            if (labels == index).any()
        }
        return float(right.mean()), sensitivity, None

    def _outline_quality(self, answers: Answers) -> tuple[None, dict[str, float], float]:
        known = self._samples.masked
        found, true = np.asarray(answers[known], np.bool_), self._masks[known]
        there, touched = _filled(true), _filled(found & true)
        shares = {"structure": float(touched[there].mean())}
        if (~there).any():
            shares["none"] = float(1 - _filled(found[~there]).mean())
        return None, shares, float(dice_of(found[there], true[there]).mean())

    def _ece(self, outputs: Outputs) -> float:
        chances = self._chances(outputs)
        if not self._outlines:
            right = chances.argmax(axis=1) == self._samples.labels
            return expected_calibration_error(chances.max(axis=1), right)
        known = self._samples.masked
        step = max(1, chances[known].size // _PIXELS)
        truth = self._masks[known].ravel()[::step]
        return expected_calibration_error(chances[known].ravel()[::step], truth)

    def _agreement(self, answers: Answers) -> float:
        if not self._outlines:
            return float((answers == self._expected).mean())
        ours, theirs = (np.asarray(side, np.bool_) for side in (answers, self._expected))
        return float(dice_of(ours, theirs).mean())

    def _ood_agreement(self, outputs: Outputs) -> float | None:
        if "ood_score" not in self._outputs:
            return None
        limit = np.percentile(self._outputs["ood_score"], _ORDINARY)
        same = (outputs["ood_score"] > limit) == (self._outputs["ood_score"] > limit)
        return float(same.mean())

    def _answers(self, outputs: Outputs) -> Answers:
        """The class of each image (N,), or its outline (N, h, w) without specks."""
        if self._how:
            return np.stack(list(served_outlines(outputs["mask_logits"][:, 0], self._how)))
        chances = self._chances(outputs)
        if not self._outlines:
            return np.asarray(chances.argmax(axis=1))
        masks = chances >= 0.5
        masks[masks.mean(axis=(1, 2)) < _SPECK] = False
        return np.asarray(masks, np.bool_)

    def _decided(self, chances: Shares) -> npt.NDArray[np.generic]:
        if self._outlines:
            return np.asarray((chances >= 0.5).mean(axis=(1, 2)) >= _SPECK)
        return np.asarray(chances.argmax(axis=1))

    def _chances(self, outputs: Outputs) -> Shares:
        """Calibrated probabilities: (N, L), or of the first structure's pixels (N, h, w)."""
        if self._outlines:
            return np.asarray(sigmoid(outputs["mask_logits"][:, 0], self._temperature))
        return softmax(outputs["logits"], self._temperature)

    def _fitted_temperature(self) -> float:
        if not self._outlines:
            return fit_temperature(self._outputs["logits"], self._samples.labels)
        known = self._samples.masked
        return fit_pixel_temperature(self._outputs["mask_logits"][known, 0], self._masks[known])

    def _true_masks(self) -> npt.NDArray[np.bool_]:
        rows, columns = self._outputs["mask_logits"].shape[2:]
        return at_size(self._samples.masks, rows, columns)


def outputs_of(session: ort.InferenceSession, samples: Samples) -> Outputs:
    """The answers and scores of every sample, eight at a time."""
    names = {output.name for output in session.get_outputs()}
    wanted = sorted(names & {"logits", "mask_logits", "ood_score"})
    return _in_batches(session, as_input(samples.images), BATCHES[-1], wanted)


def dice_of(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> Shares:
    """The Dice coefficient of each pair of masks (N, h, w); 1 where both are empty."""
    common = (first & second).sum(axis=(1, 2))
    total = first.sum(axis=(1, 2)) + second.sum(axis=(1, 2))
    return np.where(total > 0, 2 * common / np.maximum(total, 1), 1.0)


def _filled(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether there is anything in each mask (N, h, w)."""
    return np.asarray(masks.any(axis=(1, 2)), np.bool_)


def _in_batches(
    session: ort.InferenceSession,
    images: npt.NDArray[np.float32],
    size: int,
    wanted: Sequence[str] = ("logits", "mask_logits"),
) -> Outputs:
    parts = [run(session, images[start : start + size]) for start in range(0, len(images), size)]
    return {name: np.concatenate([p[name] for p in parts]) for name in wanted if name in parts[0]}


def _timed(
    reference: ort.InferenceSession, other: ort.InferenceSession, image: npt.NDArray[np.float32]
) -> tuple[float, float]:
    """(how many times faster the other one is, its latency in ms), in turns, one thread each.

    The ratio is the median over the rounds, so that what else the machine does hits both alike.
    """
    ratios, latencies = [], []
    for number in range(_ROUNDS):
        if number % 2:  # neither is always the one whose caches the other has emptied
            fast, slow = _quickest(other, image), _quickest(reference, image)
        else:
            slow, fast = _quickest(reference, image), _quickest(other, image)
        ratios.append(slow / fast)
        latencies.append(fast)
    return statistics.median(ratios), 1000 * statistics.median(latencies)


def _quickest(session: ort.InferenceSession, image: npt.NDArray[np.float32]) -> float:
    feed, durations = {session.get_inputs()[0].name: image}, []
    for _ in range(_SLICE):
        start = time.perf_counter()
        session.run(None, feed)
        durations.append(time.perf_counter() - start)
    return min(durations)


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value
