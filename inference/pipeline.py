"""Bytes of a study -> Analysis: plan, read, score, gate, explain.

::

    with Analyser(registry, limits) as analyser:
        plan = analyser.plan(facts)                     # before any pixel is fetched
        analysis = analyser.analyse(plan, instances)    # instances(series) -> bytes, one by one
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self

from inference.analysis import (
    Analysis,
    ModelResult,
    ModelUse,
    Outcome,
    SeriesImages,
    SeriesUse,
    StudyIdentity,
)
from inference.answers import SeriesAnswers
from inference.errors import InferenceError
from inference.evidence.gathered import OrderedSeries
from inference.explain.held import held_images
from inference.explaining import explain
from inference.gates.applicability import reasons_against
from inference.identity import IdentityWatch
from inference.instance import facts_of, read_instance
from inference.limits import Limits
from inference.loading import tested
from inference.machine import Machine, look_at_machine
from inference.outcomes import study_outcome
from inference.plan import Plan, plan_study
from inference.reading import SeriesReader, SeriesReading
from inference.runtime import Runtime
from inference.serving import Served, load_service, name_of
from inference.volume import arrange
from models.contract import Reason, SeriesFacts
from models.errors import ModelError
from models.registry import ModelPackage, Registry

Instances = Callable[[SeriesFacts], Iterable[bytes]]
Progress = Callable[[str], None]

_BUSY_STEPS = ("decode", "prepare", "infer")
_NO_PRECISIONS: Mapping[str, str] = MappingProxyType({})


@dataclass
class _Study:
    """What has been learnt of one study so far."""

    identity: IdentityWatch
    results: list[ModelResult] = field(default_factory=list)
    not_run: list[ModelUse] = field(default_factory=list)
    images: list[SeriesImages] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    series: dict[str, SeriesUse] = field(default_factory=dict)
    steps_ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class Analyser:
    """Long-lived: loads every model once and keeps one thread for each core.

    `precision` is what the site asks for, `forced` the precision by model id that the comparison
    of both demands (see `inference.precision.choose_precision`). A model that does not answer its
    own reference cases is not served: it stands among the analysis' `models_not_run`, and `served`
    says why. `analyse` may be called again and again, from one thread at a time; `close` (or
    leaving the ``with`` block) ends the threads. Raises ValueError for a precision that is none.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits | None = None,
        precision: str = "auto",
        forced: Mapping[str, str] = _NO_PRECISIONS,
        *,
        machine: Machine | None = None,
    ) -> None:
        self._registry = registry
        self._limits = limits or Limits()
        self._threads = self._limits.threads or _cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="slice")
        there = machine or look_at_machine()
        with ExitStack() as undoing:  # the threads end if there is nothing for them to serve
            undoing.callback(self.close)
            self._service = load_service(registry, there, precision, forced, self._pool)
            undoing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads once what runs has ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def served(self) -> tuple[Served, ...]:
        """How each installed model is served, or why it is not; ordered by id and version."""
        return self._service.served

    def plan(self, facts: Sequence[SeriesFacts], withheld: Container[str] = ()) -> Plan:
        """Decide which model reads which series; see `inference.plan.plan_study`.

        Models whose id is `withheld` are not asked this time, and are not in the plan. A negative
        whose witness is withheld stays unstated, as with any witness that cannot be heard.
        """
        packages = self._service.registry.packages
        asked = Registry(tuple(p for p in packages if p.manifest.id not in withheld))
        refused = [use for use in self._service.refused if use.model_id not in withheld]
        return plan_study(facts, asked, refused)

    def analyse(
        self,
        plan: Plan,
        instances: Instances,
        progress: Progress | None = None,
        *,
        identity: StudyIdentity | None = None,
    ) -> Analysis:
        """Read the planned series and answer.

        `instances(series)` yields the bytes of each instance of a series, in any order; each is
        vetted and scored while the next one arrives. `progress` is called with "reading",
        "judging" and "explaining". `identity`, if given, is whose study this must be; it is also
        what the analysis carries when there is nothing to read.

        The study's outcome is the gravest of its results: finding, indeterminate, measured,
        no-finding, not-analysed; what a model measured that follows another one changes nothing
        about that. `steps_ms` has "receive" (waiting for bytes) and "explain" as wall-clock time,
        "vet", "decode", "prepare" and "infer" as the sum over slices of the time each took on its
        thread (they overlap each other and "receive"), and "total" as wall-clock time.

        Whatever `instances` raises passes through. Raises every InferenceError; a series of which
        one instance cannot be read is not answered in part.
        """
        since = time.perf_counter()
        tell = progress or (lambda _: None)
        study = _Study(IdentityWatch(identity), series={use.series_uid: use for use in plan.series})
        for series in plan.series_to_read:
            self._analyse_series(study, plan, series, instances, tell)
        study.steps_ms["total"] = (time.perf_counter() - since) * 1e3
        return Analysis(
            identity=study.identity.identity or identity or StudyIdentity(""),
            instance_digest=_digest(study.digests),
            outcome=study_outcome(study.results),
            results=tuple(study.results),
            series=tuple(study.series.values()),
            models_not_run=(*plan.models_not_run, *study.not_run),
            steps_ms=dict(study.steps_ms),
            images=tuple(study.images),
        )

    def _analyse_series(
        self,
        study: _Study,
        plan: Plan,
        series: SeriesFacts,
        instances: Instances,
        tell: Progress,
    ) -> None:
        runtimes = self._runtimes(plan, series)
        along = [runtime for runtime in runtimes if not runtime.package.manifest.chain]
        tell("reading")
        reader = SeriesReader(self._pool, 2 * self._threads + 1, self._limits, study.identity)
        reading = reader.read(series, instances(series), along)
        study.digests |= reading.digests
        _add_times(study.steps_ms, reading)
        use = study.series[series.series_uid]
        study.series[series.series_uid] = replace(use, instances=len(reading.digests))
        tell("judging")
        answers = self._answers(series, reading)
        for position, runtime in enumerate(along):
            answers.add(runtime, position)
        self._follow(answers, runtimes)
        self._conclude(study, answers, tell)

    def _follow(self, answers: SeriesAnswers, runtimes: Sequence[Runtime]) -> None:
        """Run the models that follow others, and note the witnesses that cannot be heard."""
        titles = {r.package.manifest.id: r.package.manifest.title for r in runtimes}
        for runtime in runtimes:
            if chain := runtime.package.manifest.chain:
                answers.follow(runtime, chain, titles[chain.after])
        here = {name_of(runtime.package) for runtime in runtimes}
        for package in self._registry.packages:
            if package.manifest.chain and name_of(package) not in here:
                answers.unheard(package.manifest.chain)

    def _runtimes(self, plan: Plan, series: SeriesFacts) -> list[Runtime]:
        """The models that read a series; one that follows another comes after it."""
        return [
            self._service.runtimes[name_of(package)]
            for package in plan.packages_for(series.series_uid)
        ]

    def _answers(self, series: SeriesFacts, reading: SeriesReading) -> SeriesAnswers:
        arrangement = arrange([item.place for item in reading.slices])
        ordered = tuple(reading.slices[index] for index in arrangement.order)
        return SeriesAnswers(
            OrderedSeries(series.series_uid, ordered, arrangement),
            lambda package: reasons_against(package, reading.facts, self._service.registry),
            self._pool,
        )

    def _conclude(self, study: _Study, answers: SeriesAnswers, tell: Progress) -> None:
        """Explain each answer and keep it, and what was not run."""
        for busy_ms in answers.busy_ms:
            for step, spent_ms in busy_ms.items():
                study.steps_ms[step] += spent_ms
        study.not_run += answers.not_run
        for answer in answers.answers:
            if answer.result.outcome is not Outcome.NO_FINDING:
                tell("explaining")
            before = time.perf_counter()
            explanation = explain(answer.evidence, answer.runtime, answer.result, self._pool)
            study.results.append(replace(answer.result, explanation=explanation))
            if explanation is not None:
                study.steps_ms["explain"] += (time.perf_counter() - before) * 1e3
        use = study.series[answers.series.series_uid]
        went_on = _went_on([answer.result for answer in answers.answers])
        study.series[use.series_uid] = replace(use, reasons=(*use.reasons, *went_on))
        if answers.answers:
            images = [item.image for item in answers.series.slices]
            results = [answer.result for answer in answers.answers]
            study.images.append(held_images(answers.series.series_uid, images, results))


def analyse(
    instances: Iterable[bytes], registry: Registry, limits: Limits | None = None
) -> Analysis:
    """Analyse the instances of one study, in any order, as from a folder. Holds them all at once.

    Raises IdentityMismatch when they belong to more than one study or patient.
    """
    bounds = limits or Limits()
    groups: dict[str, list[bytes]] = defaultdict(list)
    first: dict[str, SeriesFacts] = {}
    whole = IdentityWatch()
    for data in instances:
        instance = read_instance(data, bounds)
        whole.admit(instance, instance.series_uid)
        groups[instance.series_uid].append(data)
        first.setdefault(instance.series_uid, facts_of(instance))
    facts = [replace(stated, instances=len(groups[uid])) for uid, stated in first.items()]
    with Analyser(registry, bounds) as analyser:
        plan = analyser.plan(facts)
        return analyser.analyse(
            plan, lambda series: groups[series.series_uid], identity=whole.identity
        )


def check_package(package: ModelPackage) -> list[str]:
    """Run the reference cases of every graph; what is wrong, as sentences; empty if nothing."""
    problems = list(package.faults.values())
    for precision in package.precisions:
        try:
            tested(Runtime(package, precision))
        except (ModelError, InferenceError) as error:
            problems.append(error.sentence)
    return problems


def _cores() -> int:
    """The cores this process may use; a container often has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _add_times(steps_ms: dict[str, float], reading: SeriesReading) -> None:
    steps_ms["receive"] += reading.receive_ms
    steps_ms["vet"] += reading.vet_ms
    for step in _BUSY_STEPS:
        steps_ms[step] += sum(item.busy_ms[step] for item in reading.slices)


def _went_on(results: Sequence[ModelResult]) -> Iterator[Reason]:
    """Of each model that was run on another one's answer, that it was: a plan cannot know."""
    titles = {result.model_id: result.model_title for result in results}
    for result in results:
        if before := titles.get(result.follows):
            sentence = f"{result.model_title} goes on from the answer of {before}."
            yield Reason("goes-on", sentence)


def _digest(digests: Mapping[str, str]) -> str:
    lines = (f"{uid} {sha256}\n" for uid, sha256 in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
