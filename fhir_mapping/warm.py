"""Do once, before the first study, what the first report would otherwise wait for."""

from __future__ import annotations

from datetime import UTC, datetime

from fhir_mapping.bundle import report_bundle
from fhir_mapping.context import ReportContext
from fhir_mapping.study import StudyRef
from inference.analysis import Analysis, LabelProbability, ModelResult, Outcome, StudyIdentity

_UID = "2.25.1"
_LABEL = LabelProbability("label", "Label", 0.5, 0.5, negative=False)
_RESULT = ModelResult(
    model_id="model",
    model_version="1",
    model_title="Model",
    model_sha256="0" * 64,
    precision="fp32",
    precision_reason="",
    series_uid=_UID,
    outcome=Outcome.FINDING,
    finding=_LABEL,
    probabilities=(_LABEL,),
    gates=(),
    slices=(),
    slices_used=(),
    deciding_slice=None,
    explanation=None,
)
_ANALYSIS = Analysis(
    identity=StudyIdentity(_UID),
    instance_digest="0" * 64,
    outcome=Outcome.FINDING,
    results=(_RESULT,),
    series=(),
    models_not_run=(),
    steps_ms={},
)


def warm_up() -> None:
    """Load the R4 definitions and build their validators, by making a report that nobody sees.

    About 0.25 s; without it the first report of a process costs that much more.
    """
    context = ReportContext(
        tenant="",
        explanation_url="https://localhost/",
        recorded=datetime(2000, 1, 1, tzinfo=UTC),
        organisation="-",
        demo=True,
    )
    report_bundle(_ANALYSIS, StudyRef(_UID, "", "Patient/1"), context)
