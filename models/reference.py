"""Does a package still answer its own reference cases? No runtime is needed to ask.

`reference/cases.json`::

    {"tolerance": {"fp32": 0.01, "int8": 0.1},
     "cases": [{"image": "head.png", "shows": "a drawn head", "pixel_aspect": 1.0,
                "answers": {"fp32": {"logits": [0.4, -1.3], "ood_score": 1.4},
                            "int8": {"logits": [0.5, -1.2], "ood_score": 1.4}}}]}

A segmentation's answers are `area_fraction`, `mean_probability` and perhaps `ood_score`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models import schema
from models.contract import FloatArray, PixelArray
from models.errors import ManifestError, ReferenceMismatch
from models.manifest import Manifest
from models.preprocess import prepare
from models.registry import ModelPackage

CASES = Path("reference") / "cases.json"

Run = Callable[[FloatArray], Mapping[str, FloatArray]]
_LARGEST_LOGIT = 80.0  # exp of it is still a float32
_SHARES = 20.0  # a wrong outline of a small lesion changes a hundredth of the picture


@dataclass(frozen=True)
class Answer:
    """What the graph gave for one picture, in one precision.

    Of a classification `logits`, one for each label, and `ood_score`. Of a segmentation
    `area_fraction`, the share of the mask's pixels that reach the label's threshold,
    `mean_probability`, the mean over all of them, and `ood_score` where the graph has one.
    """

    logits: tuple[float, ...] | None = None
    ood_score: float | None = None
    area_fraction: float | None = None
    mean_probability: float | None = None


@dataclass(frozen=True)
class ReferenceCase:
    """One picture that was drawn or invented (never a patient's), and the answers by precision.

    `image` is a PNG in the package's `reference` folder; `pixel_aspect` is row over column spacing.
    """

    image: str
    shows: str
    pixel_aspect: float
    answers: Mapping[str, Answer]


@dataclass(frozen=True)
class ReferenceCases:
    """All cases of a package; `tolerance` is, by precision, how far a number may be (absolute)."""

    tolerance: Mapping[str, float]
    cases: tuple[ReferenceCase, ...]


def read_cases(package: ModelPackage) -> ReferenceCases:
    """Read `reference/cases.json` of a package. Raises ManifestError, HashMismatch."""
    file = f"{package.folder.name}/{CASES.as_posix()}"
    try:
        table = json.loads(_content(package, CASES.name))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{package.manifest.id} has no readable reference cases.") from error
    try:
        return schema.read(ReferenceCases, table)
    except ManifestError as error:
        raise ManifestError(f"{file}: {error.sentence}", error.path) from None


def read_image(package: ModelPackage, case: ReferenceCase) -> PixelArray:
    """The case's picture, uint8 or uint16 (rows, columns). Raises ManifestError, HashMismatch."""
    try:
        image = Image.open(io.BytesIO(_content(package, Path(case.image).name)))
        image.load()  # numpy would make an array of half a picture
        return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow calls a broken PNG a syntax error
        raise ManifestError(f"The reference picture {case.image!r} cannot be read.") from error


def _content(package: ModelPackage, name: str) -> bytes:
    """A file beside the cases: the listed one, where the manifest lists it (older ones do not)."""
    path = CASES.parent / name
    if path.as_posix() in package.manifest.files:
        return package.read(path.as_posix())
    return (package.folder / path).read_bytes()


def answers_of(manifest: Manifest, outputs: Mapping[str, FloatArray]) -> tuple[Answer, ...]:
    """The graph's outputs for a batch, as reference answers, one for each picture.

    It is also how the answers in `cases.json` are made.
    """
    names = manifest.outputs
    rows = outputs[names.logits or names.mask_logits or ""]
    scores = outputs[names.ood_score] if names.ood_score else [None] * len(rows)
    oods = [None if score is None else float(score) for score in scores]
    if names.logits:
        return tuple(
            Answer(tuple(map(float, row)), ood) for row, ood in zip(rows, oods, strict=True)
        )
    least = manifest.structure.threshold
    return tuple(
        Answer(None, ood, float((chance >= least).mean()), float(chance.mean()))
        for chance, ood in zip((_pixels(manifest, row) for row in rows), oods, strict=True)
    )


def check_references(package: ModelPackage, run: Run, precision: str = "fp32") -> int:
    """Run every reference case through `run`, alone and in a batch of two; how many there were.

    `run` takes prepared images, float32 (N, 1, rows, columns), and gives the graph's outputs by
    name. In the batch of two, each case comes before the next one, and both must be answered.
    Raises ReferenceMismatch at the first number that is too far from the stated one,
    ManifestError when there is no case, or none for this precision, HashMismatch when a file is
    not the one that the manifest lists.
    """
    stated, manifest = read_cases(package), package.manifest
    if not stated.cases:
        raise ManifestError(f"{manifest.id} has no reference cases.")
    if precision not in stated.tolerance:
        raise ManifestError(f"{manifest.id} states no tolerance of its {precision} answers.")
    images = [
        prepare(read_image(package, case), manifest.input, case.pixel_aspect)
        for case in stated.cases
    ]
    for index in range(len(images)):
        following = (index + 1) % len(images)
        for batch in ([index], [index, following]):
            outputs = run(np.concatenate([images[member] for member in batch]))
            answers = answers_of(manifest, outputs)
            for member, answer in zip(batch, answers, strict=True):
                _compare(manifest, stated, stated.cases[member], answer, precision)
    return len(images)


def _compare(
    manifest: Manifest, stated: ReferenceCases, case: ReferenceCase, given: Answer, precision: str
) -> None:
    if precision not in case.answers:
        raise ManifestError(f"{manifest.id} has no {precision} answer to {case.image!r}.")
    distance, allowed = _distance(case.answers[precision], given), stated.tolerance[precision]
    # a distance that is not a number is not within any tolerance
    if not distance <= allowed:
        raise ReferenceMismatch(
            f"{manifest.id} in {precision} is {distance:.2g} away from its reference case "
            f"{case.image!r}; at most {allowed:.2g} is allowed."
        )


def _distance(stated: Answer, given: Answer) -> float:
    """The largest difference of two answers; infinite when one holds more numbers."""
    first, second = _numbers(stated), _numbers(given)
    if first.keys() != second.keys():
        return float("inf")
    # numpy's maximum of anything with a nan is nan
    return float(np.max([abs(second[key] - value) for key, value in first.items()], initial=0))


def _numbers(answer: Answer) -> dict[str, float]:
    """Logits and the score as they are; shares of the picture, which are small, in twentieths."""
    named = {"ood_score": answer.ood_score}
    shares = {"area_fraction": answer.area_fraction, "mean_probability": answer.mean_probability}
    named |= {key: _SHARES * value for key, value in shares.items() if value is not None}
    numbers = {f"logits[{index}]": value for index, value in enumerate(answer.logits or ())}
    return numbers | {key: value for key, value in named.items() if value is not None}


def _pixels(manifest: Manifest, mask_logits: FloatArray) -> FloatArray:
    """Calibrated probabilities of the mask's pixels."""
    scaled = mask_logits.astype(np.float64) / manifest.calibration.temperature
    clipped = np.clip(scaled, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.asarray(1 / (1 + np.exp(-clipped)), np.float32)
