"""The figure of a result -> Secondary Capture (PS3.3 A.8.1): a picture that says what it is.

The caption is part of the pixels, so that no viewer can drop it, and the header says that text is
burned in. Nothing that identifies a patient is drawn: name and id stand in the header alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from highdicom.base import SOPClass
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from inference.analysis import ModelResult
from inference.errors import EvidenceRefused
from inference.evidence import codes as concepts
from inference.evidence.equipment import equipment, stamped
from inference.evidence.objects import Kind, name_of
from inference.evidence.source import LOSSY, NO_DECIDING, SourceImage
from models.manifest import Manifest


def secondary_capture(
    result: ModelResult, manifest: Manifest, sources: Mapping[int, SourceImage], at: datetime
) -> Dataset:
    """Make the key image of a result; `sources` are by slice number.

    Raises EvidenceRefused when the result has no picture, or its image is missing.
    """
    if result.explanation is None:
        raise EvidenceRefused("The result has no picture.")
    source = sources.get(result.explanation.slice_number)
    if source is None:
        raise EvidenceRefused(NO_DECIDING)
    header = source.header
    name = name_of(Kind.PICTURE, str(header.StudyInstanceUID), result)
    made = SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=name.series_uid,
        series_number=Kind.PICTURE.series_number,
        sop_instance_uid=name.sop_instance_uid,
        sop_class_uid=SecondaryCaptureImageStorage,
        instance_number=1,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=header.PatientID,
        patient_name=header.PatientName,
        patient_birth_date=header.PatientBirthDate,
        patient_sex=header.PatientSex,
        study_id=header.StudyID,
        accession_number=header.AccessionNumber,
        study_date=header.StudyDate or None,
        study_time=header.StudyTime or None,
        referring_physician_name=header.ReferringPhysicianName,
        series_description=name.description,
        specific_character_set=header.SpecificCharacterSet,
        coding_schemes=[concepts.SCHEME],
        **equipment(result, manifest),
    )
    with Image.open(io.BytesIO(result.explanation.figure_png)) as figure:
        _describe(made, np.asarray(figure.convert("RGB")))
    made.PatientOrientation = list(source.sides[1::2]) if source.sides else None
    made.DerivationDescription = f"AI, not reviewed: slice {result.explanation.slice_number}"
    for keyword in LOSSY:
        if keyword in header:
            made[keyword] = header[keyword]
    made.SourceImageSequence = [_reference(source)]
    return stamped(made, source, manifest, at)


def _describe(made: Dataset, pixels: np.ndarray) -> None:
    """General Image, SC Equipment, Image Pixel (PS3.3 C.7.6.1, C.8.6.1, C.7.6.3)."""
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.ConversionType = "SYN"
    made.BurnedInAnnotation = "YES"
    made.LossyImageCompression = "00"
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"


def _reference(source: SourceImage) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    if source.frames > 1:
        item.ReferencedFrameNumber = source.frame
    return item
