"""One study, one series, one patient: checked with every instance that arrives."""

from __future__ import annotations

from inference.analysis import StudyIdentity
from inference.boundary import contained
from inference.errors import (
    IdentityMismatch,
    IncompleteSeries,
    InferenceError,
    UnreadableInstance,
)
from inference.instance import Instance, text_of


def identity_of(instance: Instance) -> StudyIdentity:
    """Whose instance this is. Raises UnreadableInstance without its three UIDs."""
    if not (instance.study_uid and instance.series_uid and instance.sop_instance_uid):
        raise UnreadableInstance("The instance does not state its study, series and own UID.")
    with contained(_unreadable):
        return StudyIdentity(
            study_uid=instance.study_uid,
            patient_id=text_of(instance.header, "PatientID"),
            patient_id_issuer=text_of(instance.header, "IssuerOfPatientID"),
            accession_number=text_of(instance.header, "AccessionNumber"),
        )


class IdentityWatch:
    """Remembers the first instance's identity and refuses any other.

    `expected` says in advance whose study it must be; what it leaves empty is not compared.
    """

    def __init__(self, expected: StudyIdentity | None = None) -> None:
        self.identity: StudyIdentity | None = None
        self._expected = expected
        self._seen: set[str] = set()

    def admit(self, instance: Instance, series_uid: str) -> None:
        """Raise IdentityMismatch for another study, patient or series than the ones before.

        Raises IncompleteSeries when the same SOP Instance UID comes twice.
        """
        identity = identity_of(instance)
        if instance.series_uid != series_uid:
            raise IdentityMismatch("An instance belongs to another series than the one asked for.")
        if self.identity is None:
            self._meet_expectation(identity)
            self.identity = identity
        self._compare(identity, self.identity)
        if instance.sop_instance_uid in self._seen:
            raise IncompleteSeries("Two instances of the series have the same UID.")
        self._seen.add(instance.sop_instance_uid)

    def _meet_expectation(self, identity: StudyIdentity) -> None:
        expected = self._expected
        if expected is None:
            return
        if expected.study_uid and expected.study_uid != identity.study_uid:
            raise IdentityMismatch("The instances belong to another study than the one asked for.")
        if expected.patient_id and expected.patient_id != identity.patient_id:
            raise IdentityMismatch("The instances belong to another patient than expected.")

    @staticmethod
    def _compare(one: StudyIdentity, other: StudyIdentity) -> None:
        if one.study_uid != other.study_uid:
            raise IdentityMismatch("The instances belong to more than one study.")
        if (one.patient_id, one.patient_id_issuer) != (other.patient_id, other.patient_id_issuer):
            raise IdentityMismatch("The instances belong to more than one patient.")


def _unreadable(reason: str) -> InferenceError:
    return UnreadableInstance("The identity of the instance cannot be read.")
