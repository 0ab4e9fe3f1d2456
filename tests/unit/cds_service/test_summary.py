"""What the record keeps of an analysis, and comes back from JSON as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cds_service.paragraphs import provenance
from cds_service.summary import StudySummary, summarise
from inference.analysis import GateResult, ModelUse, Outcome, SeriesUse
from inference.serving import NOT_SERVED
from models.contract import Reason
from tests.unit.fhir_mapping.cases import ABSTAINED, MEASURED, RESULT, analysis_of


def series_use(*reasons: Reason) -> SeriesUse:
    return SeriesUse("1.2.3", 1, "US", used=False, instances=4, reasons=reasons)


DOUBT = GateResult("uncertainty", False, "small-margin", "Two answers are near.", 0.04, 0.1)


def test_an_outline_keeps_its_sizes_and_whose_answer_it_follows() -> None:
    outline = replace(MEASURED, follows=RESULT.model_id)
    made = summarise(analysis_of(RESULT, outline), 1)
    (kept,) = made.outlines_of(made.results[0])
    assert [(m.value, m.unit) for m in kept.measurements] == [(412, "mm2"), (6.1, "%")]
    assert (kept.structure, kept.outlined, kept.task) == ("Lungs", 1, "segmentation")
    assert StudySummary.from_json(made.to_json()) == made


def test_what_cannot_be_told_apart_is_kept_in_the_order_of_the_set() -> None:
    unsure = replace(ABSTAINED, gates=(DOUBT,), prediction_set=("meningioma", "glioma"))
    made = summarise(analysis_of(unsure), 1)
    assert [label.key for label in made.results[0].possible] == ["meningioma", "glioma"]


def test_a_failed_self_test_is_told_without_its_numbers() -> None:
    """What exactly went wrong is for whoever runs the service, not for a chart."""
    sentence = "toy is 0.5 away from its reference case 'block.png'; at most 0.001 is allowed."
    use = ModelUse("toy", "1.0.0", (Reason(NOT_SERVED, sentence),))
    nothing = replace(analysis_of(), outcome=Outcome.NOT_ANALYSED, models_not_run=(use,))
    told = summarise(nothing, 1).not_analysed[0]
    assert told.sentence == "Not analysed: the model toy 1.0.0 failed its self-test."


def test_each_reason_of_a_study_that_no_model_reads_names_its_models() -> None:
    """A bare ultrasound study: what one model reads says nothing without the model's name."""
    mr, plane = Reason("modality", "The model reads MR only."), Reason("colour", "In colour.")
    uses = (ModelUse("brain", "1.0", (mr, plane)), ModelUse("chest", "2.0", (plane,)))
    other = Reason("no-model", "No model is in use.")
    nothing = replace(
        analysis_of(),
        outcome=Outcome.NOT_ANALYSED,
        models_not_run=uses,
        series=(series_use(mr, plane), series_use(other)),
    )
    told = summarise(nothing, 1).not_analysed
    assert [reason.sentence for reason in told] == [
        "brain 1.0: The model reads MR only.",
        "brain 1.0 and chest 2.0: In colour.",
        "No model is in use.",
    ]
    assert [reason.kind for reason in told] == ["modality", "colour", "no-model"]


def test_a_summary_of_an_earlier_version_is_still_read() -> None:
    old = summarise(analysis_of(RESULT), 1).to_json()
    for result in old["results"]:
        for added in ("possible", "task", "structure", "outlined", "measurements", "follows"):
            del result[added]
    assert StudySummary.from_json(old).finding is not None


def test_images_that_two_models_read_are_counted_once() -> None:
    another, elsewhere = replace(RESULT, model_id="b"), replace(RESULT, series_uid="1.2.9")
    own = len(RESULT.slices)
    counted = [
        summarise(analysis_of(*results), 1).images
        for results in ((RESULT,), (RESULT, another), (RESULT, another, elsewhere))
    ]
    assert counted == [own, own, 2 * own]


@pytest.mark.parametrize(("images", "said"), [(1, "1 image in"), (24, "24 images in")])
def test_one_image_is_said_as_one(images: int, said: str) -> None:
    found = summarise(analysis_of(RESULT), 1).model_copy(update={"images": images})
    assert said in provenance(found)
