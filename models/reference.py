"""Does a package still answer its own reference cases? No runtime is needed to ask."""

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
from models.preprocess import prepare
from models.registry import ModelPackage

CASES = Path("reference") / "cases.json"

Run = Callable[[FloatArray], Mapping[str, FloatArray]]


@dataclass(frozen=True)
class ReferenceCase:
    """One drawn picture (never a patient's) and what the graph gave for it when it was built.

    `image` is a PNG in the package's `reference` folder; `pixel_aspect` is row over column spacing;
    `logits` and `ood_score` are the graph's outputs for that one slice.
    """

    image: str
    shows: str
    pixel_aspect: float
    logits: tuple[float, ...]
    ood_score: float


@dataclass(frozen=True)
class ReferenceCases:
    """All cases of a package, and how far (absolute) an output may be from the value stated."""

    tolerance: float
    cases: tuple[ReferenceCase, ...]


def read_cases(package: ModelPackage) -> ReferenceCases:
    """Read `reference/cases.json` of a package. Raises ManifestError."""
    try:
        table = json.loads((package.folder / CASES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{package.manifest.id} has no readable reference cases.") from error
    return schema.read(ReferenceCases, table)


def read_image(package: ModelPackage, case: ReferenceCase) -> PixelArray:
    """The case's picture, uint8 or uint16 (rows, columns). Raises ManifestError."""
    try:
        content = (package.folder / CASES.parent / Path(case.image).name).read_bytes()
        return np.asarray(Image.open(io.BytesIO(content)))
    except OSError as error:
        raise ManifestError(f"The reference picture {case.image!r} cannot be read.") from error


def check_references(package: ModelPackage, run: Run, tolerance: float | None = None) -> int:
    """Run every reference case through `run`; the answer is how many there were.

    `run` takes the prepared image, float32 (1, 1, rows, columns), and gives the graph's outputs by
    name. `tolerance` replaces the package's (another precision needs another one). Raises
    ReferenceMismatch at the first output that is too far away, ManifestError when there is no case.
    """
    stated = read_cases(package)
    if not stated.cases:
        raise ManifestError(f"{package.manifest.id} has no reference cases.")
    allowed = stated.tolerance if tolerance is None else tolerance
    for case in stated.cases:
        image = prepare(read_image(package, case), package.manifest.input, case.pixel_aspect)
        distance = _distance(package, case, run(image))
        if not distance <= allowed:
            raise ReferenceMismatch(
                f"{package.manifest.id} is {distance:.2g} away from its reference case "
                f"{case.image!r}; at most {allowed:.2g} is allowed."
            )
    return len(stated.cases)


def _distance(
    package: ModelPackage, case: ReferenceCase, outputs: Mapping[str, FloatArray]
) -> float:
    names = package.manifest.outputs
    given = np.append(outputs[names.logits][0], outputs[names.ood_score][0])
    # numpy's maximum of anything with a nan is nan, and that is not within any tolerance
    return float(np.abs(given - np.append(case.logits, case.ood_score)).max())
