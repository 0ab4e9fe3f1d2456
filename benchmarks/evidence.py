"""What evidence costs: each object of one result on 48 slices, the PDF of its report, their sizes.

The result is the shipped model's on a drawn head; the outline is the drawn lesion itself. Importing
the libraries is measured apart, because a worker pays it once.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pydicom.dataset import FileDataset

from benchmarks.results import Result, Table, median
from benchmarks.series import THIN, datasets
from cds_service.evidence.pdf import report_pdf
from cds_service.sandbox.demo_studies import HEADS
from cds_service.sandbox.phantom import axial_mask
from inference.analysis import Analysis, ModelResult, Outcome, SliceOutline
from inference.contours import contours_of
from inference.evidence.making import Maker, slices_needed
from inference.evidence.objects import EvidenceObject, Kind
from inference.evidence.source import source_image
from inference.limits import Limits
from inference.pipeline import analyse
from models.manifest import Manifest
from models.registry import load_registry

AT = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {Kind.REPORT: "SR", Kind.OUTLINE: "SEG", Kind.MAP: "Parametric Map", Kind.PICTURE: "SC"}
OUTLINES = "chest-xray-lungs"  # whose manifest has a structure; its network is not run


def run(quick: bool = False) -> Result:
    """Measure each kind of object, and the PDF."""
    rounds = 1 if quick else 9
    files = {str(each.SOPInstanceUID): _encoded(each) for each in datasets(THIN)}
    registry = load_registry()
    analysis = analyse(files.values(), registry, Limits())
    manifests = {package.manifest.id: package.manifest for package in registry.packages}
    found = analysis.results[0]
    rows = [
        _row(NAMES[kind], rounds, _making(kind, result, analysis, files, manifests))
        for kind, result in (
            (Kind.REPORT, found), (Kind.OUTLINE, _outlined(found)),
            (Kind.MAP, found), (Kind.PICTURE, found),
        )
    ]  # fmt: skip
    rows.append(_row("PDF", rounds, lambda: report_pdf(analysis, manifests, AT)))
    table = Table("One result on 48 slices of 256x256", ("object", "ms", "KiB"), tuple(rows))
    note = f"Importing highdicom and reportlab takes {_importing_s():.2f} s, once a worker."
    return Result((table,), notes=(note,))


def _making(
    kind: Kind,
    result: ModelResult,
    analysis: Analysis,
    files: Mapping[str, bytes],
    manifests: Mapping[str, Manifest],
) -> Callable[[], bytes]:
    """From the fetched instances to the bytes that are sent."""

    def make() -> bytes:
        sources = {
            number: source_image(
                files[result.slices[number - 1].sop_instance_uid], 1, analysis.identity
            )
            for number in slices_needed(result, {kind})
        }
        (made,) = Maker(result, manifests[result.model_id], sources, AT).make({kind})
        assert isinstance(made, EvidenceObject), made
        return made.encoded

    return make


def _outlined(found: ModelResult) -> ModelResult:
    """The drawn lesion as a segmentation would give it."""
    lesion = HEADS[0].lesion
    assert lesion is not None
    outlines = tuple(
        SliceOutline(
            number, found.slices[number - 1].sop_instance_uid, 1, mask, contours_of(mask),
            float(mask.mean()), None, 0.9,
        )
        for number, mask in enumerate(axial_mask(lesion, THIN.protocol), start=1)
        if mask.any()
    )  # fmt: skip
    return replace(
        found,
        model_id=OUTLINES,
        task="segmentation",
        outcome=Outcome.MEASURED,
        finding=None,
        outlines=outlines,
        explanation=None,
    )


def _row(name: str, rounds: int, make: Callable[[], bytes]) -> tuple[str, float, float]:
    data, times_ms = make(), []
    for _ in range(rounds):
        since = time.perf_counter()
        data = make()
        times_ms.append((time.perf_counter() - since) * 1e3)
    return name, round(median(times_ms), 1), round(len(data) / 1024, 1)


def _importing_s() -> float:
    since = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import inference.evidence.making, cds_service.evidence.pdf"],
        check=True,
    )
    return time.perf_counter() - since


def _encoded(instance: FileDataset) -> bytes:
    file = io.BytesIO()
    instance.save_as(file, enforce_file_format=True)
    return file.getvalue()
