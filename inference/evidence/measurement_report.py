"""A result -> Comprehensive 3D SR by TID 1500: what was found, how probably, where, how measured.

PRELIMINARY and UNVERIFIED (PS3.3 C.17.2): nobody has read it. A label that was not stated has its
probability and nothing else; what the gates withheld is called undetermined, never absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    SourceImageForSegmentation,
    TrackingIdentifier,
)
from highdicom.sr import Measurement as MeasurementItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from inference.analysis import LabelProbability, ModelResult, Outcome
from inference.errors import EvidenceRefused
from inference.evidence import codes as concepts
from inference.evidence.equipment import equipment, stamped
from inference.evidence.objects import Kind, device_uid, name_of, tracking_uid
from inference.evidence.regions import outlined, reference, speaking, whole
from inference.evidence.segmentation import Segmented
from inference.evidence.source import SourceImage
from models.manifest import Manifest

Group = PlanarROIMeasurementsAndQualitativeEvaluations

_WORDS = 64  # PS3.5 6.2, VR LO: what a viewer's line of text holds


def measurement_report(
    result: ModelResult,
    manifest: Manifest,
    sources: Mapping[int, SourceImage],
    at: datetime,
    segmented: Segmented | None = None,
) -> Dataset:
    """Make the report of one result; `sources` are by slice number.

    `segmented` is the outline that goes with it: its measurements then refer to that segment.
    Raises EvidenceRefused when no image that it rests on is among `sources`, or there is nothing to
    report.
    """
    if not sources:
        raise EvidenceRefused("None of the images that the result rests on is in the archive.")
    source = sources.get(result.deciding_slice or 0, sources[min(sources)])
    groups = list(_groups(result, manifest, source, segmented))
    if not groups:
        raise EvidenceRefused("The result states nothing that a measurement report could hold.")
    name = name_of(Kind.REPORT, str(source.header.StudyInstanceUID), result)
    content = MeasurementReport(
        observation_context=_observed_by(result, manifest),
        procedure_reported=concepts.procedure_of(str(source.header.Modality)),
        imaging_measurements=groups,
    )
    report = Comprehensive3DSR(
        evidence=[source.header, *([segmented.data_set] if segmented else [])],
        content=content[0],
        series_instance_uid=name.series_uid,
        series_number=Kind.REPORT.series_number,
        sop_instance_uid=name.sop_instance_uid,
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=name.description,
        coding_schemes=[concepts.SCHEME],
        **equipment(result, manifest),
    )
    return stamped(report, source, manifest, at)


def _observed_by(result: ModelResult, manifest: Manifest) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(result),
        name=result.model_title[:_WORDS],
        manufacturer_name=manifest.developer[:_WORDS],
        model_name=result.model_id[:_WORDS],
        serial_number=result.model_sha256[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _algorithm(result: ModelResult, manifest: Manifest) -> AlgorithmIdentification:
    """TID 4019: the model's very file, and how it was run."""
    return AlgorithmIdentification(
        name=result.model_title,
        version=result.model_version,
        manufacturer=manifest.developer,
        family=concepts.FAMILY,
        parameters=[f"precision {result.precision}", f"file SHA-256 {result.model_sha256}"],
    )


def _groups(
    result: ModelResult, manifest: Manifest, source: SourceImage, segmented: Segmented | None
) -> Iterator[Group]:
    for label in result.probabilities:
        if not label.negative:
            yield _finding(label, result, manifest, source)
    if result.measurements:
        yield from _measured(result, manifest, source, segmented)


def _finding(
    label: LabelProbability, result: ModelResult, manifest: Manifest, source: SourceImage
) -> Group:
    """TID 1410: one thing that was looked for, its probability, and where it is seen."""
    chance = MeasurementItem(
        name=concepts.PROBABILITY,
        value=label.stored,
        unit=concepts.NO_UNITS,
    )
    return Group(
        **_common(result, manifest, source, label.key),
        finding_type=concepts.of_label(label),
        measurements=[chance],
        qualitative_evaluations=_presence(label, result),
        referenced_region=speaking(result.explanation, label.key, source, manifest),
    )


def _presence(label: LabelProbability, result: ModelResult) -> list[QualitativeEvaluation]:
    """Only what the result says of this label; of the ones not stated it says nothing."""
    stated = result.finding is not None and label.key == result.finding.key
    said = {
        Outcome.FINDING: concepts.PRESENT if stated else None,
        Outcome.NO_FINDING: concepts.ABSENT,
        Outcome.INDETERMINATE: concepts.UNDETERMINED,
    }.get(result.outcome)
    return [QualitativeEvaluation(concepts.PRESENCE, said)] if said is not None else []


def _measured(
    result: ModelResult, manifest: Manifest, source: SourceImage, segmented: Segmented | None
) -> Iterator[Group]:
    """TID 1410: every line of the outline, then what was measured within all of them.

    That is within the segment; without one, within the only line or the image. All have the same
    tracking identifier, by which a viewer knows them for one thing.
    """
    items = [
        MeasurementItem(
            name=concepts.of_measurement(each),
            value=float(f"{each.value:.6g}"),
            unit=concepts.of_unit(each.unit),
            method=concepts.of_method(each),
        )
        for each in result.measurements
    ]
    common = _common(result, manifest, source, manifest.structure.key)
    common |= {"finding_type": concepts.of_label(manifest.structure)}
    lines = outlined(result, source)
    if segmented is not None and source.key in segmented.frames:
        yield from (Group(**common, referenced_region=line) for line in lines)
        segment = _segment(segmented, source)
        yield Group(**common, measurements=items, referenced_segment=segment)
    elif len(lines) == 1:
        yield Group(**common, measurements=items, referenced_region=lines[0])
    else:
        yield from (Group(**common, referenced_region=line) for line in lines)
        yield Group(**common, measurements=items, referenced_region=whole(source))


def _segment(segmented: Segmented, source: SourceImage) -> ReferencedSegmentationFrame:
    segment = ReferencedSegmentationFrame(
        sop_class_uid=str(segmented.data_set.SOPClassUID),
        sop_instance_uid=str(segmented.data_set.SOPInstanceUID),
        frame_number=segmented.frames[source.key],
        segment_number=1,
        source_image=SourceImageForSegmentation(**reference(source)),
    )
    # a frame of a binary segmentation has one segment: then the number shall be absent (PS3.3 10.3)
    del segment[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return segment


def _common(
    result: ModelResult, manifest: Manifest, source: SourceImage, what: str
) -> dict[str, Any]:
    """What every group has: its tracking identifier, the algorithm, the site."""
    site = concepts.site_of(manifest)
    study_uid = str(source.header.StudyInstanceUID)
    return {
        "tracking_identifier": TrackingIdentifier(
            uid=tracking_uid(study_uid, result, what), identifier=f"AI {result.model_id} {what}"
        ),
        "algorithm_id": _algorithm(result, manifest),
        "finding_sites": [FindingSite(site)] if site is not None else None,
    }
