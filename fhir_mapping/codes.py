"""Every code that we write, with where it was read: the one table to check and to sign.

`source` names the publication in which code and meaning were seen together. No terminology
browser is asked at run time. Codes of findings are not here: they come with the model's manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MODALITY: Final = re.compile(
    r"[A-Z][A-Z0-9]{1,2}|ASMT|BDUS|IVOCT|IVUS|OPTBSV|OPTENF|PLAN|RESP|STAIN|TEXTUREMAP"
    r"|(?:CT|XA)PROTOCOL|RT(?:DOSE|IMAGE|INTENT|PLAN|RAD|RECORD|SEGANN|STRUCT)"
)
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1); the short ones are too short to name anybody."""

LOINC: Final = "http://loinc.org"
SCT: Final = "http://snomed.info/sct"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
UCUM: Final = "http://unitsofmeasure.org"
_THO: Final = "http://terminology.hl7.org/CodeSystem"

_R4: Final = "HL7 FHIR 4.0.1"
_THO_SOURCE: Final = "HL7 Terminology (THO); later than FHIR 4.0.1"
_PS3_16: Final = "DICOM PS3.16, as in pydicom 3.0.2"


@dataclass(frozen=True)
class Code:
    """A published concept and the publication it was read in."""

    system: str
    code: str
    display: str
    source: str

    def coding(self) -> dict[str, object]:
        """Return the FHIR ``Coding``."""
        return {"system": self.system, "code": self.code, "display": self.display}

    def concept(self, text: str | None = None) -> dict[str, object]:
        """Return a ``CodeableConcept`` with this coding and, if given, a text."""
        return concept(text, self)


def concept(text: str | None, *codes: Code) -> dict[str, object]:
    """Return a ``CodeableConcept`` of several codings that mean the same."""
    made: dict[str, object] = {"coding": [code.coding() for code in codes]} if codes else {}
    return made | ({"text": text} if text else {})


RADIOLOGY = Code(f"{_THO}/v2-0074", "RAD", "Radiology", _R4)
RADIOLOGY_LOINC = Code(LOINC, "LP29684-5", "Radiology", "US Core 6.1, DiagnosticReport category")
IMAGING = Code(f"{_THO}/observation-category", "imaging", "Imaging", _R4)

IMAGING_STUDY_REPORT = Code(LOINC, "18748-4", "Diagnostic imaging study", _R4)
MR_BRAIN_REPORT = Code(LOINC, "24590-2", "Brain MRI", _R4)
CHEST_XRAY_REPORT = Code(LOINC, "30745-4", "Chest X-ray", _R4)

FINDING = Code(DCM, "121071", "Finding", _PS3_16)
ABSENT = Code(DCM, "121054", "Absent", _PS3_16)
PROBABILITY = Code(DCM, "122157", "Probability", _PS3_16)
AREA = Code(SCT, "42798000", "Area", _PS3_16)

BRAIN = Code(SCT, "12738006", "Brain", _PS3_16)
CHEST = Code(SCT, "816094009", "Chest", _PS3_16)

_INTERPRETATION: Final = f"{_THO}/v3-ObservationInterpretation"
POSITIVE = Code(_INTERPRETATION, "POS", "Positive", _R4)
NEGATIVE = Code(_INTERPRETATION, "NEG", "Negative", _R4)
INDETERMINATE = Code(_INTERPRETATION, "IND", "Indeterminate", _R4)
UNKNOWN = Code(f"{_THO}/data-absent-reason", "unknown", "Unknown", _R4)

AI_ASSERTED = Code(
    f"{_THO}/v3-ObservationValue", "AIAST", "Artificial Intelligence asserted", _THO_SOURCE
)
TEST_DATA = Code(f"{_THO}/v3-ActReason", "HTEST", "test health data", _R4)

AUTHOR = Code(f"{_THO}/provenance-participant-type", "author", "Author", _R4)
ASSEMBLER = Code(f"{_THO}/provenance-participant-type", "assembler", "Assembler", _R4)
CREATE = Code(f"{_THO}/v3-DataOperation", "CREATE", "create", _R4)
NULLIFY = Code(f"{_THO}/v3-DataOperation", "NULLIFY", "nullify", _R4)

SOURCE_ROLE = Code(DCM, "110153", "Source Role ID", _PS3_16)
DESTINATION_ROLE = Code(DCM, "110152", "Destination Role ID", _PS3_16)
QUERY_EVENT = Code(DCM, "110112", "Query", _PS3_16)
TRANSFER_EVENT = Code(DCM, "110104", "DICOM Instances Transferred", _PS3_16)
INFORMATION_RECIPIENT = Code(f"{_THO}/v3-ParticipationType", "IRCP", "information recipient", _R4)
REST_OPERATION = Code(f"{_THO}/audit-event-type", "rest", "RESTful Operation", _R4)

TABLE: Final[tuple[Code, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Code)
)
"""All of the above, for the tests that check each against its publication."""

REPORT_CODES: Final[dict[tuple[str, str], Code]] = {
    ("MR", "BRAIN"): MR_BRAIN_REPORT,
    ("CR", "CHEST"): CHEST_XRAY_REPORT,
    ("DX", "CHEST"): CHEST_XRAY_REPORT,
}
"""(modality, DICOM body part) -> what such a study's report is called."""

BODY_SITES: Final[dict[str, Code]] = {"BRAIN": BRAIN, "CHEST": CHEST}
"""DICOM Body Part Examined (PS3.16 Annex L) -> SNOMED CT."""
