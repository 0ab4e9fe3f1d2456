"""ImagingStudy + Endpoint -> StudyRef."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.errors import (
    ArchiveNotAllowed,
    Contradiction,
    Malformed,
    MappingError,
    MissingElement,
    NotOurs,
    StudyNotAvailable,
)
from fhir_mapping.searchset import endpoints_in, resources_in
from fhir_mapping.study import (
    PatientRef,
    SeriesRef,
    StudyRef,
    content_keys,
    endpoint_references,
    patient_ref,
    study_ref,
    unusable_ref,
)

UID = "1.2.840.113619.2.1"
FHIR = "https://ehr.example.org/fhir"
PACS = "https://pacs.example.org/dicom-web"
OTHER = "https://other.example.org:8443/wado/rs"
ARCHIVES = ArchiveAddresses({"main": PACS, "other": f"{OTHER}/"}, default="main")
PATIENT = PatientRef("Patient/p1", ("MRN-1",))
ACSN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}


def imaging_study(**changes: Any) -> dict[str, Any]:
    """A complete ImagingStudy; a change of ``None`` takes an element away."""
    study = {
        "resourceType": "ImagingStudy",
        "id": "s1",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}],
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "started": "2024-05-06T07:08:09+02:00",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
        "numberOfSeries": 2,
        "numberOfInstances": 24,
        "series": [
            {"uid": f"{UID}.1", "modality": {"code": "MR"}, "numberOfInstances": 20},
            {"uid": f"{UID}.2", "modality": {"code": "SEG"}, "numberOfInstances": 4},
        ],
    }
    return {k: v for k, v in (study | changes).items() if v is not None}


def endpoint(address: str | None, **changes: Any) -> dict[str, Any]:
    """An active WADO-RS Endpoint."""
    made = {
        "resourceType": "Endpoint",
        "id": "e1",
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "payloadType": [{"text": "DICOM"}],
        "address": address,
    }
    return {k: v for k, v in (made | changes).items() if v is not None}


def read(
    study: object,
    endpoints: Mapping[str, object] | None = None,
    archives: ArchiveAddresses = ARCHIVES,
) -> StudyRef:
    return study_ref(study, patient=PATIENT, archives=archives, fhir_base=FHIR, endpoints=endpoints)


def at(address: str | None, **changes: Any) -> StudyRef:
    """Read a study whose one Endpoint has this address."""
    study = imaging_study(endpoint=[{"reference": "Endpoint/e1"}])
    return read(study, {"Endpoint/e1": endpoint(address, **changes)})


def test_a_complete_study_is_read_whole() -> None:
    study = imaging_study(
        basedOn=[{"reference": "ServiceRequest/o1", "identifier": {"type": ACSN, "value": "A1"}}],
        encounter={"reference": f"{FHIR}/Encounter/e1/_history/4"},
    )
    ref = read(study)
    assert ref == StudyRef(
        study_uid=UID,
        archive="main",
        patient_reference="Patient/p1",
        patient_identifiers=("MRN-1",),
        imaging_study_reference="ImagingStudy/s1",
        based_on_references=("ServiceRequest/o1",),
        encounter_reference="Encounter/e1",
        started=ref.started,
        started_text="2024-05-06T07:08:09+02:00",
        accession_number="A1",
        modalities=("MR", "SEG"),
        instances=24,
        series=(SeriesRef(f"{UID}.1", "MR", 20), SeriesRef(f"{UID}.2", "SEG", 4)),
    )
    assert ref.started == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "identifiers",
    [
        [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}],
        [{"system": "urn:dicom:uid", "value": UID}],
        [{"system": "urn:dicom:uid", "value": f"URN:OID:{UID}"}],
        [{"system": "URN:DICOM:UID", "value": f" urn:Oid:{UID} "}],
        [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{UID}"}],
        [{"value": UID}],
        [{"value": "1.2.3.4.5"}, {"system": "urn:dicom:uid", "value": UID}],
        [
            {"use": "old", "system": "urn:dicom:uid", "value": "9.9"},
            {"system": "urn:dicom:uid", "value": UID},
        ],
        [{"system": "urn:dicom:uid", "value": UID}] * 2,
        {"system": "urn:dicom:uid", "value": UID},
    ],
)
def test_the_study_uid_is_found_as_every_profile_writes_it(identifiers: object) -> None:
    """R4 ImagingStudy.identifier and what IMR, MADO and DSR write instead (C50)."""
    assert read(imaging_study(identifier=identifiers)).study_uid == UID


NUMBERED = [{"identifier": {"type": ACSN, "value": "A1"}}]


def test_without_a_uid_an_accession_number_names_the_study() -> None:
    """The archive knows its UID (C57); two such studies of a chart are told apart by their ids."""
    ref = read(imaging_study(identifier=None, basedOn=NUMBERED))
    assert (ref.study_uid, ref.accession_number) == ("", "A1")
    assert ref.name == ref.imaging_study_reference == "ImagingStudy/s1"
    assert read(imaging_study()).name == UID


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"identifier": None}, MissingElement),
        ({"identifier": None, "basedOn": NUMBERED, "id": None}, MissingElement),
        ({"identifier": [{"system": "urn:acc", "value": "1.2.3.4.5"}]}, MissingElement),
        (
            {"identifier": [{"system": "urn:dicom:uid", "value": "x"}], "basedOn": NUMBERED},
            Malformed,
        ),
        ({"identifier": [{"value": "20240506"}]}, MissingElement),
        ({"identifier": [{"system": "urn:dicom:uid", "value": "../../1.2"}]}, Malformed),
        ({"identifier": [{"system": "urn:dicom:uid", "value": "1..2"}]}, Malformed),
        ({"identifier": [{"system": "urn:dicom:uid", "value": "1." * 40}]}, Malformed),
        (
            {"identifier": [{"system": "urn:dicom:uid", "value": v} for v in ("1.2", "1.3")]},
            Contradiction,
        ),
        ({"subject": None}, NotOurs),
        ({"subject": {"reference": "Patient/p2"}}, NotOurs),
        ({"subject": {"reference": "https://elsewhere.example/fhir/Patient/p1"}}, NotOurs),
        ({"subject": {"reference": "Group/p1"}}, NotOurs),
        ({"subject": {"reference": "#p1"}}, NotOurs),
        ({"status": None}, MissingElement),
        ({"status": "registered"}, StudyNotAvailable),
        ({"status": "cancelled"}, StudyNotAvailable),
        ({"status": "entered-in-error"}, StudyNotAvailable),
        ({"status": "unknown"}, StudyNotAvailable),
        ({"status": "AVAILABLE"}, StudyNotAvailable),
        ({"resourceType": "Patient"}, Malformed),
    ],
)
def test_a_study_that_cannot_be_used_says_why(
    changes: dict[str, Any], error: type[MappingError]
) -> None:
    with pytest.raises(error):
        read(imaging_study(**changes))


@pytest.mark.parametrize("body", [None, "", "<html>", 7, [], {}, {"resourceType": "Bundle"}])
def test_something_else_than_a_study_is_malformed(body: object) -> None:
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p1",
        "Patient/p1/_history/1",
        f"{FHIR}/Patient/p1",
        "HTTPS://EHR.EXAMPLE.ORG:443/fhir/Patient/p1/_history/9",
        "urn:uuid:p1",
    ],
)
def test_the_subject_may_be_written_in_every_legal_way(reference: str) -> None:
    assert read(imaging_study(subject={"reference": reference})).patient_reference == "Patient/p1"


@pytest.mark.parametrize(
    ("address", "archive"),
    [
        (PACS, "main"),
        (f"{PACS}/", "main"),
        (f"{PACS}/studies", "main"),
        (f"{PACS}/studies/", "main"),
        (f"{PACS}/studies/{UID}", "main"),
        (f"{PACS}/study/{UID}", "main"),
        (f"{PACS}/studies/{UID}/series", "main"),
        (f"{PACS}/studies/{UID}/series/{UID}.1", "main"),
        (f"{PACS}/studies/{UID}/series/{UID}.1/instances/{UID}.1.1", "main"),
        ("HTTPS://PACS.Example.org:443/dicom-web", "main"),
        (OTHER, "other"),
        (f"{OTHER}/study/{UID}/series/{UID}.1/", "other"),
        ("http://notspecified", "main"),
        ("http://notapplicable/", "main"),
        ("HTTP://NotSpecified", "main"),
        ("", "main"),
        (None, "main"),
    ],
)
def test_an_address_selects_an_archive_of_the_list(address: str | None, archive: str) -> None:
    """Base, study path, series path, placeholder: C55."""
    assert at(address).archive == archive


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/dicom-web",
        "http://pacs.example.org/dicom-web",
        "https://pacs.example.org:8443/dicom-web",
        "https://pacs.example.org.evil.example/dicom-web",
        "https://evil.example@pacs.example.org/dicom-web",
        "https://pacs.example.org@evil.example/dicom-web",
        "https://pacs.example.org/dicom-web-2",
        "https://pacs.example.org/dicom-web/../admin",
        "https://pacs.example.org/dicom-web/%2e%2e/admin",
        "https://pacs.example.org/x/%2e%2e/dicom-web",
        "https://pacs.example.org/DICOM-WEB",
        "https://pacs.example.org/dicom%2Dweb",
        "https://pacs.example.org//dicom-web",
        "https://pacs.example.org\\@evil.example/dicom-web",
        "https://pacs.example.org/dicom-web?x=1",
        "https://pacs.example.org/dicom-web#x",
        "https://pacs.example.org/dicom-web/studies/../x",
        "https://pacs.example.org/dicom-web/instances",
        f"https://pacs.example.org/dicom-web/studies/{UID}/metadata",
        f"https://pacs.example.org/dicom-web/studies/{UID}/series/1.2/instances/1.3/frames",
        "https://pacs.example.org:https/dicom-web",
        "https://pacs.example.org:99999/dicom-web",
        "https://[::1/dicom-web",
        "ftp://pacs.example.org/dicom-web",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//evil.example/dicom-web",
        "https://pacs。example.org.evil/dicom-web",
        "https://2130706433/dicom-web",
        "https://pacs.example.org/dicom-web\r\nHost: evil",
        "https://" + "a" * 5000,
        "\ud800",
    ],
)
def test_an_address_that_is_not_on_the_list_is_refused(address: str) -> None:
    """No connection, and no fall-back to the default either: C58."""
    with pytest.raises(ArchiveNotAllowed):
        at(address)


def test_an_address_of_another_study_is_a_contradiction() -> None:
    with pytest.raises(Contradiction):
        at(f"{PACS}/studies/1.2.3")


@pytest.mark.parametrize("address", ["wado", "/fhir/wado", "wado/studies"])
def test_a_relative_address_belongs_to_the_fhir_server(address: str) -> None:
    archives = ArchiveAddresses({"ehr": f"{FHIR}/wado"})
    study = imaging_study(endpoint=[{"reference": "Endpoint/e1"}])
    assert read(study, {"Endpoint/e1": endpoint(address)}, archives).archive == "ehr"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "off"},
        {"status": "error"},
        {"status": "entered-in-error"},
        {"connectionType": {"code": "dicom-wado-uri"}},
        {"connectionType": {"code": "ihe-iid"}},
        {"connectionType": None},
        {"resourceType": "Organization"},
    ],
)
def test_an_endpoint_that_is_no_active_wado_rs_service_is_as_none(changes: dict[str, Any]) -> None:
    assert at("https://evil.example", **changes).archive == "main"


def test_the_first_allowed_endpoint_is_taken() -> None:
    study = imaging_study(endpoint=[{"reference": f"Endpoint/{n}"} for n in "abc"])
    found = {
        "Endpoint/a": endpoint("https://x.example", connectionType={"code": "ihe-iid"}),
        "Endpoint/b": endpoint("https://evil.example"),
        "Endpoint/c": endpoint(OTHER),
    }
    assert read(study, found).archive == "other"


def test_an_r5_endpoint_is_understood() -> None:
    kind = [{"coding": [{"code": "dicom-wado-rs"}]}]
    assert at(OTHER, connectionType=kind).archive == "other"


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Endpoint/e1", "Endpoint/e1"),
        ("Endpoint/e1/_history/2", "Endpoint/e1"),
        (f"{FHIR}/Endpoint/e1", "Endpoint/e1"),
        (f"{FHIR}/Endpoint/e1", f"{FHIR}/Endpoint/e1"),
        ("urn:uuid:0f", "urn:uuid:0f"),
    ],
)
def test_an_endpoint_is_found_by_every_form_of_reference(reference: str, key: str) -> None:
    study = imaging_study(endpoint=[{"reference": reference}])
    assert read(study, {key: endpoint(OTHER)}).archive == "other"


def test_a_contained_endpoint_is_found() -> None:
    study = imaging_study(endpoint=[{"reference": "#e1"}], contained=[endpoint(OTHER)])
    assert read(study).archive == "other"
    assert endpoint_references(study, FHIR) == ()


def test_a_series_endpoint_overrides_that_of_the_study() -> None:
    """R4 ImagingStudy.endpoint applies to each series unless the series has its own (C53)."""
    series = [
        {"uid": f"{UID}.1", "endpoint": [{"reference": "Endpoint/o"}]},
        {"uid": f"{UID}.2"},
        {"uid": f"{UID}.3", "endpoint": [{"reference": "Endpoint/m"}]},
    ]
    study = imaging_study(endpoint=[{"reference": "Endpoint/m"}], series=series)
    ref = read(study, {"Endpoint/o": endpoint(OTHER), "Endpoint/m": endpoint(PACS)})
    assert ref.archive == "main"
    assert [item.archive for item in ref.series] == ["other", None, None]
    assert endpoint_references(study, FHIR) == ("Endpoint/m", "Endpoint/o")


def test_the_archive_of_all_series_is_the_archive_of_the_study() -> None:
    series = [{"uid": f"{UID}.{n}", "endpoint": [{"reference": "Endpoint/o"}]} for n in (1, 2)]
    ref = read(imaging_study(series=series), {"Endpoint/o": endpoint(OTHER)})
    assert (ref.archive, {item.archive for item in ref.series}) == ("other", {None})


def test_a_series_in_an_archive_that_is_not_allowed_refuses_the_study() -> None:
    series = [{"uid": f"{UID}.1", "endpoint": [{"reference": "Endpoint/x"}]}]
    with pytest.raises(ArchiveNotAllowed):
        read(imaging_study(series=series), {"Endpoint/x": endpoint("https://evil.example")})


def test_no_endpoint_and_no_default_is_a_missing_element() -> None:
    with pytest.raises(MissingElement):
        read(imaging_study(), archives=ArchiveAddresses({"main": PACS}))


def test_endpoints_of_other_servers_are_not_to_be_read() -> None:
    written = [
        "Endpoint/a",
        "https://evil.example/fhir/Endpoint/b",
        "Patient/p1",
        "#c",
        "Endpoint/a",
    ]
    study = imaging_study(endpoint=[{"reference": item} for item in written])
    assert endpoint_references(study, FHIR) == ("Endpoint/a",)


@pytest.mark.parametrize(
    ("written", "text", "known"),
    [
        ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z", True),
        ("2024-05-06T07:08:09.123456789+01:00", "2024-05-06T07:08:09.123456789+01:00", True),
        ("2024-05-06", "2024-05-06", False),
        ("2024", "2024", False),
        ("2024-05-06T07:08:09", None, False),
        ("2024-02-30", None, False),
        ("20240506", None, False),
        ("yesterday", None, False),
        (20240506, None, False),
        (None, None, False),
    ],
)
def test_the_time_is_kept_as_precisely_as_it_was_written(
    written: object, text: str | None, known: bool
) -> None:
    ref = read(imaging_study(started=written))
    assert (ref.started_text, ref.started is not None) == (text, known)


@pytest.mark.parametrize(
    ("changes", "accession"),
    [
        ({"identifier": "typed"}, "A7"),
        ({"basedOn": [{"identifier": {"type": ACSN, "value": "B8"}}]}, "B8"),
        ({"basedOn": [{"identifier": {"type": ACSN, "value": v}} for v in "12"]}, None),
        ({"basedOn": [{"identifier": {"value": "B8"}}]}, None),
        ({}, None),
    ],
)
def test_the_accession_number_is_known_by_its_type(
    changes: dict[str, Any], accession: str | None
) -> None:
    """C52; two of them are none, since nobody says which is the images'."""
    if changes.get("identifier") == "typed":
        changes = {
            "identifier": [
                {"system": "urn:dicom:uid", "value": UID},
                {"type": ACSN, "value": "A7"},
            ]
        }
    assert read(imaging_study(**changes)).accession_number == accession


def test_a_study_that_cannot_be_fetched_keeps_what_a_person_knows_it_by() -> None:
    found = unusable_ref(imaging_study(identifier=[]), PATIENT)
    whole = read(imaging_study())
    assert (found.study_uid, found.archive) == ("", "")
    assert (found.started_text, found.modalities) == (whole.started_text, whole.modalities)
    assert unusable_ref("<html>", PATIENT) == StudyRef("", "", PATIENT.reference)


def test_the_patient_is_the_one_of_the_context() -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"value": "MRN-1"}, {"value": " "}, {"value": 7}, {"value": "MRN-1"}],
    }
    assert patient_ref("p1", patient) == PATIENT
    assert patient_ref("Patient/p1") == PatientRef("Patient/p1")
    with pytest.raises(NotOurs):
        patient_ref("p2", patient)
    for wrong in ("", "a/b", "../p1", "p1?x"):
        with pytest.raises(Malformed):
            patient_ref(wrong)
    with pytest.raises(Malformed):
        patient_ref("p1", {"resourceType": "OperationOutcome"})


def test_a_list_of_archives_is_checked_when_it_is_made() -> None:
    for bases, default in (({"a": PACS}, "b"), ({"a": "ftp://x"}, "a"), ({"a": "pacs"}, None)):
        with pytest.raises(Malformed):
            ArchiveAddresses(bases, default)


def test_the_closest_archive_of_the_list_is_selected() -> None:
    nested = ArchiveAddresses({"root": "https://p.example", "rs": "https://p.example/rs"})
    assert nested.select(f"https://p.example/rs/studies/{UID}", UID) == "rs"
    assert nested.select(f"https://p.example/studies/{UID}", UID) == "root"


def test_content_keys_change_when_the_study_grows_and_with_nothing_else() -> None:
    ref = read(imaging_study())
    assert content_keys(ref) == content_keys(replace(ref, series=ref.series[::-1], started=None))
    assert content_keys(ref) == content_keys(replace(ref, archive="other", modalities=()))
    assert None not in content_keys(ref)
    grown = [
        replace(ref, instances=25),
        replace(ref, series=ref.series[:1]),
        replace(ref, series=(replace(ref.series[0], instances=21), ref.series[1])),
        replace(ref, study_uid="1.2"),
    ]
    assert len({content_keys(ref), *map(content_keys, grown)}) == 5


def test_what_is_not_stated_of_the_content_is_unknown_and_nothing_else_changes() -> None:
    ref = read(imaging_study())
    instances, series, counts = content_keys(ref)
    assert content_keys(replace(ref, instances=None)) == (None, series, counts)
    assert content_keys(replace(ref, series=())) == (instances, None, None)
    uncounted = (replace(ref.series[0], instances=None), *ref.series[1:])
    assert content_keys(replace(ref, series=uncounted)) == (instances, series, None)


def test_content_keys_cope_with_a_series_that_is_listed_twice() -> None:
    series = (SeriesRef("1.2.1"), SeriesRef("1.2.1", instances=3), SeriesRef("1.2.2"))
    found = content_keys(StudyRef("1.2", "main", "Patient/p1", series=series))
    assert (found[0], found[2]) == (None, None)
    assert found[1] is not None
    assert found[1][0] == 2


def test_the_counts_of_a_study_tell_more_from_less() -> None:
    found = content_keys(read(imaging_study()))
    assert [key and key[0] for key in found] == [24, 2, 24]


OURS = f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'evidence').int}"
THEIRS = f"2.25.{uuid.UUID('a3bb189e-8bf9-4888-9912-ace4e6543002').int}"


@pytest.mark.parametrize(
    ("series_uid", "members", "ours"),
    [
        (OURS, {"number": 9001}, True),
        (OURS, {"description": "AI outline: Lesions"}, True),
        (OURS, {"number": 3, "description": "AI strategy"}, False),
        (OURS, {}, False),
        (OURS, {"modality": {"code": "SR"}}, True),
        (OURS, {"modality": {"code": "SEG"}}, True),
        (OURS, {"modality": {"code": "MR"}}, False),
        (OURS, {"modality": {"code": "SR"}, "number": 3}, False),
        (OURS, {"modality": {"code": "SR"}, "description": "Dose"}, False),
        (THEIRS, {"modality": {"code": "SR"}}, False),
        (THEIRS, {"number": 9001, "description": "AI report: Lesions"}, False),
        ("1.2.3", {"number": 9001}, False),
        ("2.25.9" + "9" * 40, {"number": 9001}, False),
    ],
)
def test_a_series_that_we_made_is_no_part_of_the_study(
    series_uid: str, members: dict[str, Any], ours: bool
) -> None:
    before, study = read(imaging_study()), imaging_study()
    study["series"].append({"uid": series_uid, "numberOfInstances": 2, **members})
    study["numberOfInstances"] += 2
    assert (content_keys(read(study)) == content_keys(before)) is ours


def test_resources_are_taken_out_of_whatever_holds_them() -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": f"{FHIR}/ImagingStudy/s1", "resource": imaging_study()},
            {"fullUrl": f"{FHIR}/Endpoint/e1", "resource": endpoint(PACS)},
            {"resource": {"resourceType": "OperationOutcome"}},
            {"fullUrl": 3, "resource": []},
            None,
        ],
    }
    assert resources_in(bundle, "ImagingStudy") == (imaging_study(),)
    assert set(endpoints_in(bundle)) == {"Endpoint/e1", f"{FHIR}/Endpoint/e1"}
    assert resources_in(imaging_study(), "ImagingStudy") == (imaging_study(),)
    nothing: object
    for nothing in (None, "<html>", [], {"resourceType": "OperationOutcome"}, {"entry": []}):
        assert resources_in(nothing, "ImagingStudy") == ()
        assert endpoints_in(nothing) == {}
