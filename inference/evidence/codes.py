"""Concepts of the objects, each from DICOM's own tables (PS3.16) or the model's manifest."""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.analysis import LabelProbability, Measurement
from models.contract import Coding
from models.manifest import Label, Manifest

PRIVATE = "99SCANHOOK"
"""Designator of what has no published code: the manifest's own key for it (PS3.16 8.2)."""

SCHEME = CodingSchemeIdentificationItem(
    designator=PRIVATE, name="Keys of scanhook model packages", responsible_organization="scanhook"
)

FAMILY = CodedConcept.from_code(codes.DCM.ArtificialIntelligence)
AREA = CodedConcept.from_code(codes.SCT.Area)
PROBABILITY = CodedConcept.from_code(codes.DCM.Probability)
NO_UNITS = CodedConcept.from_code(codes.UCUM.NoUnits)
PRESENCE = CodedConcept.from_code(codes.DCM.PresenceOfProperty)
PRESENT = CodedConcept.from_code(codes.SCT.Present)
ABSENT = CodedConcept.from_code(codes.SCT.Absent)
UNDETERMINED = CodedConcept.from_code(codes.DCM.PresenceUndetermined)
STRUCTURE = CodedConcept.from_code(codes.SCT.AnatomicalStructure)
ABNORMAL = CodedConcept.from_code(codes.SCT.MorphologicallyAbnormalStructure)
SALIENCY = CodedConcept.from_code(codes.DCM.Saliency)

_DESIGNATORS = {
    "http://snomed.info/sct": "SCT",
    "http://loinc.org": "LN",
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    "http://radlex.org": "RADLEX",
    "http://unitsofmeasure.org": "UCUM",
}
"""FHIR's names of code systems -> DICOM's (PS3.16 8, Table 8-1)."""

_SITES = {
    "BRAIN": codes.SCT.Brain,
    "HEAD": codes.SCT.Head,
    "CHEST": codes.SCT.Chest,
}
"""Body Part Examined (PS3.16 Annex L) -> the site, as far as models here read it."""

_PROCEDURES = {
    "MR": codes.LN.MRIUnspecifiedBodyRegion,
    "CT": codes.LN.CTUnspecifiedBodyRegion,
    "CR": codes.LN.XRUnspecifiedBodyRegion,
    "DX": codes.LN.XRUnspecifiedBodyRegion,
    "NM": codes.LN.NMUnspecifiedBodyRegion,
    "PT": codes.LN.PETUnspecifiedBodyRegion,
}

_UNITS = {"mm2": "square millimeter", "mm": "millimeter", "%": "percent", "mL": "milliliter"}


def concept(coding: Coding | None, key: str, display: str) -> CodedConcept:
    """A manifest's code, or its key under our own designator where it states none we know."""
    designator = _DESIGNATORS.get(coding.system) if coding else None
    if coding is None or designator is None:
        return CodedConcept(key[:64], PRIVATE, _meaning(display))
    return CodedConcept(coding.code, designator, _meaning(coding.display))


def of_label(label: LabelProbability | Label) -> CodedConcept:
    """What a label states."""
    return concept(label.coding, label.key, label.display)


def of_measurement(measured: Measurement) -> CodedConcept:
    """What was measured: an area, or the model's own word for it."""
    if measured.key == "area":
        return AREA
    return CodedConcept(measured.key[:64], PRIVATE, _meaning(measured.display))


def of_method(measured: Measurement) -> CodedConcept:
    """How it was measured, in the words of the measurement."""
    return CodedConcept(f"{measured.key}-method"[:64], PRIVATE, _meaning(measured.method))


def of_unit(unit: str) -> CodedConcept:
    """A UCUM unit."""
    return CodedConcept(unit, "UCUM", _UNITS.get(unit, unit))


def site_of(manifest: Manifest) -> CodedConcept | None:
    """Where a model looks, if it states a part of the body that has a code here."""
    found = (_SITES[part] for part in manifest.applies_to.body_parts if part in _SITES)
    code = next(found, None)
    return CodedConcept.from_code(code) if code else None


def procedure_of(modality: str) -> Code:
    """What was done to make the images."""
    found: Code = _PROCEDURES.get(modality, codes.SCT.ImagingProcedure)
    return found


def _meaning(text: str) -> str:
    """A code meaning holds 64 characters (PS3.5 6.2, VR LO)."""
    return text.replace("\\", "/")[:64]
