"""What a banner says of a Patient: the name that counts, when the person was born, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_mapping.banner import NAME_CHARACTERS, patient_banner


def named(*names: Any) -> str:
    return patient_banner({"resourceType": "Patient", "name": list(names)}).name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ({"text": "Ana Maria Sol"}, "Ana Maria Sol"),
        ({"family": "Sol", "given": ["Ana", "Maria"]}, "Ana Maria Sol"),
        (
            {"prefix": ["Dr."], "given": ["Ana"], "family": "Sol", "suffix": ["Jr."]},
            "Dr. Ana Sol Jr.",
        ),
        ({"text": " ", "family": "Sol"}, "Sol"),
        ({"family": "Sol", "given": "Ana"}, "Ana Sol"),
        ({"family": 7, "given": [None, {}]}, ""),
        ({"text": "Ana\u202eloS\nMaria"}, "AnaloS Maria"),
        ({"text": "Ana", "use": ["official"]}, "Ana"),
        ({}, ""),
    ],
)
def test_a_name_is_written_out_or_put_together(name: dict[str, Any], written: str) -> None:
    assert named(name) == written


def test_of_several_names_the_official_one_is_shown_and_never_an_old_one() -> None:
    old = {"use": "old", "text": "Before"}
    usual, official = {"use": "usual", "text": "Ann"}, {"use": "official", "text": "Ana"}
    assert named(old, usual, official) == "Ana"
    assert named(old, usual) == "Ann"
    assert named(old, {"use": "official"}, {"text": "Bare"}) == "Bare"
    assert named(old, {"use": "anonymous", "text": "Nobody"}) == ""


def test_a_name_has_an_end() -> None:
    assert len(named({"text": "x" * 10_000})) == NAME_CHARACTERS


@pytest.mark.parametrize(
    ("stated", "born", "gender"),
    [
        ({"birthDate": "1970-01-31", "gender": "female"}, "1970-01-31", "female"),
        ({"birthDate": "1970", "gender": "unknown"}, "1970", "unknown"),
        ({"birthDate": "1970-02-31", "gender": "F"}, "", ""),
        ({"birthDate": 1970, "gender": ["male"]}, "", ""),
        ({"birthDate": "<b>", "name": "Ana"}, "", ""),
        ({}, "", ""),
    ],
)
def test_what_is_not_stated_or_not_of_its_form_is_empty(
    stated: dict[str, Any], born: str, gender: str
) -> None:
    said = patient_banner(stated)
    assert (said.born, said.gender) == (born, gender)


def test_a_banner_in_a_log_says_nothing() -> None:
    said = patient_banner({"name": [{"text": "Ana"}], "birthDate": "1970", "gender": "male"})
    assert repr(said) == "PatientBanner()"
