"""StudyRef <-> order: what a job is told, as small JSON of identifiers and references.

No token, no name, no pixel. The series are left out: the archive's own list decides what is
fetched, and a study of many series must still fit into the sealed payload.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from cds_service.errors import ServiceError
from cds_service.queue.content import counted, named
from cds_service.queue.state import Priority, StudyRecord
from fhir_mapping.study import SeriesRef, StudyRef, content_keys
from inference.analysis import SeriesUse
from inference.evidence.objects import is_evidence

IDENTIFIER_CHARACTERS = 64
"""DICOM's PatientID holds no more (PS3.5, value representation LO): a longer identifier of the
chart can never be the one in the images."""

IDENTIFIERS_CHARACTERS = 1200
"""Of all identifiers together, since an order has its bounds."""

StudyKey = Callable[[str, str, str], str]
"""(tenant's name, patient's reference, study UID) -> the opaque id of the study in this patient's
chart (`queue.payload.Sealer.study_key`)."""

_TEXTS = (
    "imaging_study_reference",
    "encounter_reference",
    "accession_number",
    "started_text",
)


class UnreadableOrder(ServiceError):
    """An order without a member that we always write; made by another version of scanhook."""

    kind = "order"


class Orders(Protocol):
    """Accepts orders (see `queue.enqueue.Dispatcher`)."""

    def submit(
        self,
        order: Mapping[str, Any],
        study_key: str,
        content_key: str,
        models: str,
        priority: Priority | str = Priority.ROUTINE,
    ) -> StudyRecord:
        """The study's record, new or old. Raises QueueFull, QueueUnavailable, PayloadTooLarge."""


@dataclass(frozen=True)
class Order:
    """What a worker needs: whose EHR it is, and the study."""

    tenant: str
    ref: StudyRef


def order_of(ref: StudyRef, tenant: str) -> dict[str, Any]:
    """The order as JSON values, without anything empty."""
    identifiers, left_out = _bounded(ref.patient_identifiers)
    order: dict[str, Any] = {
        "tenant": tenant,
        "study_uid": ref.study_uid,
        "archive": ref.archive,
        "patient_reference": ref.patient_reference,
        "patient_identifiers": identifiers,
        "identifiers_left_out": left_out or ref.identifiers_left_out or None,
        "based_on_references": list(ref.based_on_references[:5]),
        "modalities": list(ref.modalities[:8]),
        "instances": ref.instances,
        "started": ref.started.isoformat() if ref.started else None,
    }
    order |= {name: getattr(ref, name) for name in _TEXTS}
    return {name: value for name, value in order.items() if value not in (None, "", [])}


def ref_of(order: Mapping[str, Any]) -> Order:
    """The inverse of `order_of`, but for the series.

    Raises:
        UnreadableOrder: a member is missing or has another type.
    """
    try:
        started = order.get("started")
        ref = StudyRef(
            study_uid=_named_by(order),
            archive=_text(order["archive"]),
            patient_reference=_text(order["patient_reference"]),
            patient_identifiers=_texts(order.get("patient_identifiers", ())),
            identifiers_left_out=bool(order.get("identifiers_left_out")),
            based_on_references=_texts(order.get("based_on_references", ())),
            modalities=_texts(order.get("modalities", ())),
            instances=order.get("instances"),
            started=datetime.fromisoformat(started) if started else None,
            imaging_study_reference=order.get("imaging_study_reference"),
            encounter_reference=order.get("encounter_reference"),
            accession_number=order.get("accession_number"),
            started_text=order.get("started_text"),
        )
        return Order(_text(order["tenant"]), ref)
    except (KeyError, TypeError, ValueError):
        raise UnreadableOrder("The order lacks what we put into it.") from None


def content_of(
    ref: StudyRef,
    tenant: str,
    study_key: StudyKey,
    *,
    read: Sequence[SeriesUse] | None = None,
    version: str | None = None,
    images: Sequence[str] | None = None,
) -> str:
    """Name the content of a study to the queue, as far as the caller knows it.

    Up to six parts: three that the EHR announces (`content_keys`); the series that models read,
    each with the number of instances in the archive (`read`: those used of a plan or an analysis);
    the archive's own `version` of the study; and the `images` of these series, by their UIDs.
    Keyed, or Redis would answer guesses at a UID.
    """

    def word(stated: str) -> str:
        return study_key(tenant, ref.patient_reference, stated)[:16]

    listed = read if read is None else sorted([s.series_uid, s.instances] for s in read if s.used)
    stated = (listed, version, images and sorted(images))
    held = [None if each is None else word(json.dumps([ref.study_uid, each])) for each in stated]
    announced = [key and counted(key[0], word(key[1])) for key in content_keys(ref)]
    return named((*announced, *(held if any(held) else ())))


def as_held(ref: StudyRef, held: Sequence[SeriesUse]) -> StudyRef:
    """The study as its archive has it, which holds these series; without those that we made."""
    series = tuple(
        SeriesRef(each.series_uid, each.modality, each.instances)
        for each in held
        if not is_evidence(each.series_uid, each.series_number, modality=each.modality)
    )
    counts = [each.instances for each in series if each.instances is not None]
    return replace(
        ref, series=series, instances=sum(counts) if len(counts) == len(series) else None
    )


def _bounded(identifiers: Sequence[str]) -> tuple[list[str], bool]:
    """What an order holds of the identifiers, and whether one that matters had no room.

    One that is too long for DICOM matters only where nothing else is left to compare with: a chart
    that states identifiers is not a chart without any.
    """
    possible = [value for value in identifiers if len(value.strip()) <= IDENTIFIER_CHARACTERS]
    kept: list[str] = []
    for value in possible:
        if sum(map(len, kept)) + len(value) <= IDENTIFIERS_CHARACTERS:
            kept.append(value)
    return kept, len(kept) < len(possible) or (bool(identifiers) and not kept)


def _named_by(order: Mapping[str, Any]) -> str:
    """The study UID; empty where an accession number stands for it (see `locating`)."""
    if not order.get("study_uid"):
        _text(order["accession_number"])
        _text(order["imaging_study_reference"])
        return ""
    return _text(order["study_uid"])


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError
    return tuple(_text(value) for value in values)
