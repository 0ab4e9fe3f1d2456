"""Which model reads which series, decided before any pixel is fetched, and why not the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.analysis import ModelUse, SeriesUse
from models.contract import Reason, SeriesFacts
from models.registry import ModelPackage, Refusal, Registry

_NO_MODEL = Reason("no-model", "No model is installed.")
_NO_SERIES = Reason("no-series", "The study has no series.")
_OTHER_SERIES = Reason(
    "other-series",
    "Another series of the study suits the same model and has more images, or a lower number.",
)


@dataclass(frozen=True)
class Assignment:
    """One model to be run on one series."""

    series: SeriesFacts
    package: ModelPackage


@dataclass(frozen=True)
class Plan:
    """What will be read and run. `series` covers every series, used or not, in the given order."""

    assignments: tuple[Assignment, ...]
    series: tuple[SeriesUse, ...]
    models_not_run: tuple[ModelUse, ...]

    @property
    def series_to_read(self) -> tuple[SeriesFacts, ...]:
        """Each series that must be fetched, once."""
        wanted = {a.series.series_uid: a.series for a in self.assignments}
        return tuple(wanted.values())

    def packages_for(self, series_uid: str) -> tuple[ModelPackage, ...]:
        """The models that read one series."""
        return tuple(a.package for a in self.assignments if a.series.series_uid == series_uid)


def plan_study(facts: Sequence[SeriesFacts], registry: Registry) -> Plan:
    """Give each model the one series of the study that suits it best.

    Best is: most instances, then the lowest Series Number, then the lowest Series Instance UID
    as text. A series that states no count comes after those that do. Every series and every model
    that is left out has at least one reason.
    """
    judged = [(series, *registry.candidates(series)) for series in facts]
    assignments: list[Assignment] = []
    not_run: list[ModelUse] = []
    for package in registry.packages:
        suited = [series for series, packages, _ in judged if package in packages]
        if suited:
            assignments.append(Assignment(min(suited, key=_preference), package))
        else:
            not_run.append(_model_left_out(package, [refused for *_, refused in judged]))
    used = {assignment.series.series_uid for assignment in assignments}
    series_uses = tuple(
        _series_use(series, series.series_uid in used, bool(packages), refused)
        for series, packages, refused in judged
    )
    return Plan(tuple(assignments), series_uses, tuple(not_run))


def _preference(series: SeriesFacts) -> tuple[int, float, str]:
    number = math.inf if series.series_number is None else series.series_number
    return -(series.instances or 0), number, series.series_uid


def _model_left_out(package: ModelPackage, refusals: Iterable[Sequence[Refusal]]) -> ModelUse:
    name = (package.manifest.id, package.manifest.version)
    reasons = unique(
        reason
        for refused in refusals
        for refusal in refused
        if (refusal.model_id, refusal.model_version) == name
        for reason in refusal.reasons
    )
    return ModelUse(*name, reasons or (_NO_SERIES,))


def _series_use(
    series: SeriesFacts, used: bool, suits_a_model: bool, refused: Sequence[Refusal]
) -> SeriesUse:
    reasons: tuple[Reason, ...] = ()
    if not used and suits_a_model:
        reasons = (_OTHER_SERIES,)
    elif not used:
        reasons = unique(reason for refusal in refused for reason in refusal.reasons)
        reasons = reasons or (_NO_MODEL,)
    return SeriesUse(
        series_uid=series.series_uid,
        series_number=series.series_number,
        modality=series.modality,
        used=used,
        instances=series.instances,
        reasons=reasons,
    )


def unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The reasons without repetition, in their first order."""
    return tuple(dict.fromkeys(reasons))
