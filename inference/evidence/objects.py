"""What an archive can keep of a result: its kinds, its names, and the bytes or the refusal.

UIDs are made from content (PS3.5 B.2): the same model's answer on the same images has the same
series and instance, so that what is stored twice is there once.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from inference.analysis import ModelResult

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:scanhook:evidence")
_LONG_STRING = 64  # PS3.5 6.2, VR LO


class Kind(StrEnum):
    """The objects that can be made of a result."""

    REPORT = "report"
    OUTLINE = "outline"
    MAP = "map"
    PICTURE = "picture"

    @property
    def called(self) -> str:
        """What its series is called; every one begins with AI."""
        return _TITLES[self]

    @property
    def series_number(self) -> int:
        """Far above those of scanners, so that viewers list the series after theirs."""
        return 9001 + list(Kind).index(self)


_TITLES = {
    Kind.REPORT: "AI report",
    Kind.OUTLINE: "AI outline",
    Kind.MAP: "AI map",
    Kind.PICTURE: "AI key image",
}


_UNREAD = frozenset({"SR", "SEG", "OT"})
"""Of report, outline and picture; a map has that of the images it was made of."""


@dataclass(frozen=True)
class EvidenceName:
    """By which UIDs one object of one result goes; it is alone in its series."""

    kind: Kind
    series_uid: str
    sop_instance_uid: str
    description: str
    """Series Description (0008,103E): the kind, and the model by its title."""


@dataclass(frozen=True)
class EvidenceObject:
    """One object, ready to be sent; `encoded` is a PS3.10 file."""

    name: EvidenceName
    model_id: str
    study_uid: str
    sop_class_uid: str
    modality: str
    encoded: bytes = field(repr=False)


@dataclass(frozen=True)
class Refusal:
    """An object that was asked for and not made; `sentence` says what is missing."""

    kind: Kind
    model_id: str
    sentence: str


def name_of(kind: Kind, study_uid: str, result: ModelResult) -> EvidenceName:
    """The name of one object: by study, series, images, and the model's very file."""
    return EvidenceName(
        kind=kind,
        series_uid=content_uid("series", kind, *_content(study_uid, result)),
        sop_instance_uid=content_uid("instance", kind, *_content(study_uid, result)),
        description=f"{kind.called}: {result.model_title}"[:_LONG_STRING],
    )


def is_evidence(
    series_uid: str, series_number: int | None, description: str = "", modality: str | None = None
) -> bool:
    """Whether a series that an archive or a chart lists is one that we made: no part of the study.

    Its UID is one of ours (2.25 and a name-based UUID), and its number or its description is ours.
    Where neither is stated, it is one of a `modality` that no model reads: then it would be no
    growth of the study, whoever made it.
    """
    titles = tuple(f"{title}: " for title in _TITLES.values())
    numbers = {kind.series_number for kind in Kind}
    bare = series_number is None and not description and modality in _UNREAD
    named = bare or series_number in numbers or description.startswith(titles)
    return named and _is_content_uid(series_uid)


def _is_content_uid(uid: str) -> bool:
    digits = uid.removeprefix("2.25.")
    if digits == uid or not (digits.isascii() and digits.isdigit() and len(digits) < 40):
        return False
    return int(digits) < 1 << 128 and uuid.UUID(int=int(digits)).version == 5


def tracking_uid(study_uid: str, result: ModelResult, what: str) -> str:
    """Names one finding, so that whoever follows it over time knows it again."""
    return content_uid("tracking", what, *_content(study_uid, result))


def device_uid(result: ModelResult) -> str:
    """Names the model's file as the device that observed."""
    return content_uid("device", result.model_id, result.model_version, result.model_sha256)


def content_uid(*parts: str) -> str:
    """A UID of the 2.25 branch made from `parts`, unambiguous whatever they contain."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(parts)).int}"


def _content(study_uid: str, result: ModelResult) -> tuple[str, ...]:
    model = (result.model_id, result.model_version, result.model_sha256)
    images = sorted(f"{each.sop_instance_uid} {each.frame}" for each in result.slices)
    return study_uid, result.series_uid, *model, *images
