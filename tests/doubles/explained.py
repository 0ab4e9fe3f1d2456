"""Analyses as the pipeline would give them: a phantom of a head, drawn by the real overlay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np

from cds_service.explanation import CalibrationNotes, ModelNotes
from inference.analysis import (
    Analysis,
    Explanation,
    GateResult,
    LabelProbability,
    Measurement,
    ModelResult,
    ModelUse,
    Outcome,
    Reason,
    SeriesUse,
    SliceOutline,
    SliceResult,
    StudyIdentity,
)
from inference.contours import contours_of
from inference.explain.overlay import render, render_outline
from models.contract import Coding, FloatArray, ImageSlice, PlaneGeometry
from models.preprocess import InputSpec

EXPLANATION_ID = "0123456789abcdef" * 4
STUDY_KEY = "5d" * 16
ANALYSED_MS = 1_795_311_540_000  # 2026-11-22T01:39:00Z
MODEL_SHA256 = "c0ffee" * 10 + "c0de"
WHY_TAKEN = Reason("only-series", "Brain tumour on MRI reads this series: no other one suits it.")
IDENTITY = StudyIdentity("1.2.826.0.1.3680043.8.498.777", "PATIENT-4711", "HOSPITAL", "ACC-0815")

NOTES = {
    "brain-mri-tumour": ModelNotes(
        stage="research",
        intended_use=(
            "Points a reader to slices of a brain MRI in which a tumour of one of three kinds "
            "is likely, so that the study is read sooner."
        ),
        assesses=("Glioma", "Meningioma", "Pituitary tumour"),
        not_for=(
            "Excluding a tumour: it knows three kinds and nothing else.",
            "Diagnosis, triage, or any decision about a patient: it is not a medical device.",
            "Children, images after an operation, and other sequences than T1, T2 and FLAIR.",
        ),
        limits=(
            "Trained on two-dimensional slices of one public collection, without contrast phase.",
            "Metastases, bleeding and stroke are unknown to it.",
            "On images from other hospitals it is more often undecided, and more often wrong.",
            "Thin slices far from a lesion were never shown to it, nor images with artefacts.",
            "Meningioma is the tumour that it misses most.",
            "A class activation map shows where the evidence lies, not where a tumour ends.",
        ),
        calibration=CalibrationNotes(method="temperature scaling", temperature=1.37, ece=0.021),
        data=("A public collection of tumours", "A public collection without tumours"),
        developer="The scanhook project",
        licence="Apache-2.0",
        coverage=(0.95, 0.943),
        files=("card.json", "card.xml", "reliability.png"),
    )
}

LABELS = (
    LabelProbability("glioma", "Glioma", 0.938, 0.82, negative=False),
    LabelProbability("meningioma", "Meningioma", 0.041, 0.79, negative=False),
    LabelProbability("pituitary", "Pituitary tumour", 0.003, 0.8, negative=False),
    LabelProbability("notumor", "No tumour of these kinds", 0.018, 0.9, negative=True),
)

GATES = (
    GateResult("applicability", True, "applicable", "The series is of a kind the model reads."),
    GateResult("geometry", True, "regular", "The images lie evenly, side by side."),
    GateResult("quality", True, "usable", "The images are usable.", 0.958, 0.5),
    GateResult(
        "out-of-distribution",
        True,
        "like-training",
        "The deciding images are like those the model was trained on.",
        1.0,
        1.0,
    ),
    GateResult(
        "uncertainty",
        True,
        "above-threshold",
        "One answer is probable enough to be stated.",
        0.938,
        0.82,
    ),
)


def phantom(size: int = 256) -> ImageSlice:
    """A round head with skull, two ventricles and a bright spot on the reader's right."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    noise = np.random.default_rng(7).normal(0, 14, (size, size))

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> FloatArray:
        inside: FloatArray = ((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) < 1).astype(np.float32)
        return inside

    head = ellipse(0, 0, 0.74, 0.9) * 300 - ellipse(0, 0, 0.68, 0.84) * 220
    brain = ellipse(0, 0.01, 0.64, 0.8) * (270 + 36 * np.sin(9 * x + 3 * y) * np.cos(8 * y - 2 * x))
    fluid = (ellipse(-0.13, -0.06, 0.08, 0.26) + ellipse(0.13, -0.06, 0.08, 0.26)) * -180
    spot = 260 * np.exp(-(((x - 0.36) / 0.14) ** 2) - ((y - 0.22) / 0.16) ** 2)
    pixels = np.clip(head + brain + fluid + spot + noise * (head + brain > 20), 0, 4095)
    geometry = PlaneGeometry((-115.0, -115.0, 20.0), (1, 0, 0), (0, 1, 0), (0.9, 0.9))
    return ImageSlice(pixels.astype(np.int16), "1.2.3.4", geometry=geometry, spacing_mm=(0.9, 0.9))


@lru_cache
def explanation(drop: float | None = 0.61, *, stated: bool = True) -> Explanation:
    """What explains the phantom: the heat is where the spot is."""
    down, across = np.mgrid[0:7, 0:7]
    heat = np.exp(-(((across - 4.4) / 1.1) ** 2) - ((down - 3.8) / 1.1) ** 2).astype(np.float32)
    heat /= heat.max()
    spec = InputSpec("image", 224, 224, 0.5, 99.5)
    with ThreadPoolExecutor(1) as encoders:
        drawn = render(phantom(), heat, spec, "Glioma", stated=stated, encoders=encoders)
    return Explanation(
        method="cam",
        layer="features.8",
        label_key="glioma",
        model_sha256=MODEL_SHA256,
        slice_number=12,
        sop_instance_uid="1.2.3.4",
        frame=1,
        heatmap=heat,
        deletion_drop=drop,
        image_png=drawn.image_png,
        overlay_png=drawn.overlay_png,
        figure_png=drawn.figure_png,
    )


def slices(count: int = 24, peak: int = 12, top: float = 0.96) -> tuple[SliceResult, ...]:
    """Scores that rise to a peak; the last two slices are unlike the training data."""
    found = []
    for number in range(1, count + 1):
        glioma = top * float(np.exp(-(((number - peak) / 2.6) ** 2))) + 0.012
        rest = 1 - glioma
        scores = (glioma, rest * 0.06, rest * 0.02, rest * 0.92)
        known = number <= count - 2
        found.append(SliceResult(number, f"1.2.3.{number}", 1, scores, 0.4, known))
    return tuple(found)


def result() -> ModelResult:
    """A finding on 24 slices."""
    return ModelResult(
        model_id="brain-mri-tumour",
        model_version="1.0.0",
        model_title="Brain tumour on MRI",
        model_sha256=MODEL_SHA256,
        precision="int8",
        precision_reason="it passed every check of the build and is the quicker one",
        series_uid="1.2.3",
        outcome=Outcome.FINDING,
        finding=LABELS[0],
        probabilities=LABELS,
        gates=GATES,
        slices=slices(),
        slices_used=(11, 12, 13),
        deciding_slice=12,
        explanation=explanation(),
    )


def finding() -> Analysis:
    """A study of three series, one of them analysed, with a finding."""
    return Analysis(
        identity=IDENTITY,
        instance_digest="9f2c4e" * 10 + "aa11",
        outcome=Outcome.FINDING,
        results=(result(),),
        series=(
            SeriesUse("1.2.3", 4, "MR", used=True, instances=24, reasons=(WHY_TAKEN,)),
            SeriesUse(
                "1.2.4", 1, "MR", False, 3, (Reason("excluded-series", "It is a localizer."),)
            ),
            SeriesUse(
                "1.2.5",
                None,
                "SR",
                False,
                1,
                (Reason("modality", "The model reads MR only; this series is of another kind."),),
            ),
        ),
        models_not_run=(
            ModelUse(
                "chest-pneumonia",
                "0.3.0",
                (Reason("modality", "The model reads CR or DX only; this series is another."),),
            ),
        ),
        steps_ms={"fetch": 40.0, "infer": 96.0},
    )


def indeterminate() -> Analysis:
    """The same study, withheld by two gates; the colours explain little."""
    failed = (
        GateResult(
            "out-of-distribution",
            False,
            "unlike-training",
            "The images that would decide are unlike those the model was trained on.",
            0.333,
            1.0,
        ),
        GateResult(
            "uncertainty",
            False,
            "small-margin",
            "Two answers are almost equally probable.",
            0.04,
            0.1,
        ),
    )
    unsure = (replace(LABELS[0], probability=0.47), replace(LABELS[1], probability=0.43))
    withheld = replace(
        result(),
        outcome=Outcome.INDETERMINATE,
        finding=None,
        probabilities=(*unsure, *LABELS[2:]),
        gates=(*GATES[:3], *failed),
        explanation=explanation(0.04, stated=False),
    )
    return replace(finding(), outcome=Outcome.INDETERMINATE, results=(withheld,))


def no_finding() -> Analysis:
    """One radiograph-like image, nothing stated, no picture."""
    quiet = (
        *(replace(label, probability=0.002) for label in LABELS[:3]),
        replace(LABELS[3], probability=0.994),
    )
    silent = replace(
        result(),
        outcome=Outcome.NO_FINDING,
        finding=None,
        probabilities=quiet,
        slices=slices(1, 1)[:1],
        slices_used=(1,),
        deciding_slice=1,
        explanation=None,
    )
    return replace(finding(), outcome=Outcome.NO_FINDING, results=(silent,))


def not_analysed() -> Analysis:
    """No model was for it."""
    return replace(
        finding(),
        outcome=Outcome.NOT_ANALYSED,
        results=(),
        series=tuple(
            replace(s, used=False, reasons=finding().series[2].reasons) for s in finding().series
        ),
    )


SPOT = Coding("http://snomed.info/sct", "39607008", "Lung")


@lru_cache
def outline() -> tuple[SliceOutline, Explanation]:
    """The phantom's spot, outlined and drawn, and its probability map."""
    y, x = np.mgrid[-1 : 1 : 256 * 1j, -1 : 1 : 256 * 1j].astype(np.float32)
    near = np.exp(-(((x - 0.36) / 0.2) ** 2) - ((y - 0.22) / 0.22) ** 2).astype(np.float32)
    mask = near > 0.5
    contours = contours_of(mask)
    spec = InputSpec("image", 256, 256, 0.5, 99.5)
    with ThreadPoolExecutor(1) as encoders:
        drawn = render_outline(
            phantom(), near, spec, contours, "Spot, 907 square mm", stated=True, encoders=encoders
        )
    found = SliceOutline(12, "1.2.3.12", 1, mask, contours, float(mask.mean()), 907.3, 0.91)
    shown = replace(
        explanation(None),
        method="outline",
        layer="decoder",
        label_key="spot",
        heatmap=near,
        image_png=drawn.image_png,
        overlay_png=drawn.overlay_png,
        figure_png=drawn.figure_png,
    )
    return found, shown


def outlined() -> ModelResult:
    """What a segmentation made of the spot, on the answer of another model."""
    found, shown = outline()
    how = "Pixels within the outline, times their spacing"
    return replace(
        result(),
        model_id="brain-mri-spot-outline",
        model_title="Outline of a spot on brain MRI",
        outcome=Outcome.MEASURED,
        finding=None,
        probabilities=(),
        slices=tuple(replace(each, probabilities=()) for each in slices()),
        slices_used=(11, 12, 13),
        explanation=shown,
        task="segmentation",
        structure="Spot",
        outlines=(found,),
        measurements=(
            Measurement("spot-area", "Area", 907.3, "mm2", SPOT, how, 12),
            Measurement("spot-share", "Share of the image", 1.71, "%", SPOT, how, 12),
        ),
        follows="brain-mri-tumour",
    )


def measured() -> Analysis:
    """The same study, with an outline and no finding."""
    return replace(finding(), outcome=Outcome.MEASURED, results=(replace(outlined(), follows=""),))


def undecided() -> Analysis:
    """The same study, in which two answers are equally probable on images that are known."""
    doubt = GateResult(
        "uncertainty", False, "small-margin", "Two answers are almost equally probable.", 0.04, 0.1
    )
    withheld = indeterminate().results[0]
    unsure = replace(
        withheld,
        gates=(*GATES[:4], doubt),
        prediction_set=("glioma", "meningioma", "notumor"),
    )
    return replace(indeterminate(), results=(unsure,))
