"""One series that has been read -> every model's answer, those that follow another one included.

A model with a chain (`models.manifest.Chain`) is run where the model before it has stated one of
the labels it waits for, that is, after the gates: on a finding that is the result, and on a
negative that would otherwise be the result. It then sees the slices on which a finding was decided
(for a negative: every usable slice), because elsewhere nothing was stated that it could measure. A
witness that is installed and cannot be heard leaves the negative unstated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial

from inference.analysis import GateResult, ModelResult, ModelUse, Outcome
from inference.evidence.gathered import Evidence, MaskEvidence, OrderedSeries, gather
from inference.gates.second_witness import judge_witness, missing_witness
from inference.judging import class_result
from inference.measuring import mask_result
from inference.runtime import Runtime
from inference.scoring import Score, score_again
from models.contract import Reason
from models.manifest import Chain, Manifest
from models.registry import ModelPackage

Inapplicable = Callable[[ModelPackage], tuple[Reason, ...]]


@dataclass(frozen=True)
class Answer:
    """One model's result, and what it rests on."""

    runtime: Runtime
    evidence: Evidence
    result: ModelResult

    @property
    def claim(self) -> str | None:
        """The key of the label that is the result, a negative included."""
        manifest = self.runtime.package.manifest
        if self.result.outcome is Outcome.NO_FINDING:
            return manifest.labels[manifest.negative].key
        if self.result.outcome is Outcome.MEASURED and self.result.outlines:
            return manifest.structure.key
        return self.result.finding.key if self.result.finding else None

    @property
    def decided_on(self) -> frozenset[int]:
        """The indices of the slices that the result rests on."""
        if isinstance(self.evidence, MaskEvidence):
            return frozenset(each.slice_number - 1 for each in self.result.outlines)
        return frozenset(number - 1 for number in self.result.slices_used)


@dataclass
class SeriesAnswers:
    """The answers on one series so far; `busy_ms` is the time of models that were run late."""

    series: OrderedSeries
    inapplicable: Inapplicable
    pool: Executor
    answers: list[Answer] = field(default_factory=list)
    not_run: list[ModelUse] = field(default_factory=list)
    busy_ms: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, runtime: Runtime, position: int) -> None:
        """Answer with the `position`-th of the models that read along."""
        scores = {i: item.scores[position] for i, item in enumerate(self.series.slices)}
        evidence = self._gather(runtime, scores)
        self.answers.append(Answer(runtime, evidence, _result(evidence, runtime)))

    def follow(self, runtime: Runtime, chain: Chain, before: str) -> None:
        """Answer with a model that follows another, or note why not; `before` is its title."""
        leading = [index for index, answer in enumerate(self.answers) if _leads(answer, chain)]
        if not leading:
            self.not_run.append(_nothing_to_follow(runtime.package.manifest, before))
            return
        witnessed = [i for i in leading if self.answers[i].claim in chain.witnesses]
        evidence = self._gather(runtime, self._scores(runtime, leading, bool(witnessed)))
        least = max((_least(self.answers[index]) for index in witnessed), default=None)
        result = _result(evidence, runtime, follows=chain.after, least=least)
        for index in witnessed:
            self.answers[index] = _judged(self.answers[index], judge_witness(result))
        self.answers.append(Answer(runtime, evidence, result))

    def unheard(self, chain: Chain) -> None:
        """Withhold each negative whose witness is installed and cannot be run on this series.

        What is known of the model before was measured with its witness, and is not known without.
        """
        for index, answer in enumerate(self.answers):
            if _leads(answer, chain) and answer.claim in chain.witnesses:
                self.answers[index] = _judged(answer, missing_witness())

    def _gather(self, runtime: Runtime, scores: Mapping[int, Score]) -> Evidence:
        package = runtime.package
        return gather(self.series, self.inapplicable(package), package.manifest, scores)

    def _scores(self, runtime: Runtime, leading: Sequence[int], witness: bool) -> dict[int, Score]:
        """Run a model late, on the slices decided on, or as a witness on all usable ones."""
        slices = self.series.slices
        if runtime.package.manifest.task == "classification":
            wanted = list(range(len(slices)))  # it aggregates over the whole series
        elif witness:
            wanted = list(self.series.usable)
        else:
            wanted = sorted(frozenset().union(*(self.answers[i].decided_on for i in leading)))
        made = list(self.pool.map(partial(score_again, runtime), [slices[i] for i in wanted]))
        self.busy_ms += [busy_ms for _, busy_ms in made]
        return {index: score for index, (score, _) in zip(wanted, made, strict=True)}


def _leads(answer: Answer, chain: Chain) -> bool:
    return answer.result.model_id == chain.after and answer.claim in chain.when


def _nothing_to_follow(manifest: Manifest, before: str) -> ModelUse:
    sentence = f"The model is run only where “{before}” states something that it goes on from."
    return ModelUse(manifest.id, manifest.version, (Reason("chain", sentence),))


def _least(answer: Answer) -> float:
    """What the model before demands of a series before it states its negative."""
    return answer.runtime.package.manifest.aggregation.negative_min_in_distribution_fraction


def _judged(answer: Answer, gate: GateResult) -> Answer:
    """The negative with a second model's judgement of it; it is stated only if that held."""
    outcome = answer.result.outcome if gate.passed else Outcome.INDETERMINATE
    gates = (*answer.result.gates, gate)
    return replace(answer, result=replace(answer.result, gates=gates, outcome=outcome))


def _result(
    evidence: Evidence, runtime: Runtime, *, follows: str = "", least: float | None = None
) -> ModelResult:
    if isinstance(evidence, MaskEvidence):
        return mask_result(evidence, runtime, follows=follows, least=least)
    return replace(class_result(evidence, runtime), follows=follows)
