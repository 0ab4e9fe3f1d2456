"""A worker runs what a tenant has chosen and what is switched on, as surely as the tenant asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cds_service.explanation import page_of
from cds_service.flow import Kept, Steps, analyse_study
from cds_service.model_choice import served_models
from cds_service.settings import TenantSettings
from cds_service.summary import summarise
from fhir_mapping.study import StudyRef
from fhir_mapping.wording import conclusion
from inference.analysis import Analysis, Outcome
from inference.pipeline import Analyser
from models.contract import SeriesFacts
from models.registry import Registry
from tests.doubles import ehr
from tests.reference import dicom_factory as factory
from tests.reference.toy import toy_cells, toy_package

PACKAGES = (toy_package(), toy_cells())
IDS = [package.manifest.id for package in PACKAGES]
SERIES = SeriesFacts(factory.uid("series"), modality="MR", body_part="HEAD", instances=6)
GLOWING = [
    factory.encoded(each)
    for each in factory.axial_series(
        6, pixels=lambda n: factory.head(blob=0.6 if n in (2, 3, 4) else 0.0, seed=n)
    )
]
REF = StudyRef(study_uid=factory.uid("study"), archive="main", patient_reference="Patient/p")


class OneStudy:
    """An archive with one glowing head."""

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return [SERIES]

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        return iter(GLOWING)


@pytest.fixture(scope="module")
def analyser() -> Iterator[Analyser]:
    with Analyser(Registry(PACKAGES)) as made:
        yield made


def analysed(analyser: Analyser, disabled: Sequence[str] = (), **changes: Any) -> Analysis:
    tenant = TenantSettings.model_validate({**ehr.tenant().model_dump(), **changes})
    steps = Steps(
        archive=OneStudy(),
        analyser=analyser,
        reached=lambda _: None,
        keep=lambda *_: Kept("e", "r"),
        models=served_models(PACKAGES, tenant, disabled),
        accept_unverified=True,
    )
    return analyse_study(REF, steps)[0]


def test_all_models_run_where_nothing_is_chosen(analyser: Analyser) -> None:
    analysis = analysed(analyser)
    assert sorted(result.model_id for result in analysis.results) == sorted(IDS)
    assert analysis.outcome is Outcome.FINDING


def test_a_model_that_is_switched_off_does_not_run_and_is_told_of(analyser: Analyser) -> None:
    analysis = analysed(analyser, [IDS[0]])
    assert [result.model_id for result in analysis.results] == [IDS[1]]
    assert [(u.model_id, u.reasons[0].kind) for u in analysis.models_not_run] == [
        (IDS[0], "disabled")
    ]
    nothing = analysed(analyser, IDS)
    assert nothing.outcome is Outcome.NOT_ANALYSED
    told = [reason.sentence for reason in summarise(nothing, 0).not_analysed]
    assert sum("is switched off" in sentence for sentence in told) == len(IDS)


def test_a_model_that_a_tenant_has_not_chosen_does_not_run_and_is_not_told_of(
    analyser: Analyser,
) -> None:
    analysis = analysed(analyser, models=(IDS[1],))
    assert [result.model_id for result in analysis.results] == [IDS[1]]
    assert analysis.models_not_run == ()


def test_card_page_and_report_agree_on_a_tenant_s_threshold(analyser: Analyser) -> None:
    only = {"models": (IDS[0],)}
    (stated,) = analysed(analyser, **only).results
    assert stated.finding is not None
    above = {IDS[0]: {stated.finding.key: (1 + stated.finding.probability) / 2}}
    analysis = analysed(analyser, **only, thresholds=above)
    page = page_of(analysis, 0, {})
    assert analysis.outcome is summarise(analysis, 0).outcome is page.outcome
    assert page.outcome is Outcome.INDETERMINATE
    assert page.results[0].gates[-1].gate == "site-threshold"
    assert "less probable than this site asks" in conclusion(analysis.results)
    assert summarise(analysis, 0).finding is None
