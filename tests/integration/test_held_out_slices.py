"""Held-out slices of the data set, wrapped as DICOM, read as a hospital's images are."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.analysis import Analysis, Outcome
from inference.instance import facts_of, read_instance
from inference.limits import Limits
from inference.pipeline import Analyser
from models.registry import load_registry
from tests.reference.dicom_factory import encoded, instance, uid

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
EACH = 20
"""Slices of each class: enough to see a broken path, few enough for every run."""

NAMES = {"notumor": "no-tumour"}
"""The data set's word -> the model's key."""

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (DATA / "brain_cls.tar").exists(), reason="the data set is not here"),
]


def held_out() -> Iterator[tuple[str, bytes]]:
    """(label, DICOM file) of evenly chosen slices of the test split, one study each."""
    with (DATA / "brain_cls.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "test"]
    with tarfile.open(DATA / "brain_cls.tar") as archive:
        for label in sorted({row["label"] for row in rows}):
            own = [row["file"] for row in rows if row["label"] == label]
            for name in own[:: max(1, len(own) // EACH)][:EACH]:
                member = archive.extractfile(f"brain_cls/{name}")
                assert member is not None
                yield NAMES.get(label, label), wrapped(member.read(), name)


def wrapped(jpeg: bytes, name: str) -> bytes:
    """A slice as an MR instance with 12 bits, as a scanner would store it."""
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = np.asarray(image.convert("L"), np.uint16) * 16
    return encoded(
        instance(
            pixels,
            StudyInstanceUID=uid(name),
            SeriesInstanceUID=uid(name, "series"),
            SOPInstanceUID=uid(name, "slice"),
            BodyPartExamined="HEAD",
        )
    )


@pytest.fixture(scope="module")
def answers() -> list[tuple[str, Analysis]]:
    found = []
    with Analyser(load_registry(), Limits()) as analyser:
        for label, data in held_out():
            facts = facts_of(read_instance(data, Limits()))
            plan = analyser.plan([replace(facts, instances=1)])
            found.append((label, analyser.analyse(plan, lambda _, data=data: [data])))
    return found


def test_slices_that_went_through_dicom_are_read_as_the_report_says(
    answers: list[tuple[str, Analysis]],
) -> None:
    report = json.loads((ROOT / "models" / "brain-mri-tumour" / "report.json").read_text())
    right = sum(
        max(analysis.results[0].probabilities, key=lambda p: p.probability).key == label
        for label, analysis in answers
    )
    reported = np.mean([c["sensitivity"]["value"] for c in report["test"]["per_class"].values()])
    assert right / len(answers) == pytest.approx(reported, abs=0.1)


def test_hardly_a_tumour_is_called_free_of_tumour(answers: list[tuple[str, Analysis]]) -> None:
    tumours = [analysis for label, analysis in answers if label != "no-tumour"]
    free = [analysis for analysis in tumours if analysis.outcome is Outcome.NO_FINDING]
    assert len(free) <= 0.03 * len(tumours)


def test_what_is_stated_is_mostly_right_and_says_where(
    answers: list[tuple[str, Analysis]],
) -> None:
    stated = [(label, a.results[0]) for label, a in answers if a.outcome is Outcome.FINDING]
    assert len(stated) > len(answers) / 3, Counter(a.outcome for _, a in answers)
    right = sum(r.finding is not None and r.finding.key == label for label, r in stated)
    assert right / len(stated) > 0.85
    for _, result in stated:
        assert result.explanation is not None
        assert result.explanation.slice_number == 1
