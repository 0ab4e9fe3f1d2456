"""Identifiers made from content: the same input names the same resource, on every run.

=================  ================================================================
resource           is named by
=================  ================================================================
DiagnosticReport   tenant, study, edition: one living report for each study
Observation        tenant, study, series, model id, version, file, edition
Device             model id, model version, model file (SHA-256)
Provenance         the report, the images read (instance digest), the models
=================  ================================================================

Neither the finding nor the instance digest names a report or an Observation. So when a study has
grown, or a second run ends otherwise, the new result is a new *version* of the same resource and
the chart never shows two that disagree; what was read is kept inside, as a second identifier of
the report. A new model version makes its own Observations and its own Device, since everything
that a withdrawn version said must still be found by its Device.

The edition is 0 until a person takes a report over: what is said after that stands beside it.

Values are digests: a search by identifier puts no UID into a server's log.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass

from fhir_mapping.study import StudyRef
from inference.analysis import ModelResult

IDENTIFIER_ROOT = "urn:scanhook"
"""Default root of the identifier systems (``urn:scanhook:report``); configurable for a site."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, IDENTIFIER_ROOT)


_TYPES = {
    "report": "DiagnosticReport",
    "observation": "Observation",
    "device": "Device",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class Identity:
    """A business identifier (FHIR ``Identifier``) and the UUID that follows from it."""

    system: str
    value: str

    @property
    def root(self) -> str:
        """The root of the identifier system."""
        return self.system.rpartition(":")[0]

    @property
    def resource_type(self) -> str:
        """What kind of resource it names."""
        return _TYPES[self.system.rpartition(":")[2]]

    @property
    def uuid(self) -> str:
        """The UUIDv5 of system and value: the resource's id where the client may choose it."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.system}|{self.value}"))

    @property
    def urn(self) -> str:
        """``urn:uuid:…``: the resource's fullUrl, by which a Bundle's entries refer to it."""
        return f"urn:uuid:{self.uuid}"

    @property
    def token(self) -> str:
        """``system|value``: the value of a token search parameter."""
        return f"{self.system}|{self.value}"

    def identifier(self) -> dict[str, object]:
        """Return the FHIR ``Identifier``."""
        return {"system": self.system, "value": self.value}


def digest(*parts: str) -> str:
    """Return the SHA-256 (hex) of the parts; unambiguous, whatever they contain."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def report_identity(
    tenant: str, ref: StudyRef, root: str = IDENTIFIER_ROOT, edition: int = 0
) -> Identity:
    """Name the report of a study in one patient's chart.

    `tenant` keeps two sites on one server apart; with the patient in the name, two charts that hold
    the same study (a record that was split or merged) never move a report from one to the other.
    """
    study = (tenant, ref.patient_reference, ref.study_uid)
    return Identity(f"{root}:report", digest(*study, *_later(edition)))


def observation_identity(
    tenant: str,
    ref: StudyRef,
    result: ModelResult,
    root: str = IDENTIFIER_ROOT,
    edition: int = 0,
) -> Identity:
    """Name what one model (its very file) says of one series, in one patient's chart."""
    study = (tenant, ref.patient_reference, ref.study_uid, result.series_uid)
    model = (result.model_id, result.model_version, result.model_sha256)
    return Identity(f"{root}:observation", digest(*study, *model, *_later(edition)))


def _later(edition: int) -> tuple[str, ...]:
    return (f"edition {edition}",) if edition else ()


def device_identity(result: ModelResult, root: str = IDENTIFIER_ROOT) -> Identity:
    """Name a model file: other weights are another Device."""
    return model_device_identity(result.model_id, result.model_version, result.model_sha256, root)


def model_device_identity(
    model_id: str, version: str, sha256: str, root: str = IDENTIFIER_ROOT
) -> Identity:
    """The same of a file whose results are not at hand."""
    return Identity(f"{root}:device", digest(model_id, version, sha256))


def provenance_identity(
    report: Identity, instance_digest: str, devices: tuple[Identity, ...], root: str
) -> Identity:
    """Name the making of one version of a report: these images, these models."""
    models = sorted(device.value for device in devices)
    return Identity(f"{root}:provenance", digest(report.token, instance_digest, *models))


def content_identity(content: str, root: str = IDENTIFIER_ROOT) -> Identity:
    """Name what a resource said when we wrote it, so that a later edit can be seen."""
    return Identity(f"{root}:content", content)


def images_identity(instance_digest: str, root: str = IDENTIFIER_ROOT) -> Identity:
    """Name the set of images that was read, so that a reader can see that a study has grown."""
    return Identity(f"{root}:images", instance_digest)
