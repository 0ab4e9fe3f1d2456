"""Each code of the table against its publication, or on the list that somebody signed."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import Collection
from pydicom.sr.coding import Code as DicomCode

from fhir_mapping.codes import DCM, LOINC, SCT, TABLE, Code

SIGNED = {
    (LOINC, "LP29684-5"): "US Core 6.1 DiagnosticReport profile for report and note exchange",
    (LOINC, "18748-4"): "FHIR 4.0.1 value set c80-doc-typecodes",
    (LOINC, "24590-2"): "FHIR 4.0.1 value set c80-doc-typecodes",
    (LOINC, "30745-4"): "FHIR 4.0.1 value set c80-doc-typecodes",
}
"""Codes that no dictionary here holds, with where code and meaning were seen together."""

_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_P = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff(number: str) -> bool:
    """The check digit of a SNOMED CT identifier (Verhoeff 1969)."""
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = int(_D[check][int(_P[place % 8][int(digit)])])
    return check == 0


def mod10(code: str) -> bool:
    """The check digit of a LOINC code (Luhn); the letters of a part count from "0" in ASCII."""
    number, _, digit = code.partition("-")
    total = 0
    for place, character in enumerate(reversed(number)):
        weight = ord(character) - ord("0")
        total += weight if place % 2 else sum(divmod(2 * weight, 10))
    return -total % 10 == int(digit)


def of(system: str) -> list[Code]:
    return [code for code in TABLE if code.system == system]


def ids(codes: list[Code]) -> list[str]:
    return [f"{code.code} {code.display}" for code in codes]


def test_the_check_digits_find_a_typing_error() -> None:
    assert verhoeff("12738006")
    assert not verhoeff("12738060")
    assert mod10("24590-2")
    assert mod10("LP29708-2")
    assert not mod10("24950-2")
    assert not mod10("LP29648-5")


@pytest.mark.parametrize("code", of(SCT), ids=ids(of(SCT)))
def test_a_snomed_code_has_its_check_digit(code: Code) -> None:
    assert verhoeff(code.code)


@pytest.mark.parametrize("code", of(LOINC), ids=ids(of(LOINC)))
def test_a_loinc_code_has_its_check_digit_and_is_signed(code: Code) -> None:
    assert mod10(code.code)
    assert SIGNED[code.system, code.code]


@pytest.mark.parametrize("code", of(DCM) + of(SCT), ids=ids(of(DCM) + of(SCT)))
def test_a_dicom_code_means_in_the_dictionary_what_it_says_here(code: Code) -> None:
    """pydicom carries the codes of PS3.16, and the SNOMED CT codes that DICOM uses."""
    scheme = "DCM" if code.system == DCM else "SCT"
    found = [
        entry
        for entry in (getattr(Collection(scheme), name) for name in dir(Collection(scheme)))
        if isinstance(entry, DicomCode) and entry.value == code.code
    ]
    assert found
    assert code.display.lower() in {entry.meaning.lower() for entry in found}


def test_the_table_is_whole_and_every_row_has_its_source() -> None:
    assert len({(code.system, code.code) for code in TABLE}) == len(TABLE) >= 20
    for code in TABLE:
        assert code.system.startswith("http://")
        assert code.source
        assert code.display
