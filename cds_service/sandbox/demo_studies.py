"""The studies of the sandbox: synthetic heads with known truth, and real files without a model.

Patients are invented, and their names say so. Everything is made from names, so that two runs
write the same files with the same UIDs.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from cds_service.sandbox.lesions import Lesion
from cds_service.sandbox.phantom import FULL_SCALE, Series, axial_series

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://scanhook.org/sandbox")

OUTCOMES = frozenset({"finding", "indeterminate", "measured", "no-finding", "not-analysed"})


@dataclass(frozen=True)
class DemoStudy:
    """One study of the sandbox.

    `truth` says in a sentence what the images show. `expected` are the outcomes that are right or
    honest for it, in the words of `inference.analysis.Outcome`: a study whose truth a research
    model may be unsure of allows ``indeterminate`` too. `labels` are the findings that pass; where
    several do, it is judged that a tumour is suggested, and not which. `files` lie in the sandbox's
    folder.
    """

    key: str
    study_uid: str
    patient_id: str
    truth: str
    expected: frozenset[str]
    labels: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Head:
    """A synthetic head to draw: `name` and the rest go into the headers."""

    key: str
    name: str
    patient_id: str
    birth_date: str
    sex: str
    age: str
    date: str
    time: str
    truth: str
    lesion: Lesion | None
    expected: frozenset[str]
    labels: tuple[str, ...] = ()


_SURE_OR_SILENT = frozenset({"finding", "indeterminate"})

HEADS = (
    _Head(
        "head-ring", "Synthetic^Ada Demo", "SANDBOX-001", "19570312", "F", "069Y", "20260108",
        "091500", "A drawn ring with a dark core and oedema, right hemisphere: some tumour.",
        # meant as a glioma, but the model takes it for a meningioma: which tumour is not judged
        Lesion("glioma", (-30.0, 25.0, 22.0), 26.0, seed=8), _SURE_OR_SILENT,
        ("glioma", "meningioma"),
    ),
    _Head(
        "head-meningioma", "Synthetic^Ben Demo", "SANDBOX-002", "19640724", "M", "061Y",
        "20260109", "101000", "A drawn homogeneous mass on the dura of the left frontal convexity.",
        # the plainest of the three: a model that does not state it states nothing
        Lesion("meningioma", (44.0, -22.0, 42.0), 19.0, seed=5), frozenset({"finding"}),
        ("meningioma",),
    ),
    _Head(
        "head-pituitary", "Synthetic^Cleo Demo", "SANDBOX-003", "19791130", "F", "046Y",
        "20260112", "143000", "A drawn mass that rises from the sella.",
        Lesion("pituitary", (0.0, -4.0, -26.0), 10.0, seed=4), _SURE_OR_SILENT, ("pituitary",),
    ),
    _Head(
        "head-plain", "Synthetic^Dan Demo", "SANDBOX-004", "19880501", "M", "037Y", "20260113",
        "082000", "The same head without a drawn lesion.",
        None, frozenset({"no-finding", "indeterminate"}),
    ),
)  # fmt: skip

WITHOUT_MODEL = (
    ("ct-small", "CT_small.dcm", "A small CT image; no model reads CT."),
    ("colour", "examples_rgb_color.dcm", "An ultrasound image in colour; no model reads it."),
    ("dose", "rtdose.dcm", "A radiotherapy dose grid; it is no image of a patient."),
)
"""Real files that pydicom's own wheel carries: (key, file, truth)."""


def uid(*names: str) -> UID:
    """A UID under 2.25 made from `names` (PS3.5 B.2, UUID derived)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}")


def demo_studies(folder: Path) -> tuple[DemoStudy, ...]:
    """Write the sandbox's studies below `folder`, one folder each, and say what they are.

    A study that is there already is left alone: a folder appears with all its files, or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # drawing is numpy's work, which lets go of the GIL
    with ThreadPoolExecutor(2) as pool:
        heads = tuple(pool.map(lambda head: _head(folder, head), HEADS))
    return (*heads, *_without_model(folder))


def head_instances(key: str, series: Series, patient: _Head | None = None) -> Iterator[FileDataset]:
    """`series` as MR Image Storage, one instance for each slice (PS3.3 A.4)."""
    head = patient or next(head for head in HEADS if head.key == key)
    for index in range(len(series.pixels)):
        yield _instance(head, series, index)


def _head(folder: Path, head: _Head) -> DemoStudy:
    target = folder / head.key
    if not target.exists():
        series = axial_series(head.lesion)
        with _appearing(target) as partial:
            for index, instance in enumerate(head_instances(head.key, series, head)):
                instance.save_as(partial / f"{index + 1:03d}.dcm", enforce_file_format=True)
    return DemoStudy(
        head.key,
        uid(head.key, "study"),
        head.patient_id,
        head.truth,
        head.expected,
        head.labels,
        tuple(sorted(target.glob("*.dcm"))),
    )


def _without_model(folder: Path) -> Iterator[DemoStudy]:
    for key, name, truth in WITHOUT_MODEL:
        source = get_testdata_file(name, download=False)
        if not isinstance(source, str):
            continue
        target = folder / key
        if not target.exists():
            with _appearing(target) as partial:
                shutil.copyfile(source, partial / name)
        header = dcmread(target / name, stop_before_pixels=True)
        yield DemoStudy(
            key,
            str(header.StudyInstanceUID),
            str(header.get("PatientID", "")),
            truth,
            frozenset({"not-analysed"}),
            files=(target / name,),
        )


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder that gets its name when the block ends well, and is gone otherwise."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if not target.exists():
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _instance(head: _Head, series: Series, index: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid(head.key, "instance", str(index))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")
    instance = FileDataset(
        "", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=False, is_little_endian=True
    )
    _describe_patient_and_study(instance, head)
    _describe_series(instance, head, series)
    _describe_image(instance, series, index)
    return instance


def _describe_patient_and_study(instance: Dataset, head: _Head) -> None:
    instance.SpecificCharacterSet = "ISO_IR 192"
    instance.PatientName = head.name
    instance.PatientID = head.patient_id
    instance.PatientBirthDate = head.birth_date
    instance.PatientSex = head.sex
    instance.PatientAge = head.age
    instance.PatientComments = "Synthetic: drawn, not acquired"
    instance.StudyInstanceUID = uid(head.key, "study")
    instance.StudyID = head.key[:16]
    instance.AccessionNumber = f"SB{head.patient_id[-3:]}"
    instance.StudyDate = instance.SeriesDate = instance.AcquisitionDate = head.date
    instance.StudyTime = instance.SeriesTime = instance.AcquisitionTime = head.time
    instance.ContentDate, instance.ContentTime = head.date, head.time
    instance.StudyDescription = "MR head with contrast (synthetic)"
    instance.ReferringPhysicianName = "Sandbox^Referrer"
    instance.TimezoneOffsetFromUTC = "+0000"


def _describe_series(instance: Dataset, head: _Head, series: Series) -> None:
    instance.Modality = "MR"
    instance.SeriesInstanceUID = uid(head.key, "series")
    instance.SeriesNumber = 4
    instance.SeriesDescription = "AX T1 POST"
    instance.ProtocolName = "AX T1 POST"
    instance.BodyPartExamined = "HEAD"
    instance.PatientPosition = "HFS"
    instance.FrameOfReferenceUID = uid(head.key, "frame of reference")
    instance.PositionReferenceIndicator = ""
    instance.Manufacturer = "scanhook sandbox"
    instance.ManufacturerModelName = "Drawn head"
    instance.InstitutionName = "Sandbox"
    instance.SoftwareVersions = "1"
    instance.ScanningSequence, instance.SequenceVariant = "SE", "NONE"
    instance.ScanOptions, instance.MRAcquisitionType = "", "2D"
    instance.EchoTime, instance.RepetitionTime, instance.EchoTrainLength = 12.0, 550.0, 1
    instance.MagneticFieldStrength = 1.5
    instance.ContrastBolusAgent = "SYNTHETIC"
    instance.SliceThickness = series.protocol.thickness_mm
    instance.SpacingBetweenSlices = series.protocol.spacing_mm


def _describe_image(instance: FileDataset, series: Series, index: int) -> None:
    position = series.protocol.position_mm(index)
    instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID
    instance.InstanceNumber = index + 1
    instance.AcquisitionNumber = 1
    instance.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    instance.ImagePositionPatient = [f"{value:.6g}" for value in position]
    instance.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    instance.SliceLocation = f"{position[2]:.6g}"
    instance.PixelSpacing = [series.protocol.pixel_mm] * 2
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.Rows, instance.Columns = series.pixels.shape[1:]
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 16, 15
    instance.PixelRepresentation = 1
    instance.WindowCenter, instance.WindowWidth = FULL_SCALE * 0.3, FULL_SCALE * 0.6
    instance.PixelData = np.ascontiguousarray(series.pixels[index], "<i2").tobytes()
