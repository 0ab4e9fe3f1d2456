"""The images that an object refers to: of each its header, cleaned to what an object takes over.

A source may hold anything: a sex that DICOM does not know, a date of zeros, no PatientID. What must
be there and is not becomes empty, as its type allows (type 2, PS3.5 7.4.3); what is not what its
type demands is left out. Nothing is ever invented, and the pixels are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom.config import RAISE
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import validate_value

from inference.analysis import StudyIdentity
from inference.boundary import contained
from inference.errors import EvidenceRefused, IdentityMismatch, UnreadableInstance
from inference.evidence.frame_groups import decimals, pixel_measures, place_frames
from inference.frames import frame_facts
from inference.identity import identity_of
from inference.instance import Instance, read_instance, text_of
from inference.limits import Limits
from inference.sides import Edges, edges_of
from models.contract import PlaneGeometry

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
IF_STATED = ("IssuerOfPatientID", "PatientAge", "StudyDescription", "TimezoneOffsetFromUTC")
"""What an object repeats only where the image says it (type 3)."""

_SERIES = ("BodyPartExamined", "Laterality")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""What is made of an image that was lossy once is lossy for good (PS3.3 C.7.6.1.1.5)."""

_SEXES = ("M", "F", "O")

NO_DECIDING = "The image that the picture shows is not in the archive."
NO_PLACE = "The images state no plane in a frame of reference, without which this has no place."


@dataclass(frozen=True)
class SourceImage:
    """One image of the archive, as objects refer to it.

    `header` holds what an object takes over and how the image is referred to; all frames of an
    instance have the same. `frame` counts from 1. `geometry` is ``None`` without a plane in the
    patient, or without a frame of reference in which it lies. `spacing_mm` (between rows, between
    columns) may be known all the same. `sides` are those of its edges.
    """

    header: Dataset
    rows: int
    columns: int
    frame: int
    frames: int
    geometry: PlaneGeometry | None
    spacing_mm: tuple[float, float] | None
    sides: Edges | None = None

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return str(self.header.SOPInstanceUID)

    @property
    def key(self) -> tuple[str, int]:
        """By what an object refers to it: its SOP Instance UID and the number of its frame."""
        return self.sop_instance_uid, self.frame

    @property
    def pixel_aspect(self) -> float:
        """Row spacing over column spacing; 1 when the spacing is not known."""
        return self.spacing_mm[0] / self.spacing_mm[1] if self.spacing_mm else 1.0


def source_image(
    data: bytes, frame: int, identity: StudyIdentity, limits: Limits | None = None
) -> SourceImage:
    """Read the header of one instance, of which `frame` is meant.

    Raises IdentityMismatch when it is not of the study and patient of `identity`, InferenceError
    when it cannot be read, EvidenceRefused when there is no such frame.
    """
    instance = read_instance(data, limits or Limits())
    found = identity_of(instance)
    if (found.study_uid, found.patient_id) != (identity.study_uid, identity.patient_id):
        raise IdentityMismatch("An image is not of the patient and study that were analysed.")
    facts = frame_facts(instance)
    if instance.layout is None or not 0 < frame <= len(facts):
        raise EvidenceRefused("The archive's image does not have the frame that was analysed.")
    meant = facts[frame - 1]
    placed = bool(text_of(instance.header, "FrameOfReferenceUID"))
    with contained(_unreadable):
        header = _cleaned(instance, meant.geometry if placed else None, meant.spacing_mm)
        if placed and len(facts) > 1:
            place_frames(header, [each.geometry for each in facts])
        if not placed or meant.geometry is None:
            header.PatientOrientation = list(meant.sides) if meant.sides else None
    return SourceImage(
        header=header,
        rows=instance.layout.rows,
        columns=instance.layout.columns,
        frame=frame,
        frames=len(facts),
        geometry=meant.geometry if placed else None,
        spacing_mm=meant.spacing_mm,
        sides=edges_of(meant.geometry, meant.sides),
    )


def headers_of(images: Iterable[SourceImage]) -> list[Dataset]:
    """The headers of images, each instance once.

    Raises EvidenceRefused for what an object cannot refer to: several instances of several frames,
    or one whose frames do not lie in parallel.
    """
    found = {image.sop_instance_uid: image for image in images}
    framed = [image for image in found.values() if image.frames > 1]
    if framed and len(found) > 1:
        raise EvidenceRefused("The images are in several objects of several frames.")
    for image in framed:
        if image.geometry and "PerFrameFunctionalGroupsSequence" not in image.header:
            raise EvidenceRefused("The frames of the image do not all lie in one direction.")
    return [image.header for image in found.values()]


def made_at(source: SourceImage, at: datetime) -> datetime:
    """The time of making, in the zone in which the source's own times are (PS3.3 C.12.1.1.8)."""
    offset = text_of(source.header, "TimezoneOffsetFromUTC")
    if not offset:
        return at
    sign = -1 if offset[0] == "-" else 1
    ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return at.astimezone(timezone(sign * ahead))


def _cleaned(
    instance: Instance,
    geometry: PlaneGeometry | None,
    spacing_mm: tuple[float, float] | None,
) -> Dataset:
    header, clean = instance.header, Dataset()
    header.decode()
    clean.SpecificCharacterSet = "ISO_IR 192"
    clean.SOPClassUID = UID(text_of(header, "SOPClassUID"))
    clean.SOPInstanceUID = UID(instance.sop_instance_uid)
    clean.StudyInstanceUID = UID(instance.study_uid)
    clean.SeriesInstanceUID = UID(instance.series_uid)
    clean.Modality = _valid(header, "Modality") or "OT"
    for keyword in (*_PATIENT, *_STUDY):
        setattr(clean, keyword, _valid(header, keyword))
    lossy = LOSSY if _valid(header, LOSSY[0]) == "01" else ()
    for keyword in (*IF_STATED, *_SERIES, *lossy):
        if value := _valid(header, keyword):
            setattr(clean, keyword, value)
    if clean.PatientSex not in _SEXES:
        clean.PatientSex = ""
    if instance.layout is not None:
        clean.Rows, clean.Columns = instance.layout.rows, instance.layout.columns
        if instance.layout.frames > 1:
            clean.NumberOfFrames = instance.layout.frames
    _place(clean, header, geometry, spacing_mm)
    return clean


def _place(
    clean: Dataset,
    header: Dataset,
    geometry: PlaneGeometry | None,
    spacing_mm: tuple[float, float] | None,
) -> None:
    """What says where the image lies; all of it or, where it cannot be true, nothing."""
    if spacing_mm is not None:
        clean.PixelSpacing = decimals(spacing_mm)
    if geometry is None:
        return
    clean.FrameOfReferenceUID = UID(text_of(header, "FrameOfReferenceUID"))
    clean.PositionReferenceIndicator = _valid(header, "PositionReferenceIndicator")
    clean.ImagePositionPatient = decimals(geometry.position_mm)
    clean.ImageOrientationPatient = decimals((*geometry.row_cosines, *geometry.column_cosines))
    clean.SliceThickness = _thickness(header, geometry)


def _thickness(header: Dataset, geometry: PlaneGeometry) -> str:
    """What a frame has to state (PS3.3 C.7.6.16.2.1) and an image may leave empty (C.8.3.1).

    Where nothing is stated, a voxel is taken to be no thicker than it is wide: it claims the least.
    """
    said = (
        _valid(measures, keyword)
        for keyword in ("SliceThickness", "SpacingBetweenSlices")
        for measures in pixel_measures(header)
    )
    return next(filter(None, said), "") or decimals(geometry.spacing_mm[:1])[0]


def _valid(header: Dataset, keyword: str) -> str:
    """The first value as text; empty when there is none, or none of its VR (PS3.5 6.2)."""
    if keyword not in header:
        return ""
    value = header[keyword].value
    first = value[0] if isinstance(value, MultiValue) and value else value
    text = "" if first is None else str(first).strip(" \0")
    try:
        validate_value(header[keyword].VR, text, RAISE)
    except ValueError:
        return ""
    return text


def _unreadable(reason: str) -> UnreadableInstance:
    return UnreadableInstance("The header of the instance holds values that cannot be read.")
