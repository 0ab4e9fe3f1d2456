"""Models that outline, and models that follow others: the toy that outlines what is bright."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.analysis import Analysis, ModelResult, Outcome
from inference.contours import signed_area
from inference.pipeline import Analyser
from models.contract import SeriesFacts
from models.manifest import Chain, OutOfDistribution, PredictionSet
from models.registry import ModelPackage, Registry
from tests.reference import dicom_factory as factory
from tests.reference.toy import toy_cells, toy_outline, toy_package

SERIES = SeriesFacts(factory.uid("series"), modality="MR", body_part="HEAD", instances=6)
GLOWING = (2, 3, 4)  # slices, from 0
Pictures = Callable[[int], Any]


def _ground(index: int, spot: int = 0) -> Any:
    """A dim oval on black: nothing for the toys, but for a bright square of `spot` pixels."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    picture = np.where(np.hypot(x / 0.75, y / 0.9) < 1, 300, 0)
    picture = picture + np.random.default_rng(index).integers(0, 9, (64, 64))
    picture[20 : 20 + spot, 30 : 30 + spot] = 900
    picture[::6, ::60] = picture[::60, ::6] = 1000  # the top of the scale, too small to be kept
    return picture.astype(np.uint16)


def _nothing(index: int) -> Any:
    return _ground(index)


def _glow(index: int) -> Any:
    return _ground(index, spot=34 if index in GLOWING else 0)


def _small(index: int) -> Any:
    """Bright, too small for the classification, not for the outline."""
    return _ground(index, spot=7 if index == 4 else 0)


def _changed(package: ModelPackage, **parts: Any) -> ModelPackage:
    return replace(package, manifest=replace(package.manifest, **parts))


ALONE = _changed(toy_outline(), chain=None)
CHAINED = (toy_package(), toy_outline())


def _run(
    pictures: Pictures, *packages: ModelPackage, facts: SeriesFacts = SERIES, **elements: Any
) -> Analysis:
    data = [factory.encoded(ds) for ds in factory.axial_series(6, pixels=pictures, **elements)]
    with Analyser(Registry(packages)) as analyser:
        return analyser.analyse(analyser.plan([facts]), lambda _: data)


def _by_model(analysis: Analysis) -> dict[str, ModelResult]:
    return {result.model_id: result for result in analysis.results}


def _radiograph(pixels: Any, **elements: Any) -> ModelResult:
    """What the outline is of one image that says no more than its spacing."""
    data = factory.encoded(factory.instance(pixels, **elements))
    with Analyser(Registry((ALONE,))) as analyser:
        plan = analyser.plan([replace(SERIES, instances=1)])
        (result,) = analyser.analyse(plan, lambda _: [data]).results
    return result


def test_outlines_are_those_of_each_slice_and_the_largest_is_measured() -> None:
    analysis = _run(_glow, ALONE)
    (result,) = analysis.results
    assert analysis.outcome is result.outcome is Outcome.MEASURED
    assert [outline.slice_number for outline in result.outlines] == [3, 4, 5]
    largest = max(result.outlines, key=lambda outline: outline.area_fraction)
    assert result.deciding_slice == largest.slice_number
    area, share = result.measurements
    assert (area.value, area.unit) == (largest.area_mm2, "mm2")
    assert (share.value, share.unit) == (100 * largest.area_fraction, "%")
    assert area.slice_number == share.slice_number == largest.slice_number
    assert (result.task, result.structure, result.probabilities) == ("segmentation", "Glow", ())


def test_an_outline_is_measured_on_the_image_itself() -> None:
    """56 cells of the mask, 64 pixels of the image; a rectangle in mm for square cells."""
    result = _radiograph(_ground(0, spot=30), PixelSpacing=[0.5, 0.5])
    (outline,) = result.outlines
    assert outline.mask.shape == (64, 64)
    assert outline.mask.sum() == pytest.approx(900, abs=70)
    assert outline.mask[22:48, 32:58].all()
    assert outline.area_mm2 == pytest.approx(outline.mask.sum() * 0.25)
    assert outline.area_fraction == outline.mask.sum() / 64**2
    assert outline.mean_probability > 0.9
    assert sum(signed_area(line) for line in outline.contours) == outline.mask.sum()


@pytest.mark.parametrize(
    ("elements", "units", "plane"),
    [
        ({"PixelSpacing": [2.0, 2.0]}, ["mm2", "%"], False),
        ({}, ["%"], False),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, ["mm2", "%"], True),
        ({"ImagerPixelSpacing": [2.0, 2.0], "PixelSpacing": [2.0, 2.0]}, ["mm2", "%"], True),
        ({"ImagerPixelSpacing": [2.2, 2.2], "PixelSpacing": [2.0, 2.0]}, ["mm2", "%"], False),
    ],
)
def test_an_area_is_in_mm2_only_where_the_spacing_is_stated(
    elements: dict[str, Any], units: list[str], plane: bool
) -> None:
    """PS3.3 10.7.1: what was not corrected for the magnification is said to be so."""
    result = _radiograph(_ground(0, spot=30), **elements)
    assert result.outcome is Outcome.MEASURED
    assert [each.unit for each in result.measurements] == units
    assert (result.outlines[0].area_mm2 is not None) is ("mm2" in units)
    assert ("in the plane of the detector" in result.measurements[0].method) is plane


@pytest.mark.parametrize(
    ("margin", "elements"),
    [
        (((0, 0), (0, 64)), {}),
        (((0, 64), (0, 0)), {}),
        (((0, 0), (0, 0)), {"PixelSpacing": [1.0, 2.0]}),
        (((0, 0), (0, 0)), {"PixelSpacing": [1.5, 1.0]}),
    ],
)
def test_an_outline_lies_where_the_image_was_put_into_the_models_frame(
    margin: Any, elements: dict[str, Any]
) -> None:
    """The frame is square: what is wide, or has other pixels, is fitted into it with margins."""
    (outline,) = _radiograph(np.pad(_ground(0, spot=30), margin), **elements).outlines
    rows, columns = np.flatnonzero(outline.mask.any(1)), np.flatnonzero(outline.mask.any(0))
    assert [rows[0], rows[-1], columns[0], columns[-1]] == pytest.approx([20, 49, 30, 59], abs=1)


def test_nothing_outlined_is_indeterminate_and_says_so() -> None:
    (result,) = _run(_nothing, ALONE).results
    assert result.outcome is Outcome.INDETERMINATE
    assert [gate.kind for gate in result.reasons] == ["nothing-outlined"]
    assert (result.outlines, result.measurements) == ((), ())
    assert result.explanation is not None


def test_a_gate_that_does_not_hold_leaves_an_outline_unmeasured() -> None:
    (result,) = _run(_glow, ALONE, Modality="CT").results
    assert result.outcome is Outcome.INDETERMINATE
    assert [gate.kind for gate in result.reasons] == ["modality"]
    assert result.outlines
    assert not result.measurements


def test_an_outline_is_explained_by_its_probabilities() -> None:
    (result,) = _run(_glow, ALONE).results
    explanation = result.explanation
    assert explanation is not None
    assert (explanation.method, explanation.label_key) == ("outline", "glow-area")
    assert explanation.heatmap.shape == (56, 56)
    assert explanation.heatmap.dtype == np.float32
    assert explanation.slice_number == result.deciding_slice
    assert explanation.deletion_drop is None
    pictures = (explanation.image_png, explanation.overlay_png, explanation.figure_png)
    assert len({Image.open(io.BytesIO(png)).size for png in pictures}) == 1


def test_where_a_finding_is_stated_it_is_outlined_on_the_slices_that_decided() -> None:
    analysis = _run(_glow, *CHAINED)
    found = _by_model(analysis)
    assert analysis.outcome is found["toy-glow"].outcome is Outcome.FINDING
    assert found["toy-outline"].outcome is Outcome.MEASURED
    assert found["toy-outline"].slices_used == found["toy-glow"].slices_used == (3, 4, 5)
    assert found["toy-outline"].follows == "toy-glow"
    (series,) = analysis.series
    before, after = (found[name].model_title for name in ("toy-glow", "toy-outline"))
    assert [reason.kind for reason in series.reasons] == ["only-series", "goes-on"]
    assert series.reasons[1].sentence == f"{after} goes on from the answer of {before}."
    assert len(found["toy-outline"].slices) == 6
    assert analysis.models_not_run == ()
    assert "second-witness" not in {gate.gate for gate in found["toy-glow"].gates}


def test_a_witness_that_saw_nothing_either_lets_the_negative_stand() -> None:
    analysis = _run(_nothing, *CHAINED)
    found = _by_model(analysis)
    assert analysis.outcome is found["toy-glow"].outcome is Outcome.NO_FINDING
    assert found["toy-glow"].gates[-1].kind == "second-witness-agrees"
    assert found["toy-outline"].outcome is Outcome.MEASURED
    assert found["toy-outline"].slices_used == (1, 2, 3, 4, 5, 6)
    assert (found["toy-outline"].outlines, found["toy-outline"].explanation) == ((), None)


def test_a_witness_that_outlines_something_makes_the_negative_indeterminate() -> None:
    analysis = _run(_small, *CHAINED)
    found = _by_model(analysis)
    assert analysis.outcome is found["toy-glow"].outcome is Outcome.INDETERMINATE
    (gate,) = found["toy-glow"].reasons
    assert (gate.gate, gate.kind) == ("second-witness", "second-witness-disagrees")
    assert gate.sentence == (
        "A second model outlined something on image 5 (Glow) that this model did not find."
    )
    assert found["toy-glow"].finding is None
    assert found["toy-glow"].explanation is not None
    assert [outline.slice_number for outline in found["toy-outline"].outlines] == [5]


def test_without_its_witness_the_same_negative_stands() -> None:
    assert _run(_small, toy_package()).outcome is Outcome.NO_FINDING


def test_a_model_whose_chain_does_not_hold_is_not_run() -> None:
    chain = Chain("toy-glow", ("glimmer",))
    analysis = _run(_glow, toy_package(), _changed(toy_outline(), chain=chain))
    assert set(_by_model(analysis)) == {"toy-glow"}
    (use,) = analysis.models_not_run
    assert (use.model_id, [reason.kind for reason in use.reasons]) == ("toy-outline", ["chain"])
    assert [reason.kind for reason in analysis.series[0].reasons] == ["only-series"]


def test_a_claim_that_the_gates_refuse_is_not_followed() -> None:
    analysis = _run(_glow, *CHAINED, Modality="CT")
    assert set(_by_model(analysis)) == {"toy-glow"}
    assert [use.model_id for use in analysis.models_not_run] == ["toy-outline"]


def test_a_witness_unlike_whose_training_data_the_images_are_confirms_nothing() -> None:
    class_witness = _changed(
        toy_cells(),
        chain=Chain("toy-glow", ("none",), ("none",)),
        out_of_distribution=OutOfDistribution("roughness", -1.0, "by hand"),
    )
    found = _by_model(_run(_nothing, toy_package(), class_witness))
    assert found["toy-cells"].outcome is Outcome.INDETERMINATE
    assert [gate.kind for gate in found["toy-glow"].reasons] == ["second-witness-unsure"]


def test_a_witness_that_is_installed_and_not_served_leaves_the_negative_unstated(
    tmp_path: Path,
) -> None:
    ill = replace(toy_outline(), folder=tmp_path)
    analysis = _run(_nothing, toy_package(), ill)
    (result,) = analysis.results
    assert result.outcome is Outcome.INDETERMINATE
    assert [gate.kind for gate in result.reasons] == ["second-witness-missing"]
    assert [use.model_id for use in analysis.models_not_run] == ["toy-outline"]


def test_a_witness_that_may_not_read_the_series_leaves_the_negative_unstated() -> None:
    rule = replace(toy_outline().manifest.applies_to, modalities=("CT",))
    analysis = _run(_nothing, toy_package(), _changed(toy_outline(), applies_to=rule))
    assert [gate.kind for gate in analysis.results[0].reasons] == ["second-witness-missing"]
    (use,) = analysis.models_not_run
    assert [reason.kind for reason in use.reasons] == ["modality"]


def test_a_classification_may_follow_a_segmentation() -> None:
    chain = Chain("toy-outline", ("glow-area",))
    analysis = _run(_glow, ALONE, _changed(toy_cells(), chain=chain))
    found = _by_model(analysis)
    assert found["toy-cells"].outcome is analysis.outcome is Outcome.FINDING
    assert found["toy-cells"].follows == "toy-outline"


def test_the_answer_is_the_same_in_any_order_of_the_images_and_packages() -> None:
    series = factory.axial_series(6, pixels=_small)
    answers = []
    for data, packages in ((series, CHAINED), (series[::-1], CHAINED[::-1])):
        with Analyser(Registry(packages)) as analyser:
            encoded = [factory.encoded(ds) for ds in data]
            analysis = analyser.analyse(analyser.plan([SERIES]), lambda _, e=encoded: e)
        found = _by_model(analysis)
        outlines = [(o.slice_number, o.mask.sum()) for o in found["toy-outline"].outlines]
        answers.append((analysis.outcome, found["toy-glow"].gates, outlines))
    assert answers[0] == answers[1]


def test_the_set_of_labels_that_cannot_be_told_apart_is_told() -> None:
    stated = PredictionSet("split conformal (least ambiguous)", 0.9, 0.8, 0.9)
    (result,) = _run(_glow, _changed(toy_package(), prediction_set=stated)).results
    chances = {each.key: each.probability for each in result.probabilities}
    assert set(result.prediction_set) == {key for key, chance in chances.items() if chance >= 0.2}
    assert list(result.prediction_set) == sorted(result.prediction_set, key=lambda k: -chances[k])
    (without,) = _run(_glow, toy_package()).results
    assert without.prediction_set == ()


@pytest.mark.parametrize(("package", "method"), [(toy_package(), "cam"), (toy_cells(), "cells")])
def test_each_kind_of_head_has_a_map_of_what_speaks_for_the_finding(
    package: ModelPackage, method: str
) -> None:
    (result,) = _run(_glow, package).results
    assert result.outcome is Outcome.FINDING
    explanation = result.explanation
    assert explanation is not None
    assert explanation.method == method
    assert explanation.heatmap.shape == (7, 7)
    assert explanation.heatmap.max() == 1
    brightest = np.unravel_index(int(explanation.heatmap.argmax()), (7, 7))
    assert 2 <= brightest[0] <= 5, "where the bright square is"
    assert 3 <= brightest[1] <= 6
    assert explanation.deletion_drop is not None
    assert explanation.deletion_drop > 0.2


def test_a_graph_without_any_map_is_explained_by_blanking_parts_of_the_image() -> None:
    package = toy_package()
    outputs = replace(package.manifest.outputs, feature_map=None, class_weights=None)
    spec = replace(package.manifest.explanation, method="occlusion")
    (result,) = _run(_glow, _changed(package, outputs=outputs, explanation=spec)).results
    (with_maps,) = _run(_glow, package).results
    assert result.explanation is not None
    assert with_maps.explanation is not None
    assert (result.explanation.method, result.explanation.layer) == ("occlusion", "input")
    # the toy's cells are the patches: what is lost without one is what it adds
    assert result.explanation.heatmap == pytest.approx(with_maps.explanation.heatmap, abs=0.05)
