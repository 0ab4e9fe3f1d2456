"""May this model read this series? Each "no" is a reason that a person can understand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.contract import Reason, SeriesFacts
from models.manifest import Applicability
from models.regions import REGIONS

_WORD = re.compile(r"[a-z0-9]+")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Root of the Secondary Capture storage classes (PS3.4 B.5); they often have text burned in."""


def reasons_against(rule: Applicability, series: SeriesFacts) -> tuple[Reason, ...]:
    """Every reason why the model may not read the series; none when it may.

    What a series does not state is not held against it, but for the modality; without a body part
    it counts what study, protocol and series are called.
    """
    return (
        *_modality(rule, series),
        *_body_part(rule, series),
        *_region(rule, series),
        *_excluded(rule, series),
        *_captured(series),
        *_view(rule, series),
        *_age(rule, series),
        *_size(rule, series),
    )


def _modality(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    if series.modality is None:
        yield Reason("modality-unknown", "The series does not state its modality.")
    elif series.modality.strip().upper() not in rule.modalities:
        wanted = " or ".join(rule.modalities)
        yield Reason("modality", f"The model reads {wanted} only; this series is of another kind.")


def _body_part(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    stated = (series.body_part or "").strip().upper()
    if stated and stated not in rule.body_parts:
        wanted = ", ".join(part.lower() for part in rule.body_parts)
        sentence = f"The series states a body part that is none of the model's: {wanted}."
        yield Reason("body-part", sentence)


def _region(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    """What study, protocol and series are called, where no body part is stated.

    The reason names our own word, never the text itself (it may identify).
    """
    if (series.body_part or "").strip():
        return
    named = _words(series.study_description, series.protocol, series.description)
    if any(_contains(named, part) for part in rule.body_parts):
        return
    for region in REGIONS:
        if _contains(named, region):
            sentence = (
                f"The series or its study is described as {region!r}, not a region of the model."
            )
            yield Reason("body-part", sentence)
            return


def _excluded(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    """The reason names the manifest's word, never the series' own text (it may identify)."""
    called = series.description or series.protocol
    stated = _words(called, *series.image_type)
    for excluded in rule.excluded_words:
        if _contains(stated, excluded):
            sentence = f"The series is described as {excluded!r}, which the model does not read."
            yield Reason("excluded-series", sentence)
            return


def _captured(series: SeriesFacts) -> Iterator[Reason]:
    """A screen shot or a scanned film is no acquisition, whatever its modality says."""
    if f"{series.sop_class_uid}.".startswith(f"{SECONDARY_CAPTURE}."):
        yield Reason("secondary-capture", "The series holds pictures of images, not images.")
    if series.burned_in:
        yield Reason("burned-in", "The images say that text is burned into their pixels.")


def _view(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    stated = (series.view_position or "").strip().upper()
    if rule.views and stated and stated not in rule.views:
        wanted = " or ".join(rule.views)
        yield Reason("view", f"The radiograph is of another view; the model reads {wanted}.")


def _age(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    """The reason names the manifest's ages, never the patient's."""
    if series.age_years is None:
        return
    if rule.min_age_years is not None and series.age_years < rule.min_age_years:
        sentence = f"The model reads images of patients from {rule.min_age_years:g} years upwards."
        yield Reason("age", sentence)
    if rule.max_age_years is not None and series.age_years > rule.max_age_years:
        sentence = f"The model reads images of patients up to {rule.max_age_years:g} years of age."
        yield Reason("age", sentence)


def _size(rule: Applicability, series: SeriesFacts) -> Iterator[Reason]:
    if (series.rows or rule.min_rows) < rule.min_rows or (
        (series.columns or rule.min_columns) < rule.min_columns
    ):
        smallest = f"{rule.min_rows} x {rule.min_columns}"
        yield Reason("too-small", f"The images are smaller than {smallest} pixels.")
    if series.samples_per_pixel not in (None, rule.samples_per_pixel):
        yield Reason("colour", "The images are in colour; the model reads grey images.")


def _words(*texts: str) -> str:
    """The words of texts in lower case, each between spaces; two part one text from the next."""
    return "".join(f" {' '.join(_WORD.findall(text.lower()))} " for text in texts)


def _contains(words: str, wanted: str) -> bool:
    """Whether the words of `wanted` stand in one of the texts, one after another."""
    sought = _words(wanted)
    return sought in words or not sought.strip()
