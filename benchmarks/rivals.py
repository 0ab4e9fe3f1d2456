"""The two usual ways to build such a service, as a competent developer builds them.

Both take a study from an RQ queue, ask the archive with dicomweb-client, decode with pydicom,
window with its VOI LUT, resize with Pillow, run ONNX Runtime with its default options slice by
slice, and write a transaction built with fhir.resources. `cold` is what ``rq worker`` does with it:
a fork for each job, which imports this module and loads the model. `warm` is the same code under
``SimpleWorker``, where module and session stay.

Neither checks a signature, completeness, identity or any gate, and neither explains anything: what
they leave out makes them quicker, not slower.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import requests
from dicomweb_client.api import DICOMwebClient
from fhir.resources.R4B.bundle import Bundle
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from redis import Redis

LABELS = ("glioma", "meningioma", "pituitary", "no-tumour")
SIZE = 224


def cold(study_uid: str, order: dict[str, str]) -> None:
    """The job under RQ's default worker."""
    analyse(study_uid, order, _load(order["model"]))


def warm(study_uid: str, order: dict[str, str]) -> None:
    """The job under a worker that lives on."""
    analyse(study_uid, order, _session(order["model"]))


@cache
def _session(model: str) -> onnxruntime.InferenceSession:
    return _load(model)


def _load(model: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def analyse(study_uid: str, order: dict[str, str], session: onnxruntime.InferenceSession) -> None:
    """One study from the archive to the EHR; then its key in Redis says so, with the times."""
    times = {}
    since = time.perf_counter()
    series = retrieve(order["archive"], study_uid)
    times["receive"] = time.perf_counter() - since
    since = time.perf_counter()
    images = [prepare(dataset) for dataset in series]
    times["decode+prepare"] = time.perf_counter() - since
    since = time.perf_counter()
    logits = np.concatenate([session.run(["logits"], {"image": image})[0] for image in images])
    times["infer"] = time.perf_counter() - since
    since = time.perf_counter()
    write(order["fhir"], study_uid, probabilities(logits))
    times["write"] = time.perf_counter() - since
    fields = {name: f"{seconds * 1e3:.3f}" for name, seconds in times.items()}
    done = [part for pair in {"state": "final", **fields}.items() for part in pair]
    Redis.from_url(order["redis"]).hset(f"rival:{order['name']}:{study_uid}", items=done)


def retrieve(archive: str, study_uid: str) -> list[Dataset]:
    """The MR series of the study."""
    client = DICOMwebClient(url=archive)
    found = client.search_for_series(study_uid)
    wanted = next(row for row in found if row["00080060"]["Value"] == ["MR"])
    return client.retrieve_series(study_uid, wanted["0020000E"]["Value"][0])


def prepare(dataset: Dataset) -> npt.NDArray[np.float32]:
    """One slice -> the model's input, float32 (1, 1, 224, 224), 0 to 1."""
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    low, high = values.min(), values.max()
    grey = ((values - low) / max(high - low, 1) * 255).astype(np.uint8)
    resized = Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    scaled = np.asarray(resized, np.float32) / 255
    return np.asarray(scaled[np.newaxis, np.newaxis], np.float32)


def probabilities(logits: npt.NDArray[np.float32]) -> dict[str, float]:
    """The highest probability of each label over the slices."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    each = raised / raised.sum(axis=1, keepdims=True)
    return dict(zip(LABELS, each.max(axis=0).tolist(), strict=True))


def write(fhir_base: str, study_uid: str, found: dict[str, float]) -> None:
    """One report with an observation for each label."""
    common: dict[str, Any] = {"status": "preliminary", "subject": {"reference": "Patient/1"}}
    resources: list[dict[str, Any]] = [
        {
            "resourceType": "Observation",
            **common,
            "code": {"text": label},
            "valueQuantity": {"value": round(probability, 4), "unit": "probability"},
        }
        for label, probability in found.items()
    ]
    identifier = [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"}]
    report = {"resourceType": "DiagnosticReport", **common, "identifier": identifier}
    resources.append(
        {
            **report,
            "code": {"text": "AI analysis"},
            "conclusion": max(found, key=lambda label: found[label]),
        }
    )
    entries = [
        {"resource": each, "request": {"method": "POST", "url": each["resourceType"]}}
        for each in resources
    ]
    bundle = Bundle.model_validate(
        {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    )
    answer = requests.post(
        fhir_base,
        data=bundle.model_dump_json(),
        headers={"Content-Type": "application/fhir+json"},
        timeout=30,
    )
    answer.raise_for_status()
