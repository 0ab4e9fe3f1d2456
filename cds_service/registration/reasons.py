"""Why each thing is asked for: what an EHR's reviewers want to read beside it."""

from __future__ import annotations

from collections.abc import Mapping

from cds_service.hooks.discovery import ENCOUNTER_KEY, PATIENT_KEY, STUDIES_KEY

PREFETCH: Mapping[str, str] = {
    PATIENT_KEY: "The identifiers of the patient are compared with the PatientID in the images:"
    " a result of another patient's images is never kept. Name and birth date are not used.",
    STUDIES_KEY: "Which imaging studies there are, newest first, and at which archive: these are"
    " shown or analysed, and no others.",
    ENCOUNTER_KEY: "The period of the stay: before discharge only its own studies are spoken of.",
}

HOOK_SCOPES: Mapping[str, str] = {
    "user/Patient.r": "To read what the prefetch key `patient` would have brought.",
    "user/ImagingStudy.rs": "To find what the prefetch key `studies` would have brought.",
    "user/Endpoint.r": "To choose the archive of a study whose Endpoint is not contained in it.",
    "user/Encounter.r": "To read what the prefetch key `encounter` would have brought.",
}
"""Of the token in a call (``fhirAuthorization``): for prefetch keys that were not sent."""

LAUNCH_SCOPES: Mapping[str, str] = {
    "launch": "The launch says which patient's chart is open.",
    "openid": "Who looks: the id_token is verified, for the audit alone.",
    "fhirUser": "The reference of who looks, for the audit alone.",
    "profile": "The reference of who looks, on servers that know no fhirUser.",
    "patient/ImagingStudy.rs": "Which studies of this patient may be shown, where the launch"
    " names none.",
    "patient/Patient.r": "Whose chart it is, where the launch asks for the patient's banner:"
    " it is shown in that window, and kept nowhere.",
}
