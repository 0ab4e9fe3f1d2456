"""Which studies belong to the stay that ends: what encounter-discharge looks at.

Images of an admission are often made before it, in the emergency department, under an encounter of
their own: the time decides then, with a day of margin. Years-old findings are no loose ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cds_service.hooks.imaging import FoundStudy
from fhir_mapping.reading import date_time, member
from fhir_mapping.study import StudyRef

BEFORE_ADMISSION_S = 86_400


def of_stay(
    studies: Iterable[FoundStudy],
    encounter_id: str | None,
    encounter: Callable[[], Mapping[str, Any]],
) -> list[FoundStudy]:
    """The studies of this encounter, and others made during it or in the day before it.

    `encounter` gives the Encounter resource, empty if it cannot be had; it is asked once, and only
    for a study that does not name this encounter. Without a time to compare, a study that names no
    encounter is kept and one that names another is not.
    """
    own = f"Encounter/{encounter_id}"
    found = list(studies)
    if all(study.ref.encounter_reference == own for study in found):
        return found
    written, _ = date_time(member(encounter(), "period"), "start")
    begins_s = _epoch_s(written) - BEFORE_ADMISSION_S if written else None
    return [study for study in found if _belongs(study.ref, own, begins_s)]


def _belongs(study: StudyRef, own: str, begins_s: float | None) -> bool:
    if study.encounter_reference == own:
        return True
    if begins_s is None or study.started_text is None:
        return study.encounter_reference is None
    return _epoch_s(study.started_text) >= begins_s


def _epoch_s(written: str) -> float:
    """The first moment of a FHIR ``dateTime`` of any precision; without a zone it is UTC."""
    filled = written + "-01-01"[len(written) - 4 :] if len(written) < 10 else written
    moment = datetime.fromisoformat(filled)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
