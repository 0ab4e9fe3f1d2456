"""A site whose one model has a known answer, and what it is fed with: drawn series and charts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from tests.peers.site import Site
from tests.reference.dicom_factory import axial_series, encoded, head
from tests.reference.toy import FOLDER

MODEL = "toy-glow"
FINDING, NO_FINDING, INDETERMINATE = 0.8, 0.0, 0.3
"""Sizes of the bright disc for which the toy model gives each answer."""


def toy_site(
    folder: Path,
    *,
    redis_url: str,
    archive_url: str,
    fhir_base: str,
    backend: str = "open",
    settings: str = "",
    worker: str = "attempts = 2",
    archive: str = "",
    tables: str = "",
) -> Site:
    """A site that runs the toy model alone; `settings` and `worker` are lines of TOML."""
    package = folder / "models" / "toy"
    shutil.copytree(FOLDER, package)
    (package / "CARD.md").write_text("# Toy\n")
    site = Site(
        folder,
        redis_url=redis_url,
        archive_url=archive_url,
        fhir_base=fhir_base,
        backend=backend,
        archive=archive,
        tables=f"{tables}\n[worker]\n{worker}\n",
    )
    chosen = f'models_dirs = ["{package.parent}"]\nmodels_enabled = ["{MODEL}"]\n{settings}\n'
    site.config.write_text(chosen + site.config.read_text())
    return site


def drawn_series(
    study_uid: str, count: int = 3, blob: float = FINDING, side: int = 96, **elements: Any
) -> list[Dataset]:
    """An axial series of its own study; every SOP Instance UID is the study's with a number."""
    series_uid = elements.pop("SeriesInstanceUID", f"{study_uid}.1")
    made = axial_series(
        count,
        pixels=lambda index: head(side, side, blob=blob, seed=index),
        StudyInstanceUID=study_uid,
        SeriesInstanceUID=series_uid,
        **elements,
    )
    for index, each in enumerate(made, 1):
        each.SOPInstanceUID = f"{series_uid}.{index}"
    return made


def as_files(series: Sequence[Dataset]) -> list[bytes]:
    """The instances as Part 10 files."""
    return [encoded(each) for each in series]


def chart(
    patient_id: str,
    study_uid: str,
    *,
    identifier: str = "PLANTED-ID",
    instances: int | None = None,
    study: Mapping[str, Any] | None = None,
    patient: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What an EHR prefetches for a patient with one study; `study` and `patient` add members."""
    resource = {
        "resourceType": "ImagingStudy",
        "id": f"study-{patient_id}"[:64],
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}],
        "subject": {"reference": f"Patient/{patient_id}"},
        "started": "2026-11-20T09:30:00+01:00",
        **({"numberOfInstances": instances} if instances is not None else {}),
        **(study or {}),
    }
    person = {
        "resourceType": "Patient",
        "id": patient_id,
        "identifier": [{"system": "urn:test:mrn", "value": identifier}],
        **(patient or {}),
    }
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource}]}
    return {"patient": person, "studies": bundle}


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """The process ids whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            number, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == pid:
                found.append(int(number))
    return found
