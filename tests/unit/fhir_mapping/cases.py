"""Analyses and studies for the tests of this package: every outcome, with and without options."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from fhir_mapping.codes import BRAIN, MR_BRAIN_REPORT
from fhir_mapping.context import ModelFacts, ReportContext
from fhir_mapping.study import SeriesRef, StudyRef
from inference.analysis import (
    Analysis,
    GateResult,
    LabelProbability,
    Measurement,
    ModelResult,
    ModelUse,
    Outcome,
    SeriesUse,
    SliceOutline,
    SliceResult,
    StudyIdentity,
)
from models.contract import Coding, Reason

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES_UID = "1.2.826.0.1.3680043.8.498.1.1"
EXPLANATION_URL = "https://ai.hospital.example/why/7f3c"
SCT = "http://snomed.info/sct"

GLIOMA = LabelProbability(
    "glioma", "Glioma", 0.93456789, 0.8, False, Coding(SCT, "393564001", "Glioma")
)
MENINGIOMA = LabelProbability(
    "meningioma", "Meningioma", 0.0412, 0.8, False, Coding(SCT, "302820008", "Meningioma")
)
NO_TUMOUR = LabelProbability("no-tumour", "No tumour", 0.02423211, 0.9, True)
UNCODED = LabelProbability("lesion", "Lesion", 0.88, 0.8, False)

HELD = GateResult("quality", True, "held", "The images are sharp enough.", 0.9, 0.5)
UNLIKE = GateResult(
    "out-of-distribution", False, "unlike", "The images are unlike the training data.", 7.1, 3.0
)

RESULT = ModelResult(
    model_id="brain-mri-tumour",
    model_version="1.0.0",
    model_title="Brain MRI tumour",
    model_sha256="ab" * 32,
    precision="int8",
    precision_reason="The gates of the build held.",
    series_uid=SERIES_UID,
    outcome=Outcome.FINDING,
    finding=GLIOMA,
    probabilities=(GLIOMA, MENINGIOMA, NO_TUMOUR),
    gates=(HELD,),
    slices=tuple(
        SliceResult(n, f"{SERIES_UID}.{n}", 1, (0.9, 0.05, 0.05), 1.0, True) for n in range(1, 5)
    ),
    slices_used=(2, 3),
    deciding_slice=2,
    explanation=None,
)
NEGATIVE = replace(RESULT, outcome=Outcome.NO_FINDING, finding=None)
ABSTAINED = replace(
    RESULT, outcome=Outcome.INDETERMINATE, finding=None, gates=(HELD, UNLIKE), deciding_slice=None
)
UNCODED_FINDING = replace(RESULT, finding=UNCODED, probabilities=(UNCODED, NO_TUMOUR))
NOT_RUN = replace(ABSTAINED, outcome=Outcome.NOT_ANALYSED, probabilities=(), slices=())

LUNG = Coding(SCT, "39607008", "Lung")
OUTLINE = SliceOutline(
    slice_number=2,
    sop_instance_uid=f"{SERIES_UID}.2",
    frame=1,
    mask=np.ones((2, 2), np.bool_),
    contours=(np.zeros((4, 2), np.float32),),
    area_fraction=0.0612,
    area_mm2=412.34567,
    mean_probability=0.9012,
)
AREA_MM2 = Measurement("area", "Area", 412.34567, "mm2", LUNG, "Pixels counted on image 2", 2)
AREA_PART = Measurement(
    "area-fraction", "Part of the image", 6.12345, "%", LUNG, "Pixels counted on image 2", 2
)
MEASURED = replace(
    RESULT,
    model_id="chest-xray-lungs",
    model_title="Lungs on a chest radiograph",
    model_sha256="ba" * 32,
    outcome=Outcome.MEASURED,
    finding=None,
    probabilities=(),
    task="segmentation",
    structure="Lungs",
    outlines=(OUTLINE,),
    measurements=(AREA_MM2, AREA_PART),
)
MEASURED_WITHOUT_SPACING = replace(
    MEASURED, outlines=(replace(OUTLINE, area_mm2=None),), measurements=(AREA_PART,)
)
NOTHING_OUTLINED = replace(MEASURED, outlines=(), measurements=())
OUTLINE_WITHHELD = replace(
    MEASURED, outcome=Outcome.INDETERMINATE, gates=(HELD, UNLIKE), measurements=()
)

MINIMAL_REF = StudyRef(STUDY_UID, "main", "Patient/p1", ("MRN-1",))
FULL_REF = StudyRef(
    study_uid=STUDY_UID,
    archive="main",
    patient_reference="Patient/p1",
    patient_identifiers=("MRN-1", "X9"),
    imaging_study_reference="ImagingStudy/s1",
    based_on_references=("ServiceRequest/o1",),
    encounter_reference="Encounter/e1",
    started=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    started_text="2024-05-06T07:08:09Z",
    accession_number="A1",
    modalities=("MR",),
    instances=4,
    series=(SeriesRef(SERIES_UID, "MR", 4),),
)

MINIMAL_CONTEXT = ReportContext(
    "tenant-a", EXPLANATION_URL, datetime(2024, 5, 6, 8, 0, 0, 123456, tzinfo=UTC)
)
FULL_CONTEXT = replace(
    MINIMAL_CONTEXT,
    organisation="General Hospital",
    organisation_reference="Organization/h1",
    software_version="0.1.0",
    demo=True,
    models={
        "brain-mri-tumour": ModelFacts(
            developer="The scanhook project",
            intended_use="To draw attention to possible tumours.",
            limits=("Trained on contrast-enhanced T1 slices only.",),
            report_code=MR_BRAIN_REPORT,
            body_site=BRAIN,
            card_url="https://ai.hospital.example/models/brain-mri-tumour",
        )
    },
)


def analysis_of(*results: ModelResult) -> Analysis:
    """An analysis of the test study with these results; its outcome follows the first."""
    left_out = SeriesUse("1.2.3.9", 9, "SR", False, 1, (Reason("modality", "Not an image."),))
    return Analysis(
        identity=StudyIdentity(STUDY_UID, "MRN-1", "", "A1"),
        instance_digest="cd" * 32,
        outcome=results[0].outcome if results else Outcome.NOT_ANALYSED,
        results=results,
        series=(SeriesUse(SERIES_UID, 1, "MR", True, 4), left_out),
        models_not_run=(ModelUse("chest", "1", (Reason("modality", "Not a radiograph."),)),),
        steps_ms={"infer": 1.0},
    )
