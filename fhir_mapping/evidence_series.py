"""What goes into a report beside its statements: PDF, key image, and where the evidence lies.

Key image and evidence series are contained resources (R4 references, 2.3.4): they have no life
outside this report, and no right beyond that of writing it is needed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fhir_mapping.study import StudyRef

Resource = dict[str, object]

_KEY_IMAGE, _EVIDENCE = "key-image", "evidence"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"


@dataclass(frozen=True)
class EvidenceSeries:
    """One series that an archive was seen to hold; each has one instance."""

    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    description: str


@dataclass(frozen=True)
class ReportEvidence:
    """What a report carries; whatever is empty is left out."""

    pdf: bytes = field(default=b"", repr=False)
    key_image_png: bytes = field(default=b"", repr=False)
    series: Sequence[EvidenceSeries] = ()


NO_EVIDENCE = ReportEvidence()


def attach(report: Resource, evidence: ReportEvidence, ref: StudyRef, instant: str) -> Resource:
    """Return the report with `evidence` in it; `instant` is when that was made.

    ``presentedForm`` gets the PDF, ``media`` the key image, ``imagingStudy`` a further entry: the
    same study with the series of evidence alone.
    """
    contained: list[Resource] = []
    added = dict(report)
    if evidence.pdf:
        added["presentedForm"] = [*_listed(report, "presentedForm"), _pdf(evidence.pdf, instant)]
    if evidence.key_image_png:
        contained.append(_key_image(evidence.key_image_png, report, instant))
        comment = "AI, not reviewed: not for diagnosis on its own"
        added["media"] = [{"comment": comment, "link": {"reference": f"#{_KEY_IMAGE}"}}]
    if evidence.series:
        contained.append(_study(evidence.series, ref))
        added["imagingStudy"] = [
            *_listed(report, "imagingStudy"),
            {"reference": f"#{_EVIDENCE}", "display": "AI evidence in the archive"},
        ]
    return added | ({"contained": contained} if contained else {})


def _listed(report: Resource, name: str) -> list[object]:
    found = report.get(name)
    return list(found) if isinstance(found, list) else []


def _attachment(data: bytes, content_type: str, title: str, instant: str) -> Resource:
    """R4 Attachment: hash and size are of the bytes before base64."""
    return {
        "contentType": content_type,
        "data": base64.b64encode(data).decode(),
        "size": len(data),
        "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode(),
        "title": title,
        "creation": instant,
    }


def _pdf(pdf: bytes, instant: str) -> Resource:
    return _attachment(pdf, "application/pdf", "AI report, not reviewed", instant)


def _key_image(png: bytes, report: Resource, instant: str) -> Resource:
    return {
        "resourceType": "Media",
        "id": _KEY_IMAGE,
        "status": "completed",
        "subject": report["subject"],
        "content": _attachment(png, "image/png", "AI key image, not reviewed", instant),
    }


def _study(series: Sequence[EvidenceSeries], ref: StudyRef) -> Resource:
    return {
        "resourceType": "ImagingStudy",
        "id": _EVIDENCE,
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{ref.study_uid}"}],
        "status": "available",
        "subject": {"reference": ref.patient_reference},
        "numberOfSeries": len(series),
        "numberOfInstances": len(series),
        "series": [_one(each) for each in series],
    }


def _one(series: EvidenceSeries) -> Resource:
    sop_class = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{series.sop_class_uid}"}
    return {
        "uid": series.series_uid,
        "modality": {"system": _DCM, "code": series.modality},
        "description": series.description,
        "numberOfInstances": 1,
        "instance": [{"uid": series.sop_instance_uid, "sopClass": sop_class}],
    }
