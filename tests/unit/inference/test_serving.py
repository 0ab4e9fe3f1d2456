"""Which models are served here, and what becomes of one that is ill."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from inference.analysis import Outcome
from inference.machine import Machine
from inference.pipeline import Analyser
from inference.serving import load_service
from models.contract import SeriesFacts
from models.registry import ModelPackage, Registry, load_package
from tests.reference import dicom_factory as factory
from tests.reference.toy import answer_as, toy_cells, toy_package, write_int8

VNNI = Machine(int8_instructions=("AVX-VNNI",))
SERIES = SeriesFacts(factory.uid("series"), modality="MR", body_part="HEAD", instances=6)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def ill(tmp_path: Path) -> ModelPackage:
    """A package that no longer answers as it was measured, in either precision."""
    folder = write_int8(tmp_path / "ill")
    answer_as(folder, {"fp32": 1.0, "int8": 1.0})
    return load_package(folder)


def test_each_model_is_served_with_its_precision_and_the_reason(
    tmp_path: Path, pool: Executor
) -> None:
    both = load_package(write_int8(tmp_path / "toy"))
    service = load_service(Registry((toy_cells(), both)), VNNI, "auto", {}, pool)
    assert [(one.model_id, one.precision) for one in service.served] == [
        ("toy-cells", "fp32"),
        ("toy-glow", "int8"),
    ]
    assert all(one.reason and one.provider == "CPUExecutionProvider" for one in service.served)
    assert service.refused == ()


@pytest.mark.parametrize(
    ("wish", "forced", "precision"),
    [
        ("auto", {}, "int8"),
        ("fp32", {}, "fp32"),
        ("int8", {"toy-glow": "fp32"}, "fp32"),
        ("auto", {"another": "fp32"}, "int8"),
    ],
)
def test_a_precision_may_be_asked_for_or_demanded_by_model(
    tmp_path: Path, pool: Executor, wish: str, forced: dict[str, str], precision: str
) -> None:
    both = load_package(write_int8(tmp_path / "toy"))
    service = load_service(Registry((both,)), VNNI, wish, forced, pool)
    assert [one.precision for one in service.served] == [precision]


def test_a_model_that_answers_wrongly_is_refused_and_stops_no_other(ill: ModelPackage) -> None:
    data = [factory.encoded(ds) for ds in factory.axial_series(6)]
    with Analyser(Registry((toy_cells(), ill))) as analyser:
        served = {one.model_id: one for one in analyser.served}
        analysis = analyser.analyse(analyser.plan([SERIES]), lambda _: data)
    assert [result.model_id for result in analysis.results] == ["toy-cells"]
    assert analysis.outcome is Outcome.NO_FINDING
    (use,) = analysis.models_not_run
    assert (use.model_id, use.reasons[0].kind) == ("toy-glow", "not-served")
    assert use.reasons[0].sentence == served["toy-glow"].reason
    assert "away from its reference case" in served["toy-glow"].reason
    assert served["toy-glow"].precision is None
    assert served["toy-cells"].precision == "fp32"


def test_where_every_model_is_refused_nothing_is_read_and_it_is_said(ill: ModelPackage) -> None:
    with Analyser(Registry((ill,))) as analyser:
        plan = analyser.plan([SERIES])
    assert plan.series_to_read == ()
    assert [use.model_id for use in plan.models_not_run] == ["toy-glow"]
    assert [reason.kind for reason in plan.series[0].reasons] == ["not-served"]


def test_a_result_says_in_which_precision_and_why(tmp_path: Path) -> None:
    both = load_package(write_int8(tmp_path / "toy"))
    data = [factory.encoded(ds) for ds in factory.axial_series(6)]
    with Analyser(Registry((both,)), machine=VNNI) as analyser:
        (result,) = analyser.analyse(analyser.plan([SERIES]), lambda _: data).results
        (served,) = analyser.served
    assert (result.precision, result.precision_reason) == ("int8", served.reason)
    assert result.model_sha256 == both.sha256("int8.onnx")


def test_a_precision_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="fp32"):
        Analyser(Registry((toy_package(),)), precision="int4")


def test_a_package_without_its_reference_cases_is_refused(tmp_path: Path, pool: Executor) -> None:
    bare = replace(toy_package(), folder=tmp_path)
    service = load_service(Registry((bare,)), VNNI, "auto", {}, pool)
    assert [one.precision for one in service.served] == [None]
    assert service.registry.packages == ()
