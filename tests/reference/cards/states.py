"""Analyses for cards: one for each thing that can be said, as the record keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cds_service.queue.state import State, StudyRecord
from cds_service.summary import (
    LabelSummary,
    MeasurementSummary,
    ReasonSummary,
    ResultSummary,
    StudySummary,
)
from fhir_mapping.study import StudyRef
from inference.analysis import Outcome

ANALYSED_MS = int(datetime(2026, 3, 3, 14, 5, tzinfo=UTC).timestamp() * 1000)

GLIOMA = LabelSummary(key="glioma", display="Glioma", probability=0.873, threshold=0.6)
MENINGIOMA = LabelSummary(key="meningioma", display="Meningioma", probability=0.09, threshold=0.5)
NO_TUMOUR = LabelSummary(
    key="no-tumour", display="No tumour", probability=0.037, threshold=0.5, negative=True
)

RESULT = ResultSummary(
    model_id="brain-mri-tumour",
    model_version="1.0.0",
    model_title="Brain MRI tumour type",
    model_sha256="ab" * 32,
    precision="int8",
    outcome=Outcome.FINDING,
    finding=GLIOMA,
    probabilities=(GLIOMA, MENINGIOMA, NO_TUMOUR),
    reasons=(),
    slices=24,
    slices_used=(10, 11, 12),
    deciding_slice=11,
)
FINDING = StudySummary(
    outcome=Outcome.FINDING,
    results=(RESULT,),
    series=4,
    series_used=1,
    images=24,
    analysed_ms=ANALYSED_MS,
    steps_ms={"infer": 41.5},
)
NO_FINDING = FINDING.model_copy(
    update={
        "outcome": Outcome.NO_FINDING,
        "results": (
            RESULT.model_copy(
                update={
                    "outcome": Outcome.NO_FINDING,
                    "finding": None,
                    "probabilities": (
                        GLIOMA.model_copy(update={"probability": 0.02}),
                        MENINGIOMA.model_copy(update={"probability": 0.01}),
                        NO_TUMOUR.model_copy(update={"probability": 0.97}),
                    ),
                }
            ),
        ),
    }
)
INDETERMINATE = FINDING.model_copy(
    update={
        "outcome": Outcome.INDETERMINATE,
        "results": (
            RESULT.model_copy(
                update={
                    "outcome": Outcome.INDETERMINATE,
                    "finding": None,
                    "reasons": (
                        ReasonSummary(
                            kind="out-of-distribution",
                            sentence="The images are unlike those that the model has learnt from.",
                        ),
                    ),
                }
            ),
        ),
    }
)
CANNOT_DECIDE = FINDING.model_copy(
    update={
        "outcome": Outcome.INDETERMINATE,
        "results": (
            RESULT.model_copy(
                update={
                    "outcome": Outcome.INDETERMINATE,
                    "finding": None,
                    "reasons": (
                        ReasonSummary(
                            kind="small-margin",
                            sentence="Two answers are almost equally probable.",
                        ),
                    ),
                    "possible": (
                        GLIOMA.model_copy(update={"probability": 0.47}),
                        MENINGIOMA.model_copy(update={"probability": 0.41}),
                        NO_TUMOUR.model_copy(update={"probability": 0.12}),
                    ),
                }
            ),
        ),
    }
)

AREA = MeasurementSummary(key="area", display="Area", value=412, unit="mm2", slice_number=11)
PART = MeasurementSummary(
    key="area-fraction", display="Part of the image", value=6.1, unit="%", slice_number=11
)
OUTLINE = RESULT.model_copy(
    update={
        "model_id": "brain-mri-tumour-outline",
        "model_title": "Brain MRI tumour outline",
        "outcome": Outcome.MEASURED,
        "finding": None,
        "probabilities": (),
        "task": "segmentation",
        "structure": "Tumour",
        "outlined": 3,
        "measurements": (AREA, PART),
        "follows": "brain-mri-tumour",
    }
)
FINDING_OUTLINED = FINDING.model_copy(update={"results": (RESULT, OUTLINE)})
LUNGS = OUTLINE.model_copy(
    update={
        "model_id": "chest-xray-lungs",
        "model_title": "Lungs on a chest radiograph",
        "structure": "Lungs",
        "outlined": 1,
        "slices": 1,
        "slices_used": (1,),
        "deciding_slice": 1,
        "measurements": (PART.model_copy(update={"value": 31.2, "slice_number": 1}),),
        "follows": "",
    }
)
MEASURED = FINDING.model_copy(update={"outcome": Outcome.MEASURED, "results": (LUNGS,)})
NOTHING_OUTLINED = MEASURED.model_copy(
    update={"results": (LUNGS.model_copy(update={"outlined": 0, "measurements": ()}),)}
)
MEASURED_WITHOUT_FINDING = MEASURED.model_copy(update={"results": (*NO_FINDING.results, LUNGS)})
NOT_SERVED = StudySummary(
    outcome=Outcome.NOT_ANALYSED,
    not_analysed=(
        ReasonSummary(
            kind="not-served",
            sentence="Not analysed: the model brain-mri-tumour 1.0.0 failed its self-test.",
        ),
    ),
    series=2,
    analysed_ms=ANALYSED_MS,
)
NOT_ANALYSED = StudySummary(
    outcome=Outcome.NOT_ANALYSED,
    not_analysed=(ReasonSummary(kind="modality", sentence="No model is for this modality."),),
    series=2,
    analysed_ms=ANALYSED_MS,
)

STUDY = StudyRef(
    study_uid="1.2.3",
    archive="pacs",
    patient_reference="Patient/p1",
    started=datetime(2026, 3, 3, 10, tzinfo=UTC),
    started_text="2026-03-03T10:00:00Z",
    modalities=("MR", "SR"),
)


@dataclass(frozen=True)
class Case:
    """A record, and how many studies wait before it."""

    record: StudyRecord
    ahead: int | None = None


def record(state: State, summary: StudySummary | None = None, **changes: object) -> StudyRecord:
    """A record in a state."""
    return StudyRecord(
        "5d" * 16,
        state=state,
        content_key="content",
        models="models-1",
        summary=summary.to_json() if summary else {},
        explanation_id="ab" * 32 if summary and summary.results else "",
        **changes,  # type: ignore[arg-type]  # fields of the record by name
    )


CASES = {
    "queued": Case(record(State.RECEIVED), 0),
    "queued-behind-others": Case(record(State.RECEIVED), 12),
    "queued-behind-one": Case(record(State.RECEIVED), 1),
    "fetching": Case(record(State.FETCHING)),
    "running": Case(record(State.INFERRING)),
    "writing": Case(record(State.WRITING)),
    "finding": Case(record(State.FINAL, FINDING)),
    "no-finding": Case(record(State.FINAL, NO_FINDING)),
    "indeterminate": Case(record(State.ABSTAINED, INDETERMINATE)),
    "cannot-decide": Case(record(State.ABSTAINED, CANNOT_DECIDE)),
    "finding-outlined": Case(record(State.FINAL, FINDING_OUTLINED)),
    "measured": Case(record(State.FINAL, MEASURED)),
    "nothing-outlined": Case(record(State.FINAL, NOTHING_OUTLINED)),
    "measured-without-finding": Case(record(State.FINAL, MEASURED_WITHOUT_FINDING)),
    "not-served": Case(record(State.ABSTAINED, NOT_SERVED)),
    "not-analysed": Case(record(State.ABSTAINED, NOT_ANALYSED)),
    "failed": Case(record(State.FAILED, error_kind="timeout")),
    "outdated-finding": Case(record(State.RECEIVED, FINDING), 3),
    "outdated-finding-failed": Case(record(State.FAILED, FINDING, error_kind="timeout")),
    "outdated-no-finding": Case(record(State.INFERRING, NO_FINDING)),
}
