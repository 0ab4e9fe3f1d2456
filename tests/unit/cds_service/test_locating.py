"""A study without a UID is found by its accession number, if it is surely this patient's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from cds_service.clients.errors import Unreachable
from cds_service.clients.facts import StudyFacts
from cds_service.locating import StudyNotFound, StudyNotOne, located
from fhir_mapping.errors import PatientNotKnown
from fhir_mapping.study import StudyRef
from inference.errors import IdentityMismatch

UNNAMED = StudyRef("", "pacs", "Patient/p1", ("MRN-1", "X2"), "ImagingStudy/s1")
ASKED = replace(UNNAMED, accession_number=" A1 ")
OWN = StudyFacts("1.2.3", "A1", "MRN-1")


@dataclass
class Archive:
    """A list of studies; notes what it was asked."""

    studies: Sequence[StudyFacts] = ()
    asked: list[str] = field(default_factory=list)

    def find_study(self, *, accession: str) -> Sequence[StudyFacts]:
        self.asked.append(accession)
        return self.studies


def test_the_archive_says_which_study_has_the_accession_number() -> None:
    archive = Archive([OWN])
    assert located(ASKED, archive) == replace(ASKED, study_uid="1.2.3")
    assert archive.asked == ["A1"]


@pytest.mark.parametrize("ref", [replace(ASKED, study_uid="1.9"), UNNAMED])
def test_a_study_that_has_a_uid_or_no_number_is_not_looked_for(ref: StudyRef) -> None:
    archive = Archive([OWN])
    assert located(ref, archive) is ref
    assert archive.asked == []


def test_of_studies_with_the_number_the_patient_s_own_is_taken() -> None:
    others = [StudyFacts("1.2.4", "A1", "MRN-9"), StudyFacts("1.2.5", "A1")]
    assert located(ASKED, Archive([*others, OWN, OWN])).study_uid == "1.2.3"


@pytest.mark.parametrize(
    ("ref", "found", "error"),
    [
        (ASKED, [], StudyNotFound),
        (ASKED, [OWN, replace(OWN, study_uid="1.2.4", patient_id="X2")], StudyNotOne),
        (ASKED, [replace(OWN, patient_id="MRN-9")], IdentityMismatch),
        (ASKED, [replace(OWN, patient_id="MRN-9"), replace(OWN, patient_id=None)], PatientNotKnown),
        (ASKED, [replace(OWN, patient_id=None)], PatientNotKnown),
        (ASKED, [replace(OWN, patient_id=" ")], PatientNotKnown),
        (replace(ASKED, patient_identifiers=()), [OWN], PatientNotKnown),
        (replace(ASKED, patient_identifiers=("9",), identifiers_left_out=True), [OWN],
         PatientNotKnown),
    ],
)  # fmt: skip
def test_what_is_not_surely_this_patient_s_one_study_is_none(
    ref: StudyRef, found: list[StudyFacts], error: type[Exception]
) -> None:
    """A number is one department's: a study of that number alone is no evidence of whose it is."""
    with pytest.raises(error) as raised:
        located(ref, Archive(found))
    assert "MRN" not in str(raised.value)
    assert raised.value.retryable is (error is StudyNotFound)  # type: ignore[attr-defined]  # each has it


def test_an_archive_that_does_not_answer_is_asked_again() -> None:
    class Silent:
        def find_study(self, *, accession: str) -> Sequence[StudyFacts]:
            raise Unreachable("the archive does not answer")

    with pytest.raises(Unreachable):
        located(ASKED, Silent())
