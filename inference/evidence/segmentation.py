"""Outlines -> Segmentation (PS3.3 A.51): one binary segment, a frame for each outlined image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PlanePositionSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset

from inference.analysis import ModelResult, SliceOutline
from inference.errors import EvidenceRefused
from inference.evidence import codes as concepts
from inference.evidence.equipment import equipment, stamped
from inference.evidence.objects import Kind, content_uid, name_of, tracking_uid
from inference.evidence.source import NO_PLACE, SourceImage, headers_of
from inference.explain.overlay import LINE
from models.manifest import Manifest

MOST_FRAMES = 128
"""Of more outlined images than these, the ones nearest to the deciding one are kept, and the
object's description says so: a viewer should open it at once."""


@dataclass(frozen=True)
class Segmented:
    """The object, and the number of the frame (from 1) that lies on each image, by its key."""

    data_set: Dataset
    frames: Mapping[tuple[str, int], int]


def kept_outlines(result: ModelResult) -> tuple[SliceOutline, ...]:
    """The outlines that an object holds, in anatomical order; see `MOST_FRAMES`."""
    middle = result.deciding_slice or 0
    nearest = sorted(result.outlines, key=lambda each: abs(each.slice_number - middle))
    return tuple(sorted(nearest[:MOST_FRAMES], key=lambda each: each.slice_number))


def segmentation(
    result: ModelResult, manifest: Manifest, sources: Mapping[int, SourceImage], at: datetime
) -> Segmented:
    """Make the segment of one result; `sources` are by slice number.

    Each frame has the size of its image and lies exactly on it: in the patient where the image
    states a plane and a frame of reference, else by reference to the image alone (PS3.3 A.51.3, the
    Frame of Reference Module is conditional).

    Raises EvidenceRefused when nothing was outlined, an image is missing, or masks and images do
    not fit.
    """
    outlines = kept_outlines(result)
    if not outlines:
        raise EvidenceRefused("Nothing was outlined.")
    images = [_image(outline, sources) for outline in outlines]
    headers = _of_one_kind(images)
    study_uid = str(headers[0].StudyInstanceUID)
    name = name_of(Kind.OUTLINE, study_uid, result)
    make = partial(
        Segmentation,
        source_images=headers,
        pixel_array=np.stack([outline.mask for outline in outlines]),
        segmentation_type="BINARY",
        segment_descriptions=[_segment(result, manifest, study_uid)],
        series_instance_uid=name.series_uid,
        series_number=Kind.OUTLINE.series_number,
        sop_instance_uid=name.sop_instance_uid,
        instance_number=1,
        content_label="AI_OUTLINE",
        content_description=_kept(outlines, result),
        series_description=name.description,
        omit_empty_frames=False,
        plane_positions=_positions(images),
        coding_schemes=[concepts.SCHEME],
        **equipment(result, manifest),
    )
    made = _placed(make, images)
    _fix_dimension_uid(made, name.sop_instance_uid)
    return Segmented(stamped(made, images[0], manifest, at), _frames(made))


def _placed(make: Callable[[], Segmentation], images: Sequence[SourceImage]) -> Segmentation:
    """The object; without a place only for those kinds of image that need none (radiographs)."""
    try:
        return make()
    except ValueError:
        if all(image.geometry for image in images):
            raise
        raise EvidenceRefused(NO_PLACE) from None


def _image(outline: SliceOutline, sources: Mapping[int, SourceImage]) -> SourceImage:
    image = sources.get(outline.slice_number)
    if image is None:
        raise EvidenceRefused("An image that was outlined is not in the archive.")
    if outline.mask.shape != (image.rows, image.columns):
        raise EvidenceRefused("The archive's image is not of the size that was outlined.")
    return image


def _of_one_kind(images: Sequence[SourceImage]) -> list[Dataset]:
    """The headers; all in one frame of reference and of one size, or none of them placed."""
    if len({(image.rows, image.columns) for image in images}) > 1:
        raise EvidenceRefused("The outlined images are not all of one size.")
    spaces = {str(image.header.get("FrameOfReferenceUID", "")) for image in images}
    if len(spaces) > 1:
        raise EvidenceRefused("The outlined images do not lie in one frame of reference.")
    return headers_of(images)


def _positions(images: Sequence[SourceImage]) -> list[PlanePositionSequence] | None:
    """Where the frames lie, if they are some of those of one image; else as their images do."""
    if images[0].frames == 1:
        return None
    planes = [image.geometry for image in images if image.geometry]
    return [PlanePositionSequence("PATIENT", each.position_mm) for each in planes]


def _segment(result: ModelResult, manifest: Manifest, study_uid: str) -> SegmentDescription:
    structure = manifest.structure
    site = concepts.site_of(manifest)
    return SegmentDescription(
        segment_number=1,
        segment_label=f"AI: {structure.display}"[:64],
        # what follows a finding outlines that finding; else it is a part of the body
        segmented_property_category=concepts.ABNORMAL if result.follows else concepts.STRUCTURE,
        segmented_property_type=concepts.of_label(structure),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=result.model_title[:64],
            family=concepts.FAMILY,
            version=result.model_version[:64],
            source=manifest.developer[:64],
        ),
        display_color=CIELabColor.from_rgb(*LINE),
        tracking_uid=tracking_uid(study_uid, result, structure.key),
        tracking_id=f"AI {result.model_id} {structure.key}"[:64],
        anatomic_regions=[site] if site is not None else None,
    )


def _kept(outlines: Sequence[SliceOutline], result: ModelResult) -> str:
    if len(outlines) == len(result.outlines):
        return "AI, not reviewed"
    return f"AI, not reviewed; {len(outlines)} of {len(result.outlines)} images"


def _fix_dimension_uid(made: Dataset, sop_instance_uid: str) -> None:
    """A random UID would make other bytes of the same object."""
    own = content_uid("dimensions", sop_instance_uid)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = own


def _frames(made: Dataset) -> dict[tuple[str, int], int]:
    """Frames are in the order of the library, so each is found by the image that it refers to."""
    found = {}
    for number, group in enumerate(made.PerFrameFunctionalGroupsSequence, start=1):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = int(image.get("ReferencedFrameNumber", 1))
        found[str(image.ReferencedSOPInstanceUID), frame] = number
    return found
