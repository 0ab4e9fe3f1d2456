"""A study whose chart states no DICOM UID, found in its archive by its accession number.

An accession number is one department's: another hospital's archive may have the same for somebody
else. So the archive must state a PatientID that is one of the chart's, whatever the site accepts of
studies that are known by their UID, and exactly one of this patient's studies may have the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from cds_service.clients.facts import StudyFacts
from cds_service.errors import ServiceError
from fhir_mapping.errors import PatientNotKnown
from fhir_mapping.study import StudyRef
from inference.errors import IdentityMismatch


class Index(Protocol):
    """An archive's list of studies (see `clients.dicomweb.Archive`)."""

    def find_study(self, *, accession: str) -> Sequence[StudyFacts]:
        """The studies with this accession number. Raises UpstreamError."""


class StudyNotFound(ServiceError):
    """The archive does not have the study, or not yet."""

    kind = "gone"
    retryable = True


class StudyNotOne(ServiceError):
    """Several studies of the patient have the accession number, and nothing says which is meant."""

    kind = "ambiguous"


def located(ref: StudyRef, archive: Index) -> StudyRef:
    """The study with its UID: that of the chart, else the archive's.

    Raises:
        StudyNotFound, StudyNotOne: the archive has none, or several.
        IdentityMismatch, PatientNotKnown: what it has is not known to be this patient's.
        UpstreamError: the archive did not answer.
    """
    if ref.study_uid or not ref.accession_number:
        return ref
    found = archive.find_study(accession=ref.accession_number.strip())
    if not found:
        raise StudyNotFound("the archive has no study with this accession number")
    own = [study for study in found if (study.patient_id or "").strip() in ref.patient_identifiers]
    if not own:
        raise _not_known(ref, found)
    if len({study.study_uid for study in own}) > 1:
        raise StudyNotOne("several studies of the patient have this accession number")
    return replace(ref, study_uid=own[0].study_uid)


def _not_known(ref: StudyRef, found: Sequence[StudyFacts]) -> Exception:
    comparable = ref.patient_identifiers and not ref.identifiers_left_out
    if comparable and all((study.patient_id or "").strip() for study in found):
        return IdentityMismatch("The accession number is that of another patient's study.")
    return PatientNotKnown("Nothing tells whose study has this accession number.")
