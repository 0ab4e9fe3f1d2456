"""How long the EHR waits for its cards while the worker has more to do than it can.

Three calls take turns at the same rate: one that does nothing (Flask under the same server), a
chart whose result is ready, and a chart whose study is new and must be queued. An open-loop
generator in a process of its own counts from the moment a call was due. Each hook call has its own
ES384 token, signed beforehand. All processes share the machine's cores.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.hospital import HOOK, Hospital
from benchmarks.processes import ROOT, free_port, listening, module
from benchmarks.results import Aim, Cell, Result, Table, median, paired_ratio, percentile
from benchmarks.series import MANY, ONE, Study

RATES = (50, 200)
CALLS = {
    "noop": "a call that does nothing",
    "cached": "hook, result ready",
    "new": "hook, new study",
}
P99_MS, NOOP_RATIO = 50.0, 3.0
BACKLOG = 60
"""Studies of 24 slices that wait as a turn begins: more than the worker can do meanwhile."""


@dataclass
class Turns:
    """What one kind of call took at one rate, turn by turn."""

    latencies_ms: list[list[float]] = field(default_factory=list)
    errors: int = 0

    @property
    def all(self) -> list[float]:
        """Of all turns."""
        return [ms for turn in self.latencies_ms for ms in turn]

    @property
    def p95(self) -> list[float]:
        """Of each turn."""
        return [percentile(turn, 0.95) for turn in self.latencies_ms]


def run(quick: bool = False) -> Result:
    """Measure every call at every rate."""
    turns, seconds = (1, 0.5) if quick else (9, 2.0)
    rates = RATES[:1] if quick else RATES
    found = {(rate, call): Turns() for rate in rates for call in CALLS}
    with Hospital() as hospital:
        port = free_port()
        web = module("benchmarks.rival_web", port, hospital.redis_url)
        hospital.run("noop", web, lambda: listening(port))
        ready = Study(MANY, hospital.number())
        hospital.hook(ready)
        hospital.ended(ready)
        for _ in range(turns):
            for rate, call in found:
                _keep_busy(hospital)
                count = int(rate * seconds)
                if call == "noop":
                    asked = port, [_request("/noop", {}, b"{}")] * count
                else:
                    asked = _port(hospital), _hooks(hospital, count, ready, new=call == "new")
                _fire(hospital, rate, *asked, found[rate, call])
        idle = _waiting(hospital) == 0
    notes = (
        ("The worker ran out of work: these figures are not of a busy machine.",) if idle else ()
    )
    return Result((_table(found, turns, seconds),), tuple(_aims(found)), notes)


def _keep_busy(hospital: Hospital) -> None:
    for _ in range(BACKLOG - _waiting(hospital)):
        hospital.order(Study(MANY, hospital.number()))


def _waiting(hospital: Hospital) -> int:
    return sum(hospital.dispatcher.transport.waiting().values())


def _port(hospital: Hospital) -> int:
    return int(hospital.base_url.rpartition(":")[2])


def _hooks(hospital: Hospital, count: int, ready: Study, *, new: bool) -> list[str]:
    studies = (Study(ONE, hospital.number()) if new else ready for _ in range(count))
    return [_request(HOOK, *hospital.call(study)) for study in studies]


def _request(path: str, headers: Mapping[str, str], body: bytes) -> str:
    lines = {"Host": "localhost", "Content-Type": "application/json", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body.decode()}"


def _fire(hospital: Hospital, rate: int, port: int, calls: list[str], turns: Turns) -> None:
    plan = hospital.folder / "load.json"
    plan.write_text(json.dumps({"port": port, "rate": rate, "calls": calls}))
    command = module("benchmarks.load", plan)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found = json.loads(done.stdout)
    turns.latencies_ms.append(found["latencies_ms"])
    turns.errors += found["errors"]


def _table(found: Mapping[tuple[int, str], Turns], turns: int, seconds: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (rate, call), each in found.items():
        shares = [percentile(each.all, share) for share in (0.5, 0.95, 0.99, 1)]
        rows.append((f"{CALLS[call]}, {rate}/s", *shares, len(each.all), each.errors))
    columns = ("call", "p50 ms", "p95 ms", "p99 ms", "max ms", "calls", "errors")
    title = f"Answers while the worker is busy, {turns} turns of {seconds:g} s each"
    return Table(title, columns, tuple(rows))


def _aims(found: Mapping[tuple[int, str], Turns]) -> list[Aim]:
    aims = []
    for (rate, call), each in found.items():
        if call == "noop":
            continue
        ratio = paired_ratio(each.p95, found[rate, "noop"].p95)
        what = f"p95 against a call that does nothing, {CALLS[call]}, {rate}/s"
        aims.append(Aim(what, ratio, NOOP_RATIO))
        if call == "cached":
            p99 = percentile(each.all, 0.99)
            aims.append(Aim(f"p99, {CALLS[call]}, {rate}/s", p99, P99_MS, unit="ms"))
            typical = median([percentile(turn, 0.99) for turn in each.latencies_ms])
            what = f"p99 of the middle turn, {CALLS[call]}, {rate}/s"
            aims.append(Aim(what, typical, P99_MS, unit="ms"))
        aims.append(Aim(f"errors, {CALLS[call]}, {rate}/s", float(each.errors), 0.0))
    return aims
