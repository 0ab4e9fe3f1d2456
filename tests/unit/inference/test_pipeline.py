from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.analysis import Outcome, StudyIdentity
from inference.errors import (
    IdentityMismatch,
    IncompleteSeries,
    LimitExceeded,
    UndecodablePixels,
    UnreadableInstance,
)
from inference.limits import Limits
from inference.outcomes import gravest
from inference.pipeline import Analyser, analyse, check_package
from models.contract import SeriesFacts
from models.registry import load_registry
from tests.reference import dicom_factory as factory
from tests.reference.real_dicom import head_series
from tests.reference.toy import toy_registry

SERIES = SeriesFacts(factory.uid("series"), modality="MR", body_part="HEAD", instances=6)


@pytest.fixture(scope="module")
def analyser() -> Iterator[Analyser]:
    with Analyser(toy_registry()) as made:
        yield made


def _glow(index: int) -> Any:
    return factory.head(blob=0.6 if index in (2, 3, 4) else 0.0, seed=index)


def _noisy(index: int) -> Any:
    """A large bright area under noise: probable, and unlike what the toy knows."""
    picture = factory.head(224, 224, blob=0.6, seed=index)
    return (picture + np.random.default_rng(index).integers(0, 600, (224, 224))).astype(np.uint16)


def _bytes(series: Iterable[Dataset]) -> list[bytes]:
    made = [factory.encoded(ds) for ds in series]
    random.Random(2).shuffle(made)  # noqa: S311 reproducible, not secret
    return made


def _run(analyser: Analyser, instances: Iterable[bytes], facts: SeriesFacts = SERIES) -> Any:
    return analyser.analyse(analyser.plan([facts]), lambda series: instances)


def test_a_finding_is_stated_with_its_evidence(analyser: Analyser) -> None:
    analysis = _run(analyser, _bytes(factory.axial_series(6, pixels=_glow)))
    (result,) = analysis.results
    assert analysis.outcome is result.outcome is Outcome.FINDING
    assert result.finding is not None
    assert (result.finding.key, result.slices_used) == ("glow", (3, 4, 5))
    assert result.deciding_slice in result.slices_used
    assert result.reasons == ()
    assert [piece.number for piece in result.slices] == [1, 2, 3, 4, 5, 6]
    explanation = result.explanation
    assert explanation is not None
    assert explanation.slice_number == result.deciding_slice
    assert explanation.label_key == "glow"
    assert explanation.heatmap.max() == 1
    assert {*explanation.others, explanation.slice_number} == set(range(1, 7))
    beside = explanation.others[4 if explanation.slice_number == 3 else 3]
    assert beside[explanation.heatmap > 0.8].min() > 0.5, "it glows on the next slice, too"
    assert beside.max() > 10 * explanation.others[1].max()
    assert explanation.deletion_drop is not None
    assert explanation.deletion_drop > 0.2
    assert explanation.model_sha256 == result.model_sha256


def test_the_negative_is_stated_only_when_every_gate_held(analyser: Analyser) -> None:
    (result,) = _run(analyser, _bytes(factory.axial_series(6))).results
    assert result.outcome is Outcome.NO_FINDING
    assert all(gate.passed for gate in result.gates)
    assert result.finding is None
    assert result.explanation is None, "there is nothing that speaks for a finding to be drawn"


def test_images_unlike_the_training_data_are_indeterminate(analyser: Analyser) -> None:
    (result,) = _run(analyser, _bytes(factory.axial_series(6, pixels=_noisy))).results
    assert result.outcome is Outcome.INDETERMINATE
    assert "unlike-training" in {gate.kind for gate in result.reasons}
    assert result.finding is None


def test_empty_images_are_indeterminate_and_none_is_dropped(analyser: Analyser) -> None:
    empty = factory.axial_series(6, pixels=lambda _: np.zeros((64, 64), np.uint16))
    (result,) = _run(analyser, _bytes(empty)).results
    assert result.outcome is Outcome.INDETERMINATE
    assert "unusable-images" in {gate.kind for gate in result.reasons}
    assert [each.problem for each in result.slices] == ["empty"] * 6
    assert len(result.slices) == 6
    assert not any(piece.in_distribution for piece in result.slices)


@pytest.mark.parametrize(
    ("what", "kind", "series"),
    list(factory.broken_geometries()),
    ids=[row[0] for row in factory.broken_geometries()],
)
def test_a_broken_geometry_is_never_answered(
    analyser: Analyser, what: str, kind: str, series: list[Dataset]
) -> None:
    analysis = _run(analyser, _bytes(series), replace(SERIES, instances=len(series)))
    (result,) = analysis.results
    assert analysis.outcome is Outcome.INDETERMINATE
    assert kind in {gate.kind for gate in result.reasons}
    assert result.finding is None


def test_gates_are_asked_in_their_documented_order(analyser: Analyser) -> None:
    (result,) = _run(analyser, _bytes(factory.axial_series(6))).results
    assert [gate.gate for gate in result.gates] == [
        "applicability",
        "quality",
        "geometry",
        "out-of-distribution",
        "uncertainty",
    ]


def test_a_header_that_contradicts_the_archive_is_not_answered(analyser: Analyser) -> None:
    series = factory.axial_series(6, Modality="CT")
    (result,) = _run(analyser, _bytes(series)).results
    assert result.outcome is Outcome.INDETERMINATE
    assert [gate.kind for gate in result.reasons] == ["modality"]


def test_where_no_model_applies_nothing_is_read(analyser: Analyser) -> None:
    def forbidden(series: SeriesFacts) -> Iterable[bytes]:
        raise AssertionError("a series was asked for")

    plan = analyser.plan([replace(SERIES, modality="CT")])
    analysis = analyser.analyse(plan, forbidden, identity=StudyIdentity("1.2.3"))
    assert analysis.outcome is Outcome.NOT_ANALYSED
    assert analysis.identity.study_uid == "1.2.3"
    assert [reason.kind for reason in analysis.series[0].reasons] == ["modality"]
    assert [use.model_id for use in analysis.models_not_run] == ["toy-glow"]


def test_slices_are_scored_while_others_are_still_on_their_way(analyser: Analyser) -> None:
    """The archive waits with its last image until an earlier one has been decoded."""
    data = _bytes(factory.axial_series(6))
    busy = threading.Event()
    original = analyser._pool.submit

    def submit(function: Callable[..., Any], *arguments: Any) -> Any:
        future = original(function, *arguments)
        future.add_done_callback(lambda _: busy.set())
        return future

    def slow() -> Iterator[bytes]:
        yield from data[:-1]
        assert busy.wait(20), "nothing was scored before the last image came"
        yield data[-1]

    analyser._pool.submit = submit  # type: ignore[method-assign] # watched, not replaced
    try:
        assert _run(analyser, slow()).outcome is Outcome.NO_FINDING
    finally:
        analyser._pool.submit = original  # type: ignore[method-assign] # as it was


def test_what_retrieval_raises_passes_through_and_nothing_is_kept(analyser: Analyser) -> None:
    class ArchiveGone(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield from _bytes(factory.axial_series(6))[:3]
        raise ArchiveGone

    with pytest.raises(ArchiveGone):
        _run(analyser, broken())
    again = _run(analyser, _bytes(factory.axial_series(6)))
    assert again.outcome is Outcome.NO_FINDING, "the analyser works on"


def test_one_undecodable_image_fails_the_whole_series(analyser: Analyser) -> None:
    series = factory.axial_series(6)
    series[4].PixelData = b"\0\0"
    with pytest.raises(UndecodablePixels):
        _run(analyser, _bytes(series))


def test_a_generator_left_early_is_closed(analyser: Analyser) -> None:
    closed = []

    def watched() -> Iterator[bytes]:
        try:
            yield b"not DICOM"
            yield b"never asked for"
        finally:
            closed.append(True)

    with pytest.raises(UnreadableInstance):
        _run(analyser, watched())
    assert closed == [True]


@pytest.mark.parametrize("kept", [0, 5])
def test_fewer_images_than_announced_are_incomplete(analyser: Analyser, kept: int) -> None:
    with pytest.raises(IncompleteSeries):
        _run(analyser, _bytes(factory.axial_series(6))[:kept])


def test_the_same_image_twice_is_incomplete(analyser: Analyser) -> None:
    data = _bytes(factory.axial_series(6))
    with pytest.raises(IncompleteSeries):
        _run(analyser, [*data[:5], data[0]])


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientID": "SOMEBODY ELSE"},
        {"IssuerOfPatientID": "ELSEWHERE"},
        {"StudyInstanceUID": "1.2.3"},
        {"SeriesInstanceUID": "1.2.3"},
    ],
)
def test_an_image_of_somebody_else_stops_everything(
    analyser: Analyser, elements: dict[str, str]
) -> None:
    series = factory.axial_series(6)
    for keyword, value in elements.items():
        setattr(series[3], keyword, value)
    with pytest.raises(IdentityMismatch) as caught:
        _run(analyser, _bytes(series))
    assert not any(value in caught.value.sentence for value in elements.values())


@pytest.mark.parametrize(
    "expected",
    [StudyIdentity("1.2.3"), StudyIdentity(factory.uid("study"), patient_id="SOMEBODY ELSE")],
)
def test_the_expected_identity_is_held_against_the_images(
    analyser: Analyser, expected: StudyIdentity
) -> None:
    data = _bytes(factory.axial_series(6))
    with pytest.raises(IdentityMismatch):
        analyser.analyse(analyser.plan([SERIES]), lambda _: data, identity=expected)


@pytest.mark.parametrize(
    "limits", [Limits(decoded_series_bytes=5 * 64 * 64 * 2), Limits(instances=5)]
)
def test_a_series_over_a_limit_is_refused(limits: Limits) -> None:
    with Analyser(toy_registry(), limits) as small, pytest.raises(LimitExceeded):
        _run(small, _bytes(factory.axial_series(6)))


def test_the_answer_does_not_depend_on_order_or_threads() -> None:
    data = _bytes(factory.axial_series(6, pixels=_glow))
    found = []
    for threads, order in ((1, data), (4, data[::-1])):
        with Analyser(toy_registry(), Limits(threads=threads)) as made:
            found.append(replace(_run(made, order), steps_ms={}))
    heat = [analysis.results[0].explanation.heatmap for analysis in found]
    assert np.array_equal(*heat)
    assert found[0].instance_digest == found[1].instance_digest
    assert found[0].results[0].slices == found[1].results[0].slices
    assert found[0].results[0].explanation.figure_png == found[1].results[0].explanation.figure_png


def test_every_frame_of_an_enhanced_instance_is_a_slice(analyser: Analyser) -> None:
    ds = factory.enhanced_mr([factory.head(64, 64, seed=i) for i in range(5)])
    (result,) = _run(analyser, _bytes([ds]), replace(SERIES, instances=1)).results
    assert [piece.frame for piece in result.slices] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("syntax", [*factory.NATIVE_SYNTAXES, *factory.LOSSLESS_SYNTAXES])
def test_the_transfer_syntax_changes_nothing(analyser: Analyser, syntax: str) -> None:
    series = factory.axial_series(6, pixels=_glow)
    data = [factory.transcoded(ds, _glow(i), syntax) for i, ds in enumerate(series)]
    (result,) = _run(analyser, data).results
    (plain,) = _run(analyser, _bytes(factory.axial_series(6, pixels=_glow))).results
    assert result.probabilities == plain.probabilities
    assert result.outcome is Outcome.FINDING


def test_progress_and_times_are_told(analyser: Analyser) -> None:
    told: list[str] = []
    data = _bytes(factory.axial_series(6, pixels=_glow))
    analysis = analyser.analyse(analyser.plan([SERIES]), lambda _: data, told.append)
    assert told == ["reading", "judging", "explaining"]
    assert set(analysis.steps_ms) == {
        "receive", "vet", "decode", "prepare", "infer", "explain", "total"
    }  # fmt: skip
    assert all(value >= 0 for value in analysis.steps_ms.values())


def test_nothing_of_the_patient_is_in_a_result(analyser: Analyser) -> None:
    (result,) = _run(analyser, _bytes(factory.axial_series(6, pixels=_glow))).results
    assert factory.PATIENT_ID not in repr(result)
    assert "PLANTED" not in repr(result)


def test_a_folder_of_several_series_is_grouped_by_their_headers() -> None:
    head = factory.axial_series(6, pixels=_glow)
    other = factory.axial_series(3, SeriesInstanceUID=factory.uid("ct"), Modality="CT")
    analysis = analyse(_bytes([*head, *other]), toy_registry())
    assert analysis.outcome is Outcome.FINDING
    assert {use.modality: use.used for use in analysis.series} == {"MR": True, "CT": False}
    assert analysis.identity.study_uid == factory.uid("study")


def test_a_folder_of_two_patients_is_refused() -> None:
    other = factory.axial_series(
        2, SeriesInstanceUID=factory.uid("other"), PatientID="SOMEBODY ELSE"
    )
    with pytest.raises(IdentityMismatch):
        analyse(_bytes([*factory.axial_series(2), *other]), toy_registry())


@pytest.mark.parametrize(
    ("outcomes", "gravest_of_all"),
    [
        ([], Outcome.NOT_ANALYSED),
        ([Outcome.NO_FINDING], Outcome.NO_FINDING),
        ([Outcome.NO_FINDING, Outcome.INDETERMINATE], Outcome.INDETERMINATE),
        ([Outcome.INDETERMINATE, Outcome.FINDING], Outcome.FINDING),
    ],
)
def test_the_study_is_as_grave_as_its_gravest_result(
    outcomes: list[Outcome], gravest_of_all: Outcome
) -> None:
    assert gravest(outcomes) is gravest_of_all


def test_every_bundled_package_answers_its_reference_cases() -> None:
    registry = load_registry()
    assert registry.packages
    assert {package.manifest.id: check_package(package) for package in registry.packages} == {
        package.manifest.id: [] for package in registry.packages
    }


@pytest.mark.data
def test_a_real_head_series_of_48_slices_is_answered() -> None:
    """Healthy, T1-weighted, from a scanner the model never saw: any answer but a tumour."""
    data = head_series()
    analysis = analyse(data, load_registry())
    (result,) = analysis.results
    assert len(data) == len(result.slices) == 48
    assert {gate.gate: gate.passed for gate in result.gates}["geometry"]
    assert {gate.gate: gate.passed for gate in result.gates}["quality"]
    assert result.outcome is not Outcome.FINDING
