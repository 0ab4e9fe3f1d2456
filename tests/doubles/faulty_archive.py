"""A DICOMweb archive out of a handful of instances, over `faulty_http`, with faults to choose."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tests.doubles.faulty_http import Reply, Seen, answer

MULTIPART = 'multipart/related; type="application/dicom"; boundary='
_INSTANCE = re.compile(r".*/instances/([0-9.]+)")


def make_instance(
    study_uid: str,
    series_uid: str,
    number: int = 1,
    *,
    side: int = 32,
    syntax: UID = ExplicitVRLittleEndian,
    accession: str = "A1",
    patient_id: str = "P1",
) -> bytes:
    """One MR slice as a Part 10 file: noise, so that any mix-up shows."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    instance = Dataset()
    instance.file_meta = meta
    instance.SOPClassUID = MRImageStorage
    instance.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    instance.StudyInstanceUID, instance.SeriesInstanceUID = study_uid, series_uid
    instance.PatientID, instance.PatientName = patient_id, "Made^Up"
    instance.AccessionNumber, instance.StudyDate = accession, "20260102"
    instance.Modality, instance.SeriesNumber, instance.InstanceNumber = "MR", 3, number
    instance.SeriesDescription, instance.BodyPartExamined = "T1, ax/obl *", "BRAIN"
    instance.Rows = instance.Columns = side
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 16, 15
    instance.PixelRepresentation = 0
    noise = np.random.default_rng(number).integers(0, 4000, (side, side), dtype=np.uint16)
    instance.PixelData = noise.tobytes()
    file = io.BytesIO()
    pydicom.dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


@dataclass
class Series:
    """A made series."""

    study_uid: str = field(default_factory=generate_uid)
    series_uid: str = field(default_factory=generate_uid)
    instances: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, side: int = 32, accession: str = "A1") -> Series:
        """`count` slices of `side` x `side`."""
        series = cls()
        for number in range(1, count + 1):
            data = make_instance(
                series.study_uid, series.series_uid, number, side=side, accession=accession
            )
            series.add(data)
        return series

    def add(self, data: bytes) -> str:
        """Put an instance in; its SOP Instance UID."""
        uid = str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPInstanceUID)
        self.instances[uid] = data
        return uid


def body_of(
    instances: Iterable[bytes], boundary: str = "bnd", lengths: bool = True, closed: bool = True
) -> bytes:
    """A multipart/related body."""
    parts = []
    for data in instances:
        length = f"Content-Length: {len(data)}\r\n" if lengths else ""
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n{length}\r\n"
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + (f"--{boundary}--\r\n".encode() if closed else b"")


Retrieve = Callable[[Seen, list[bytes]], Reply]


def whole(seen: Seen, instances: list[bytes]) -> Reply:
    """What a good archive sends."""
    return answer(200, body_of(instances), {"Content-Type": MULTIPART + "bnd"})


class FaultyArchive:
    """Chooses replies for `FaultyServer`: lists truly, retrieves as `retrieve` says.

    Args:
        series: what it holds.
        retrieve: (request, the instances it asks for) -> reply.
        listed: UIDs to list instead of the true ones.
    """

    def __init__(
        self, series: Series, retrieve: Retrieve = whole, listed: list[str] | None = None
    ) -> None:
        self.series = series
        self.retrieve = retrieve
        self.listed = listed
        self.retrievals: list[Seen] = []

    def __call__(self, seen: Seen) -> Reply:
        """The reply to one request."""
        if seen.path.endswith(("/instances", "/series", "/studies")):
            return self._list(seen)
        self.retrievals.append(seen)
        match = _INSTANCE.fullmatch(seen.path)
        if match is None:
            return self.retrieve(seen, list(self.series.instances.values()))
        found = self.series.instances.get(match[1])
        return answer(404) if found is None else self.retrieve(seen, [found])

    def _list(self, seen: Seen) -> Reply:
        row: Mapping[str, object] = {
            "0020000D": {"vr": "UI", "Value": [self.series.study_uid]},
            "0020000E": {"vr": "UI", "Value": [self.series.series_uid]},
            "00080060": {"vr": "CS", "Value": ["MR"]},
            "00080050": {"vr": "SH", "Value": ["A1"]},
            "00180015": {"vr": "CS", "Value": ["BRAIN"]},
            "00201209": {"vr": "IS", "Value": [len(self.series.instances)]},
        }
        rows = [row]
        if seen.path.endswith("/instances"):
            uids = self.listed if self.listed is not None else list(self.series.instances)
            rows = [{**row, "00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]
        body = json.dumps(rows).encode()
        return answer(200, body, {"Content-Type": "application/dicom+json"})
