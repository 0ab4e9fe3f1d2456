"""Series to measure with: one drawn head, told apart by UIDs that any number of studies can have.

A study's UID carries the kind of series and a number, so the archive's double needs no list: it
writes the asked number into prepared headers and sends them before the prepared pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from cds_service.sandbox.demo_studies import HEADS, head_instances
from cds_service.sandbox.phantom import Protocol, Series, axial_series

PATIENT_ID = HEADS[0].patient_id


@dataclass(frozen=True)
class Kind:
    """A shape of series; `digit` begins the number in its UIDs."""

    name: str
    digit: int
    protocol: Protocol

    @property
    def slices(self) -> int:
        """Instances of the series."""
        return self.protocol.slices


DRAWN = Protocol()
KINDS = {
    kind.name: kind
    for kind in (
        Kind("1 slice of 512x512", 1, replace(DRAWN, slices=1, first_mm=DRAWN.position_mm(13)[2])),
        Kind("24 slices of 512x512", 2, DRAWN),
        Kind(
            "48 slices of 256x256",
            3,
            replace(
                DRAWN,
                size=DRAWN.size // 2,
                pixel_mm=DRAWN.pixel_mm * 2,
                slices=DRAWN.slices * 2,
                thickness_mm=DRAWN.thickness_mm / 2,
                spacing_mm=DRAWN.spacing_mm / 2,
            ),
        ),
    )
}
ONE, MANY, THIN = KINDS.values()


@dataclass(frozen=True)
class Study:
    """One study by its kind and number."""

    kind: Kind
    number: int

    @property
    def token(self) -> str:
        """The digits by which its UIDs differ from those of other studies; always as many."""
        return f"{self.kind.digit}{self.number:016d}"

    @property
    def study_uid(self) -> str:
        """(0020,000D)"""
        return f"2.25.{self.token}"

    @property
    def series_uid(self) -> str:
        """(0020,000E)"""
        return f"{self.study_uid}.1"

    def sop_instance_uid(self, index: int) -> str:
        """(0008,0018) of instance `index`, from 0."""
        return f"{self.study_uid}.1.{index + 1}"


def study_of(study_uid: str) -> Study:
    """The inverse of `Study.study_uid`."""
    token = study_uid.removeprefix("2.25.")
    kind = next(kind for kind in KINDS.values() if kind.digit == int(token[0]))
    return Study(kind, int(token[1:]))


@cache
def _drawn() -> Series:
    return axial_series(HEADS[0].lesion, DRAWN)


def _pixels(kind: Kind) -> npt.NDArray[np.uint16]:
    """The one drawn series in the shape of `kind`: [slice, row, column]."""
    drawn = np.maximum(_drawn().pixels, 0).astype(np.uint16)
    if kind is ONE:
        return drawn[13:14]
    if kind is MANY:
        return drawn
    halved = drawn.reshape(len(drawn), 256, 2, 256, 2).mean((2, 4))
    following = np.concatenate((halved[1:], halved[-1:]))
    pairs = np.stack((halved, (halved + following) / 2), axis=1)
    return pairs.reshape(-1, 256, 256).astype(np.uint16)


def datasets(kind: Kind) -> Iterator[FileDataset]:
    """The instances of study 0 of this kind: unsigned 16-bit MR images with a drawn glioma."""
    study, head = Study(kind, 0), HEADS[0]
    pixels = _pixels(kind)
    series = replace(_drawn(), protocol=kind.protocol, pixels=pixels.astype(np.int16))
    for index, instance in enumerate(head_instances(head.key, series, head)):
        instance.StudyInstanceUID = study.study_uid
        instance.SeriesInstanceUID = study.series_uid
        instance.SOPInstanceUID = study.sop_instance_uid(index)
        instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
        instance.PixelRepresentation = 0
        instance.PixelData = pixels[index].astype("<u2").tobytes()
        yield instance


@cache
def prepared(kind: Kind) -> tuple[tuple[bytes, bytes], ...]:
    """Each instance of study 0 as (everything before the pixels, the pixels)."""
    parts = []
    for instance in datasets(kind):
        buffer = io.BytesIO()
        instance.save_as(buffer, enforce_file_format=True)
        cut = len(buffer.getvalue()) - len(instance.PixelData)
        parts.append((buffer.getvalue()[:cut], buffer.getvalue()[cut:]))
    return tuple(parts)


def instances(study: Study) -> Iterator[tuple[bytes, bytes]]:
    """Each instance of a study as (everything before the pixels, the pixels)."""
    blank, token = Study(study.kind, 0).token.encode(), study.token.encode()
    for header, pixels in prepared(study.kind):
        yield header.replace(blank, token), pixels
