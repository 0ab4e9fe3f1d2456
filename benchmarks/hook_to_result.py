"""From the hook to a result that can be read: scanhook and the two usual ways, one after another.

Each round sends every way a study that nobody has seen, in another order each time; all read the
same archive, run the same model file on the same images and write to the same FHIR server. The
time begins as the hook is sent and ends when the result is there for the next hook.

The ways do not do the same: scanhook also checks the token, that the series is whole and of the
right patient, and every safety gate, draws and tests the explanation, keeps its page, and looks for
an earlier report before it writes. The usual ways (see `rivals`) do none of that. All run the same
int8 graph: what compression saves is in none of the ratios.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.hospital import HOOK, Hospital, wait_for
from benchmarks.processes import free_port, listening, module, script
from benchmarks.results import Aim, Result, Table, median, paired_ratio
from benchmarks.series import KINDS, MANY, ONE, Kind, Study
from models.registry import load_registry

MODEL = "brain-mri-tumour"
BUDGET_MS = {ONE.name: 100.0, MANY.name: 300.0}
COLD_RATIO, WARM_RATIO = 6.0, 2.4
WAYS = ("scanhook", "cold", "warm")
TITLES = {
    "scanhook": "scanhook",
    "cold": "rq worker, a fork for each job",
    "warm": "rq SimpleWorker, model kept",
}
BUSY = ("vet", "decode", "prepare", "infer")
"""Steps that scanhook does on several threads at the same time: sums, not stretches of time."""


@dataclass
class Times:
    """Milliseconds of one way, round by round: the whole, and the steps."""

    total: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, total: float, steps: Mapping[str, float]) -> None:
        """One more round."""
        self.total.append(total)
        for name, ms in steps.items():
            self.steps[name].append(ms)

    def step(self, name: str) -> float | str:
        """The median of a step; a dash where it has none."""
        return median(self.steps[name]) if self.steps[name] else "–"


def run(quick: bool = False) -> Result:
    """Measure every kind of series."""
    rounds, kinds = (1, [ONE]) if quick else (11, list(KINDS.values()))
    with Hospital() as hospital:
        rivals = Rivals(hospital)
        found = {kind: _measure(hospital, rivals, kind, rounds) for kind in kinds}
    tables, aims = [], []
    for kind, times in found.items():
        tables += [_totals(kind, times, rounds), _steps(kind, times)]
        aims += _aims(kind, times)
    return Result(tuple(tables), tuple(aims))


class Rivals:
    """The web process and the two workers of the usual ways."""

    def __init__(self, hospital: Hospital) -> None:
        self._hospital = hospital
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        url = hospital.redis_url
        web = module("benchmarks.rival_web", port, url)
        hospital.run("rival web", web, lambda: listening(port))
        plain = script("rq", "worker", "cold", "--url", url, "--path", Path.cwd(), "--quiet")
        simple = script("rq", "worker", "warm", "--url", url, "--path", Path.cwd(), "--quiet")
        hospital.run("cold", plain, lambda: True)
        hospital.run("warm", [*simple, "--worker-class", "rq.worker.SimpleWorker"], lambda: True)
        registry = load_registry(())
        package = next(p for p in registry.packages if p.manifest.id == MODEL)
        self._model = str(package.folder / "fp32.onnx")

    def ask(self, way: str, study: Study) -> None:
        """Send the hook."""
        hospital = self._hospital
        order = {
            "name": way,
            "model": self._model,
            "archive": f"{hospital.peers_url}/dicom-web",
            "fhir": f"{hospital.peers_url}/fhir",
            "redis": hospital.redis_url,
        }
        asked = {"study": study.study_uid, "order": order}
        hospital.session.post(f"{self._url}/hook/{way}", json=asked, timeout=30).raise_for_status()

    def ended(self, way: str, study: Study) -> dict[str, float]:
        """Wait for the result; the steps as the job measured them, ms."""
        name = f"rival:{way}:{study.study_uid}"
        wait_for(self._hospital.redis, name, {"final"})
        found = self._hospital.redis.hgetall(name).items()
        steps = {_text(step): value for step, value in found}
        return {step: float(value) for step, value in steps.items() if step != "state"}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _measure(hospital: Hospital, rivals: Rivals, kind: Kind, rounds: int) -> dict[str, Times]:
    times = {way: Times() for way in WAYS}
    for number in range(rounds + 1):
        turn = number % len(WAYS)
        for way in (*WAYS[turn:], *WAYS[:turn]):
            study = Study(kind, hospital.number())
            total, steps = _one(hospital, rivals, way, study)
            if number:  # the first round warms up
                times[way].add(total, steps)
    return times


def _one(
    hospital: Hospital, rivals: Rivals, way: str, study: Study
) -> tuple[float, dict[str, float]]:
    hospital.seen()
    if way == "scanhook":
        headers, body = hospital.call(study)
        since = time.monotonic()
        url = hospital.base_url + HOOK
        hospital.session.post(url, data=body, headers=headers, timeout=30).raise_for_status()
        acknowledged = time.monotonic()
        record = hospital.ended(study)
        steps = {k: float(v) for k, v in record.summary["steps_ms"].items() if k != "total"}
    else:
        since = time.monotonic()
        rivals.ask(way, study)
        acknowledged = time.monotonic()
        steps = rivals.ended(way, study)
    total = (time.monotonic() - since) * 1e3
    seen = hospital.seen()
    first = next(at for at, what in seen if what == "series list")
    steps["hook answered"] = (acknowledged - since) * 1e3
    steps["until the worker asks the archive"] = (first - since) * 1e3
    if way == "scanhook":
        search = next(at for at, what in seen if what == "search")
        answered = next(at for at, what in seen if what == "answered")
        steps["write"] = (answered - search) * 1e3
    return total, steps


def _totals(kind: Kind, times: Mapping[str, Times], rounds: int) -> Table:
    ours = times["scanhook"].total
    rows = tuple(
        (
            TITLES[way],
            median(times[way].total),
            min(times[way].total),
            "1" if way == "scanhook" else paired_ratio(times[way].total, ours),
        )
        for way in WAYS
    )
    columns = ("way", "median ms", "least ms", "times as long (median of pairs)")
    return Table(f"Hook to result, {kind.name}, {rounds} rounds", columns, rows)


def _steps(kind: Kind, times: Mapping[str, Times]) -> Table:
    names = list(dict.fromkeys(name for way in WAYS for name in times[way].steps))
    rows = tuple((_named(name), *(times[way].step(name) for way in WAYS)) for name in names)
    return Table(f"Steps, {kind.name}, median ms", ("step", *WAYS), rows)


def _named(step: str) -> str:
    return f"{step} (scanhook: summed over threads)" if step in BUSY else step


def _aims(kind: Kind, times: Mapping[str, Times]) -> list[Aim]:
    ours = times["scanhook"].total
    aims = []
    if kind.name in BUDGET_MS:
        limit = BUDGET_MS[kind.name]
        aims.append(Aim(f"hook to result, {kind.name}", median(ours), limit, unit="ms"))
    if kind is not ONE:
        for way, limit in (("cold", COLD_RATIO), ("warm", WARM_RATIO)):
            ratio = paired_ratio(times[way].total, ours)
            what = f"{TITLES[way]} takes so many times as long, {kind.name}"
            aims.append(Aim(what, ratio, limit, at_least=True))
    return aims
