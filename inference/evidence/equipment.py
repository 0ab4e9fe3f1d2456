"""Who made an object, and when: the same for every kind."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset

from inference.analysis import ModelResult
from inference.evidence.source import IF_STATED, SourceImage, made_at
from models.manifest import Manifest

_LONG_STRING = 64


def equipment(result: ModelResult, manifest: Manifest) -> dict[str, Any]:
    """General Equipment (PS3.3 C.7.5.1): the model's very file is the device."""
    return {
        "manufacturer": manifest.developer[:_LONG_STRING],
        "manufacturer_model_name": result.model_id[:_LONG_STRING],
        "software_versions": result.model_version[:_LONG_STRING],
        "device_serial_number": result.model_sha256[:16],
    }


def stamped(made: Dataset, source: SourceImage, manifest: Manifest, at: datetime) -> Dataset:
    """The object with `at` as its only time, and what it repeats of the image.

    Two runs with the same `at` make the same bytes.
    """
    when = made_at(source, at)
    day, clock = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    for part in ("InstanceCreation", "Content", "Series"):
        setattr(made, f"{part}Date", day)
        setattr(made, f"{part}Time", clock)
    for software in made.get("ContributingEquipmentSequence", []):
        software.ContributionDateTime = f"{day}{clock}"
    for keyword in IF_STATED:
        if value := source.header.get(keyword):
            setattr(made, keyword, value)
    if made.Modality != "SR":  # an SR document has a series module of its own (PS3.3 C.17.1)
        _body_part(made, source, manifest)
    return made


def _body_part(made: Dataset, source: SourceImage, manifest: Manifest) -> None:
    """General Series, General Image (PS3.3 C.7.3.1, C.7.6.1): as the image states it.

    What part of the body it shows is, where the image is silent, what the model is for.
    """
    stated = source.header.get("BodyPartExamined") or next(iter(manifest.applies_to.body_parts), "")
    if stated:
        made.BodyPartExamined = stated
    if source.geometry is None and made.Modality == "SEG":
        made.PatientOrientation = source.header.PatientOrientation
    if made.Modality != "SEG" and (side := source.header.get("Laterality")):
        made.Laterality = side  # a segment has its own anatomic region instead
