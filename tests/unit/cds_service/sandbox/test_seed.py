"""The EHR's resources are made from headers: valid R4, whatever the headers leave out."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from pydicom import Dataset

from cds_service.sandbox.catalogue import Catalogue, StoredInstance, StoredSeries, StoredStudy
from cds_service.sandbox.seed import Resource, seed, service_request
from tests.unit.cds_service.sandbox.conftest import Folder

ARCHIVE = "http://archive.test/dicom-web"


def of_headers(**values: str) -> Catalogue:
    header = Dataset()
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"}
    for name, value in {**uids, **values}.items():
        setattr(header, name, value)
    instance = StoredInstance(Path("x"), 1, "1.2.840.10008.1.2", header)
    study = StoredStudy("1.2", (StoredSeries("1.3", (instance,)),))
    return Catalogue({"1.2": study})


def by_type(catalogue: Catalogue) -> dict[str, Resource]:
    return {resource["resourceType"]: resource for resource in seed(catalogue, ARCHIVE)}


HEADERS = [
    {},
    {"PatientName": "Only", "PatientSex": "O", "StudyDate": "20260230"},
    {"PatientName": "A^B^C", "PatientID": " 7 ", "PatientBirthDate": "19570312"},
    {"StudyDate": "20260108", "StudyTime": "091500.123", "Modality": "MR", "SeriesNumber": "4"},
    {"StudyDate": "20260108", "StudyTime": "late", "AccessionNumber": "A1"},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "StudyDescription": "D", "SeriesDescription": "S"},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_every_resource_is_valid_whatever_is_missing(headers: dict[str, str]) -> None:
    resources = [*seed(of_headers(**headers), ARCHIVE), service_request("p", "MR head", "e")]
    for resource in resources:
        kind = resource["resourceType"]
        module = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")
        getattr(module, kind).model_validate(resource)


@pytest.mark.parametrize(
    ("headers", "started"),
    [
        ({"StudyDate": "20260108", "StudyTime": "091500.123"}, "2026-01-08T09:15:00+00:00"),
        ({"StudyDate": "20260108", "StudyTime": "0915"}, "2026-01-08T09:15:00+00:00"),
        ({"StudyDate": "20260108"}, "2026-01-08"),
        ({"StudyTime": "091500"}, None),
        ({}, None),
    ],
)
def test_a_study_starts_when_its_headers_say(headers: dict[str, str], started: str | None) -> None:
    assert by_type(of_headers(**headers))["ImagingStudy"].get("started") == started


def test_the_patients_identifier_is_the_patient_id_of_the_images() -> None:
    patient = by_type(of_headers(PatientID=" 7 ", PatientName="Doe^Jo Ann"))["Patient"]
    assert [identifier["value"] for identifier in patient["identifier"]] == ["7"]
    assert patient["name"] == [{"family": "Doe", "given": ["Jo", "Ann"]}]


def test_two_runs_give_the_same_ids(folder: Folder) -> None:
    first, second = (
        [resource["id"] for resource in seed(folder.catalogue, ARCHIVE)] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == len(first)
