"""The second witness: what remains of the negatives when an outline model is asked as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.build.evaluate.classes import Answers
from models.build.witness import Witness, add_witness, find_witness
from models.manifest import Chain, Manifest
from models.registry import ModelPackage
from tests.unit.models.build.evaluate.test_classes import found


def report_with(here: Answers, away: Answers, outlined: list[bool], there: list[bool]) -> dict:  # type: ignore[type-arg]
    report = {"test": {"abstaining": {}}, "away": {}}
    witness = Witness("outline", {"test": np.array(outlined), "away": np.array(there)})
    add_witness(report, {"test": here, "away": away}, witness, "away")
    return report


def test_a_negative_that_the_witness_contradicts_is_not_counted() -> None:
    here = found((0, 0.05, 0), (0, 0.05, 0), (1, 0.04, 0), (1, 0.03, 0), (0, 0.95, 0))
    away = found((0, 0.05, 0), (0, 0.02, 0))
    report = report_with(here, away, [True, False, True, False, True], [True, True])
    assert report["witness"] == "outline"
    silent = report["test"]["abstaining"]
    assert silent["findings_called_negative_with_witness"] == 0.3333
    assert silent["negative_answered_with_witness"] == 0.5
    assert silent["coverage_with_witness"] == 0.6
    assert report["away"]["called_negative_with_witness"] == 0.0


def test_a_finding_needs_no_witness() -> None:
    here = found((0, 0.95, 0), (1, 0.03, 0))
    report = report_with(here, found((0, 0.95, 0)), [False, False], [False])
    assert report["test"]["abstaining"]["coverage_with_witness"] == 1.0


def test_where_no_package_lies_beside_it_there_is_no_witness(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.toml").write_text("schema = ")
    assert find_witness("brain-mri-tumour", tmp_path) is None


def test_a_witness_is_known_by_its_chain(tmp_path: Path, monkeypatch: object) -> None:
    """Of two packages, the one that names this model and a negative of it."""
    from models.build import witness

    def loaded(folder: Path) -> ModelPackage:
        after, told = folder.name.split("-")
        chain = Chain(after, ("none",), ("none",) if told == "yes" else ())
        manifest = Manifest.__new__(Manifest)
        object.__setattr__(manifest, "chain", chain)
        return ModelPackage(folder, manifest)

    for name in ("other-yes", "mine-no", "mine-yes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.toml").write_text("")
    monkeypatch.setattr(witness, "load_package", loaded)  # type: ignore[attr-defined]
    package = find_witness("mine", tmp_path)
    assert package is not None
    assert package.folder.name == "mine-yes"
