"""Both directions of FHIR R4: ImagingStudy -> StudyRef, Analysis -> transaction Bundle. Pure.

Importing this package loads no FHIR library; `warm_up` does.
"""

from fhir_mapping.addresses import ArchiveAddresses
from fhir_mapping.bundle import report_bundle, report_items, require_same_study
from fhir_mapping.context import ModelFacts, ReportContext, WriteForm, model_facts
from fhir_mapping.errors import MappingError
from fhir_mapping.existing import Standing, chosen, standing
from fhir_mapping.forms import Item, Softness
from fhir_mapping.identity import report_identity
from fhir_mapping.outcome import operation_outcome, outcome
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
from fhir_mapping.warm import warm_up

__all__ = [
    "ArchiveAddresses",
    "Item",
    "MappingError",
    "ModelFacts",
    "PatientRef",
    "ReportContext",
    "SeriesRef",
    "Softness",
    "Standing",
    "StudyRef",
    "WriteForm",
    "chosen",
    "content_keys",
    "endpoint_references",
    "endpoints_in",
    "model_facts",
    "operation_outcome",
    "outcome",
    "patient_ref",
    "report_bundle",
    "report_identity",
    "report_items",
    "require_same_study",
    "resources_in",
    "standing",
    "study_ref",
    "unusable_ref",
    "warm_up",
]
