"""A second witness: an outline model must find nothing, too, before a negative is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.build.calibrate import sigmoid
from models.build.evaluate.classes import Answers
from models.build.evaluate.figures import Report, share
from models.build.export import open_session, run
from models.build.packs import Samples, as_input, load
from models.build.recipe import DataRecipe
from models.errors import ModelError
from models.manifest import Manifest
from models.outlines import kept_regions
from models.registry import ModelPackage, load_package

_BATCH = 8


@dataclass(frozen=True)
class Witness:
    """Which images of each split the outline model `id` outlines something on."""

    id: str
    outlines: Mapping[str, npt.NDArray[np.bool_]]


def find_witness(model: str, folder: Path) -> ModelPackage | None:
    """The package beside this one that names `model` in its chain as a witness of its negative."""
    for path in sorted(folder.glob("*/model.toml")):
        try:
            package = load_package(path.parent)
        except ModelError:
            continue  # another package that is broken says so where it is used
        chain = package.manifest.chain
        if chain and chain.after == model and chain.witnesses:
            return package
    return None


def ask(
    package: ModelPackage, data: Path, recipe: DataRecipe, measured: Mapping[str, Samples]
) -> Witness:
    """Run the witness over every split but `train`, each image prepared as its manifest says.

    Only the images of `measured` are asked about, in their order: near-copies were left out there.
    """
    splits = load(data, recipe, package.manifest.input)
    session = open_session(package.read("fp32.onnx"))
    seen: dict[str, npt.NDArray[np.bool_]] = {}
    for name, samples in splits.items():
        if name == "train":
            continue
        samples = samples.of_files(measured[name].files)
        found: list[bool] = []
        for start in range(0, len(samples), _BATCH):
            outputs = run(session, as_input(samples.images[start : start + _BATCH]))
            name_of = package.manifest.outputs.mask_logits or ""
            found += [_outlines(package.manifest, plane) for plane in outputs[name_of][:, 0]]
        seen[name] = np.array(found, np.bool_)
    return Witness(package.manifest.id, seen)


def add_witness(
    report: Report, found: Mapping[str, Answers], witness: Witness, external: str | None
) -> None:
    """Say in the report what remains of the negatives that the witness does not contradict."""
    report["witness"] = witness.id
    test = found["test"]
    report["test"]["abstaining"] |= {
        "findings_called_negative_with_witness": share(_kept(test, witness, "test")[_ill(test)]),
        "negative_answered_with_witness": share(_kept(test, witness, "test")[~_ill(test)]),
        "coverage_with_witness": share(
            (test.stated >= 0) & ~((test.stated == _negative(test)) & witness.outlines["test"])
        ),
    }
    if external:
        away = found[external]
        kept = _kept(away, witness, external)[_ill(away)]
        report[external]["called_negative_with_witness"] = share(kept)


def _outlines(manifest: Manifest, logits: npt.NDArray[np.float32]) -> bool:
    if manifest.outline is None:
        return False
    chances = sigmoid(logits, manifest.calibration.temperature)
    mask = np.asarray(chances >= manifest.structure.threshold)
    return bool(kept_regions(mask, manifest.outline).any())


def _kept(found: Answers, witness: Witness, split: str) -> npt.NDArray[np.bool_]:
    """Whether the negative is said and the witness outlines nothing."""
    return np.asarray((found.stated == _negative(found)) & ~witness.outlines[split])


def _ill(found: Answers) -> npt.NDArray[np.bool_]:
    return np.asarray(found.labels != _negative(found))


def _negative(found: Answers) -> int:
    return found.operating.negative
