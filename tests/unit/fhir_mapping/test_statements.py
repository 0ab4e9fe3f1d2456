"""What DiagnosticReport, Observation, Device and Provenance say, and what they must not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from fhir_mapping.codes import CHEST_XRAY_REPORT
from fhir_mapping.context import ModelFacts, ReportContext
from fhir_mapping.device import device
from fhir_mapping.identity import report_identity
from fhir_mapping.observation import observation
from fhir_mapping.provenance import provenance
from fhir_mapping.references import effective, imaging_study
from fhir_mapping.report import report
from fhir_mapping.wording import (
    conclusion,
    in_sentence,
    listed,
    possible,
    probability_band,
    quantity,
    result_sentence,
)
from inference.analysis import GateResult, ModelResult
from tests.unit.fhir_mapping.cases import (
    ABSTAINED,
    FULL_CONTEXT,
    FULL_REF,
    MEASURED,
    MEASURED_WITHOUT_SPACING,
    MINIMAL_CONTEXT,
    MINIMAL_REF,
    NEGATIVE,
    NOTHING_OUTLINED,
    OUTLINE_WITHHELD,
    RESULT,
    STUDY_UID,
    UNCODED_FINDING,
    analysis_of,
)

OUTLINED = [MEASURED, MEASURED_WITHOUT_SPACING, NOTHING_OUTLINED, OUTLINE_WITHHELD]
RESULTS = [RESULT, NEGATIVE, ABSTAINED, UNCODED_FINDING, *OUTLINED]


def observed(result: ModelResult, context: ReportContext = FULL_CONTEXT) -> dict[str, Any]:
    return observation(result, analysis_of(result), FULL_REF, context)


def reported(*results: ModelResult, context: ReportContext = FULL_CONTEXT) -> dict[str, Any]:
    return report(analysis_of(*results), results, FULL_REF, context)


def codes(concept: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in concept.get("coding", [])]


def test_a_finding_is_the_value_with_the_probability_of_each_label() -> None:
    made = observed(RESULT)
    assert codes(made["valueCodeableConcept"]) == ["393564001"]
    assert made["valueCodeableConcept"]["text"] == "Possible glioma"
    assert codes(made["interpretation"][0]) == ["POS"]
    assert "dataAbsentReason" not in made
    assert [part["valueQuantity"]["value"] for part in made["component"]] == [0.934, 0.041, 0.024]


def test_an_uncoded_finding_is_said_in_words() -> None:
    assert observed(UNCODED_FINDING)["valueCodeableConcept"] == {"text": "Possible lesion"}


def test_no_finding_is_the_absence_of_what_was_looked_for() -> None:
    made = observed(NEGATIVE)
    assert codes(made["valueCodeableConcept"]) == ["121054"]
    assert made["valueCodeableConcept"]["text"] == "No sign of glioma or meningioma"
    assert codes(made["interpretation"][0]) == ["NEG"]


def test_an_abstention_has_a_reason_and_neither_value_nor_probability() -> None:
    """R4 Observation, obs-6."""
    made = observed(ABSTAINED)
    assert codes(made["dataAbsentReason"]) == ["unknown"]
    assert "unlike the training data" in made["dataAbsentReason"]["text"]
    assert codes(made["interpretation"][0]) == ["IND"]
    assert not [key for key in made if key.startswith("value") or key == "component"]


@pytest.mark.parametrize("result", RESULTS)
def test_components_can_be_told_apart_and_are_not_the_observation_s_code(
    result: ModelResult,
) -> None:
    """R4 Observation, obs-7."""
    made = observed(result)
    own = [tuple(codes(part["code"])) for part in made.get("component", [])]
    assert len(set(own)) == len(own)
    assert all("122157" in item for item in own if result.task == "classification")
    assert not {c for item in own for c in item} & set(codes(made["code"]))


def test_an_outline_is_written_as_its_area_with_the_structure_beside_it() -> None:
    made = observed(MEASURED)
    assert codes(made["code"]) == ["42798000"]
    assert made["valueQuantity"] == {
        "value": 412,
        "unit": "mm²",
        "system": "http://unitsofmeasure.org",
        "code": "mm2",
    }
    part, structure = made["component"]
    assert (part["valueQuantity"]["value"], part["valueQuantity"]["code"]) == (6.1, "%")
    assert codes(structure["valueCodeableConcept"]) == ["39607008"]
    assert structure["valueCodeableConcept"]["text"] == "Possible lungs"
    assert "Pixels counted on image 2" in made["method"]["text"]
    assert made["device"]["reference"].startswith("urn:uuid:")
    assert made["derivedFrom"] == made["partOf"]
    assert "says nothing of disease" in made["note"][0]["text"]
    assert "interpretation" not in made


def test_without_spacing_an_outline_is_a_part_of_the_image_and_no_area() -> None:
    made = observed(MEASURED_WITHOUT_SPACING)
    assert "coding" not in made["code"]
    assert (made["valueQuantity"]["value"], made["valueQuantity"]["code"]) == (6.1, "%")


def test_an_empty_outline_has_no_size_and_a_withheld_one_a_reason() -> None:
    empty, withheld = observed(NOTHING_OUTLINED), observed(OUTLINE_WITHHELD)
    assert empty["valueCodeableConcept"] == {"text": "Nothing was outlined"}
    assert "valueQuantity" not in empty
    assert "component" not in withheld
    assert codes(withheld["interpretation"][0]) == ["IND"]
    assert "unlike the training data" in withheld["dataAbsentReason"]["text"]


@pytest.mark.parametrize("result", OUTLINED)
def test_no_outline_is_a_statement_of_disease(result: ModelResult) -> None:
    made = reported(result)
    assert "conclusionCode" not in made
    assert "no sign" not in made["conclusion"]
    assert "suggests" not in made["conclusion"]


def test_a_finding_comes_before_the_size_of_its_outline() -> None:
    said = reported(MEASURED, RESULT)["conclusion"]
    assert said.index("possible glioma") < said.index("area 412 mm² and part of the image 6.1 %")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (412.6, "mm2", "413 mm²"),
        (9.96, "mm2", "10.0 mm²"),
        (3.25, "mm2", "3.2 mm²"),
        (6.18, "%", "6.2 %"),
        (2.04, "mm", "2.0 mm"),
        (7.0, "cm", "7.0 cm"),
        (float("nan"), "mm2", "0 mm²"),
    ],
)
def test_a_size_has_no_more_digits_than_an_outline_is_good_for(
    value: float, unit: str, text: str
) -> None:
    assert quantity(value, unit) == text


def test_what_a_model_cannot_tell_apart_is_known_only_for_images_that_it_knows() -> None:
    doubt = GateResult("uncertainty", False, "small-margin", "Two answers are near.", 0.04, 0.1)
    unsure = replace(ABSTAINED, gates=(doubt,), prediction_set=("meningioma", "glioma", "x"))
    assert [label.key for label in possible(unsure)] == ["meningioma", "glioma"]
    assert possible(replace(unsure, gates=ABSTAINED.gates)) == ()
    assert possible(replace(unsure, prediction_set=("no-tumour",))) == ()
    assert possible(replace(RESULT, prediction_set=("glioma",))) == ()


def test_numbers_are_written_without_noise() -> None:
    """C27: three decimals, as JSON prints them."""
    written = json.dumps(observed(replace(RESULT, finding=None, outcome=NEGATIVE.outcome)))
    for number in re.findall(r'"value": ([0-9.]+)', written):
        assert len(number.partition(".")[2]) <= 3


@pytest.mark.parametrize("result", RESULTS)
def test_a_device_is_never_a_performer(result: ModelResult) -> None:
    """R4: DiagnosticReport.performer may be an Organization, a Device may not be one (C08, C30)."""
    for made in (observed(result), reported(result)):
        [performer] = made["performer"]
        assert performer == {
            "type": "Organization",
            "reference": "Organization/h1",
            "display": "General Hospital",
        }
        assert "resultsInterpreter" not in made
    assert "performer" not in reported(result, context=MINIMAL_CONTEXT)


def test_no_profile_is_claimed() -> None:
    """IMR and IDR need a person who interpreted (C09)."""
    assert "profile" not in json.dumps([observed(RESULT), reported(RESULT)])


def test_the_observation_belongs_to_the_study_the_order_the_visit_and_the_model() -> None:
    made = observed(RESULT)
    study = {
        "reference": "ImagingStudy/s1",
        "type": "ImagingStudy",
        "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}"},
    }
    assert codes(made["category"][0]) == ["imaging"]
    assert made["partOf"] == made["derivedFrom"] == [study]
    assert made["subject"] == {"reference": "Patient/p1"}
    assert made["encounter"] == {"reference": "Encounter/e1"}
    assert made["basedOn"] == [{"reference": "ServiceRequest/o1"}]
    assert made["device"]["reference"].startswith("urn:uuid:")
    assert codes(made["bodySite"]) == ["12738006"]


def test_a_study_without_an_id_is_referred_to_by_its_uid() -> None:
    assert "reference" not in imaging_study(MINIMAL_REF)


def test_the_note_says_what_the_reader_must_know() -> None:
    [note] = observed(NEGATIVE)["note"]
    for part in (
        "not reviewed",
        "not cleared",
        "4 images of one series",
        "Nothing else was assessed",
        "1 series of the study not analysed",
        "Trained on contrast-enhanced T1 slices only.",
    ):
        assert part in note["text"]


@pytest.mark.parametrize(
    ("ref", "written"),
    [
        (FULL_REF, {"effectiveDateTime": "2024-05-06T07:08:09Z"}),
        (replace(FULL_REF, started_text="2024-05"), {"effectiveDateTime": "2024-05"}),
        (
            replace(FULL_REF, started_text=None),
            {"effectiveDateTime": "2024-05-06T07:08:09+00:00"},
        ),
        (
            replace(FULL_REF, started_text=None, started=datetime(2024, 5, 6, 7)),  # noqa: DTZ001 -- the case
            {"effectiveDateTime": "2024-05-06"},
        ),
        (
            MINIMAL_REF,
            {
                "_effectiveDateTime": {
                    "extension": [
                        {
                            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                            "valueCode": "unknown",
                        }
                    ]
                }
            },
        ),
    ],
)
def test_the_time_is_that_of_the_images(ref: Any, written: dict[str, Any]) -> None:
    """US Core wants the element in a preliminary report: unknown is said, not left out (C06)."""
    assert effective(ref) == written


def test_issued_is_when_this_version_was_made() -> None:
    assert reported(RESULT)["issued"] == observed(RESULT)["issued"] == "2024-05-06T08:00:00.123Z"


def test_the_report_is_radiology_and_names_the_study_only_when_it_is_sure() -> None:
    made = reported(RESULT)
    assert codes(made["category"][0]) == ["RAD", "LP29684-5"]
    assert codes(made["code"]) == ["24590-2"]
    assert codes(reported(RESULT, context=MINIMAL_CONTEXT)["code"]) == ["18748-4"]
    chest = replace(RESULT, model_id="chest")
    facts = {**FULL_CONTEXT.models, "chest": ModelFacts(report_code=CHEST_XRAY_REPORT)}
    both = reported(RESULT, chest, context=replace(FULL_CONTEXT, models=facts))
    assert codes(both["code"]) == ["18748-4"]


def test_a_report_refers_to_its_study_and_its_order() -> None:
    made = reported(RESULT)
    assert [study["reference"] for study in made["imagingStudy"]] == ["ImagingStudy/s1"]
    assert made["basedOn"] == [{"reference": "ServiceRequest/o1"}]


def test_provenance_says_of_which_images_which_device_made_what() -> None:
    own = report_identity("north", FULL_REF)
    made: Any = provenance(
        analysis_of(RESULT), [RESULT], FULL_REF, FULL_CONTEXT, own=own, targets=[own.urn]
    )
    assert made["target"] == [{"reference": own.urn}]
    assert made["recorded"] == FULL_CONTEXT.instant
    assert codes(made["reason"][0]) == ["AIAST"]
    assert codes(made["activity"]) == ["CREATE"]
    author, assembler = made["agent"]
    assert codes(author["type"]) == ["author"]
    assert author["who"]["reference"] == observed(RESULT)["device"]["reference"]
    assert codes(assembler["type"]) == ["assembler"]
    images, card = made["entity"]
    assert (images["role"], images["what"]["reference"]) == ("source", "ImagingStudy/s1")
    assert analysis_of(RESULT).instance_digest in images["what"]["display"]
    assert card["role"] == "derivation"
    page = FULL_CONTEXT.facts(RESULT.model_id).card_url
    assert card["what"]["identifier"]["value"] == page


def test_a_provenance_names_each_card_once_and_none_that_is_not_known() -> None:
    own = report_identity("north", FULL_REF)

    def roles(context: ReportContext) -> list[str]:
        results = [RESULT, replace(RESULT, series_uid="1.2")]
        made: Any = provenance(
            analysis_of(*results), results, FULL_REF, context, own=own, targets=[own.urn]
        )
        return [entity["role"] for entity in made["entity"]]

    assert roles(FULL_CONTEXT) == ["source", "derivation"]
    assert roles(MINIMAL_CONTEXT) == ["source"]


def test_the_method_names_the_thresholds_that_held() -> None:
    """A site's own may be above the model's, and the Device is one for all sites."""
    first, *others = RESULT.probabilities
    raised = replace(RESULT, probabilities=(replace(first, threshold=0.875), *others))
    said = observed(raised)["method"]["text"]
    assert f"{first.display} from 0.875" in said
    assert all(item.display not in said for item in others if item.negative)


def test_only_a_stated_finding_is_a_conclusion_code() -> None:
    made = reported(RESULT, replace(RESULT, series_uid="1.2"), NEGATIVE, ABSTAINED)
    assert [codes(item) for item in made["conclusionCode"]] == [["393564001"]]
    assert "conclusionCode" not in reported(NEGATIVE, ABSTAINED)


def test_report_observation_and_conclusion_say_the_same() -> None:
    """C12: one sentence, made in one place."""
    for result in RESULTS:
        sentence = result_sentence(result)
        assert sentence in reported(result)["conclusion"]
        assert sentence in observed(result)["text"]["div"]


def test_findings_come_first_in_the_conclusion() -> None:
    said = conclusion([NEGATIVE, ABSTAINED, RESULT, RESULT])
    places = [said.index(word) for word in ("suggests possible", "gave no answer", "found no sign")]
    assert places == sorted(places)
    assert said.count("suggests") == 1


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("context", [FULL_CONTEXT, MINIMAL_CONTEXT], ids=["full", "minimal"])
def test_words_that_lull_are_never_used(result: ModelResult, context: ReportContext) -> None:
    """F14: nothing is diagnosed, confirmed or normal; a result is suggested and not reviewed."""
    made = [observed(result, context), reported(result, context=context)]
    said = json.dumps(made).lower()
    assert not re.search(r"\b(normal|healthy|confirmed|diagnosed|ruled out|certain)\b", said)
    assert said.count("not reviewed by a clinician") >= 3


@pytest.mark.parametrize(
    ("probability", "band"),
    [
        (-1.0, "under 5 %"),
        (0.0, "under 5 %"),
        (0.049, "under 5 %"),
        (0.05, "5–10 %"),
        (0.85, "85–90 %"),
        (0.8999, "85–90 %"),
        (0.9, "90–95 %"),
        (0.95, "over 95 %"),
        (1.0, "over 95 %"),
        (7.0, "over 95 %"),
        (float("nan"), "not known"),
    ],
)
def test_a_probability_is_a_band(probability: float, band: str) -> None:
    assert probability_band(probability) == band


@pytest.mark.parametrize(
    ("display", "inside"),
    [("Glioma", "glioma"), ("CNS lymphoma", "CNS lymphoma"), ("", "not stated")],
)
def test_a_display_fits_into_a_sentence(display: str, inside: str) -> None:
    assert in_sentence(display) == inside


def test_lists_read_well() -> None:
    assert [listed([]), listed("a"), listed("ab"), listed("abc")] == [
        "",
        "a",
        "a or b",
        "a, b or c",
    ]


def test_an_abstention_without_a_failed_gate_still_has_a_reason() -> None:
    assert "not certain enough" in result_sentence(replace(ABSTAINED, gates=()))


def test_a_device_is_a_version_of_a_model() -> None:
    made: dict[str, Any] = device(RESULT, FULL_CONTEXT)
    assert [item["value"] for item in made["version"]] == ["1.0.0", "ab" * 32, "int8"]
    assert made["manufacturer"] == "The scanhook project"
    assert {item["type"] for item in made["deviceName"]} == {"user-friendly-name", "model-name"}
    assert [item["valueQuantity"][0]["value"] for item in made["property"]] == [0.8, 0.8, 0.9]
    assert "udiCarrier" not in made
    assert "patient" not in made
    bare = device(replace(RESULT, probabilities=(), model_title=""), MINIMAL_CONTEXT)
    assert not {"property", "manufacturer", "url"} & set(bare)
