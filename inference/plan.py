"""Which model reads which series, decided before any pixel is fetched, and why not the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.analysis import ModelUse, SeriesUse
from models.contract import Reason, SeriesFacts
from models.registry import ModelPackage, Refusal, Registry

_NO_MODEL = Reason("no-model", "No model is in use.")
_NO_SERIES = Reason("no-series", "The study has no series.")
_NOT_SERVED = Reason("not-served", "No installed model passed its own test.")
_NOT_FOLLOWED = Reason("chain", "The model that it goes on from is not run on this study.")
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


def plan_study(
    facts: Sequence[SeriesFacts], registry: Registry, refused: Sequence[ModelUse] = ()
) -> Plan:
    """Give each model the one series of the study that suits it best.

    Best is: most instances, then the lowest Series Number, then the lowest Series Instance UID
    as text. A series that states no count comes after those that do. A model that follows another
    (`models.manifest.Chain`) is given that model's series, and comes after it. Every series, read
    or left out, and every model that is left out has at least one reason; `refused` are models that
    are installed and not in the registry, because they may not be served.
    """
    judged = [(series, *registry.candidates(series)) for series in facts]
    assignments: list[Assignment] = []
    chosen: dict[str, tuple[Reason, ...]] = {}
    not_run: list[ModelUse] = [*refused]
    for package in _in_order(registry.packages):
        suited = [series for series, packages, _ in judged if package in packages]
        open_to_it = [series for series in suited if _is_open(series, package, assignments)]
        if open_to_it:
            best = min(open_to_it, key=_preference)
            why = () if _after(package) else (_why_chosen(best, open_to_it, package),)
            chosen[best.series_uid] = (*chosen.get(best.series_uid, ()), *why)
            assignments.append(Assignment(best, package))
        else:
            refusals = [refused_here for *_, refused_here in judged]
            not_run.append(_model_left_out(package, refusals, suits=bool(suited)))
    placed = [assignment.package for assignment in assignments]
    left_out = _NOT_SERVED if refused and not placed else _NO_MODEL
    leading = [package for package in placed if not _after(package)]
    series_uses = tuple(
        _series_use(
            series,
            chosen.get(series.series_uid)
            or _why_left_out(any(p in leading for p in packages), refusals, left_out),
            used=series.series_uid in chosen,
        )
        for series, packages, refusals in judged
    )
    return Plan(tuple(assignments), series_uses, tuple(not_run))


def _in_order(packages: Sequence[ModelPackage]) -> Iterator[ModelPackage]:
    """The packages, each after those that it follows; a circle is taken as it comes."""
    waiting = list(packages)
    while waiting:
        ids = {package.manifest.id for package in waiting}
        ready = [package for package in waiting if _after(package) not in ids] or waiting
        yield from ready
        waiting = [package for package in waiting if package not in ready]


def _after(package: ModelPackage) -> str | None:
    return package.manifest.chain.after if package.manifest.chain else None


def _is_open(series: SeriesFacts, package: ModelPackage, assignments: Sequence[Assignment]) -> bool:
    """Whether the model that the package follows, if it follows one, reads the series."""
    before = _after(package)
    return before is None or any(
        each.series == series and each.package.manifest.id == before for each in assignments
    )


def _preference(series: SeriesFacts) -> tuple[int, float, str]:
    number = math.inf if series.series_number is None else series.series_number
    return -(series.instances or 0), number, series.series_uid


def _model_left_out(
    package: ModelPackage, refusals: Iterable[Sequence[Refusal]], *, suits: bool
) -> ModelUse:
    name = (package.manifest.id, package.manifest.version)
    if suits:
        return ModelUse(*name, (_NOT_FOLLOWED,))
    reasons = unique(
        reason
        for refused in refusals
        for refusal in refused
        if (refusal.model_id, refusal.model_version) == name
        for reason in refusal.reasons
    )
    return ModelUse(*name, reasons or (_NO_SERIES,))


def _why_chosen(best: SeriesFacts, suited: Sequence[SeriesFacts], package: ModelPackage) -> Reason:
    """What `_preference` went by, in a sentence."""
    title = package.manifest.title
    if len(suited) == 1:
        return Reason("only-series", f"{title} reads this series: no other one suits it.")
    said = f"{title} reads this series: of the {len(suited)} that suit it,"
    images, number, _ = _preference(best)
    next_images, next_number, _ = sorted(map(_preference, suited))[1]
    if images < next_images:
        return Reason("most-images", f"{said} it has the most images.")
    if number < next_number:
        sentence = f"{said} none has more images, and of those with as many its number is lowest."
        return Reason("lowest-number", sentence)
    return Reason("first-of-equals", f"{said} others have as many images and no lower number.")


def _why_left_out(
    suits_a_model: bool, refusals: Sequence[Refusal], otherwise: Reason
) -> tuple[Reason, ...]:
    told = unique(reason for refusal in refusals for reason in refusal.reasons)
    return (_OTHER_SERIES,) if suits_a_model else told or (otherwise,)


def _series_use(series: SeriesFacts, reasons: tuple[Reason, ...], *, used: bool) -> SeriesUse:
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
