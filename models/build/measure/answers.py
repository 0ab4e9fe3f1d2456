"""What a comparison of networks says: does work predict time, and what does a compiler not see?"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

Report = dict[str, Any]

KINDS = {
    "efficientformerv2-s0": "attention",
    "state-space": "state space",
    "unet-state-space": "state space",
}
"""What a network computes with besides convolutions; all others are convolutions only."""
ENGINES = ("ONNX Runtime fp32", "ONNX Runtime int8", "OpenVINO fp32")


@dataclass(frozen=True)
class Row:
    """One candidate. `quality` is accuracy or mean Dice on `test`, `on_val` the same on `val`.

    `cost` is `Cost.as_dict()` of the fp32 graph, `latency` `Latency.as_dict()` of its network, from
    one interleaved run of every network in every engine; empty before that run.
    """

    network: str
    weights: str
    taught_by: str | None
    on_val: float
    quality: float
    ece: float
    quality_int8: float
    ece_int8: float
    cost: Mapping[str, int]
    bytes_int8: int
    latency: Report = field(default_factory=dict)

    def as_dict(self) -> Report:
        """For JSON, floats with four digits."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def engine(self, name: str) -> Report | None:
        """The row of an engine, None where it was not there or failed."""
        return next((one for one in self.latency.get("engines", ()) if one["engine"] == name), None)


def answers(rows: Sequence[Row]) -> Report:
    """Both questions, from the first row of each network."""
    networks = {row.network: row for row in reversed(rows)}
    return {
        "networks": len(networks),
        "rank_correlation_with_time": {
            engine: {
                what: _rank_correlation(networks, engine, what) for what in ("macs", "bytes_moved")
            }
            for engine in ENGINES
        },
        "billion_operations_a_second": {name: _speeds(row) for name, row in networks.items()},
        "compiler_gap": {engine: _gap(networks, engine) for engine in ENGINES},
    }


def _rank_correlation(networks: Mapping[str, Row], engine: str, what: str) -> float | None:
    """Spearman's, of a cost and the processor's time; None of fewer than three networks."""
    found = [
        (row.cost[what], one["cpu_ms"]) for row in networks.values() if (one := row.engine(engine))
    ]
    if len(found) < 3:
        return None
    costs, times = zip(*found, strict=True)
    return round(spearman(costs, times), 3)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The rank correlation of two lists; equal values share a rank. nan where one never varies."""
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _speeds(row: Row) -> dict[str, float]:
    """Billions of multiplications and additions in a second of the processor, by engine."""
    found = {}
    for name in ENGINES:
        engine = row.engine(name)
        if engine is not None:
            found[name] = round(2 * row.cost["macs"] / engine["cpu_ms"] / 1e6, 2)
    return found


def _gap(networks: Mapping[str, Row], engine: str) -> float | None:
    """How many times as fast per operation the convolutional networks are as the state space."""
    speeds: dict[str, list[float]] = {}
    for name, row in networks.items():
        if engine in (found := _speeds(row)):
            speeds.setdefault(KINDS.get(name, "convolution"), []).append(found[engine])
    if "convolution" not in speeds or "state space" not in speeds:
        return None
    fast, slow = (statistics.median(speeds[kind]) for kind in ("convolution", "state space"))
    return round(fast / slow, 2)


def markdown(table: Report) -> str:
    """The whole comparison as a page."""
    lines = ["# Networks compared", "", table["budget"], ""]
    lines += [*_table(table["rows"], table["quality"]), "", "## What it says", ""]
    said = [*sentences(table["answers"]), *_taught(table["rows"], table["quality"])]
    return "\n".join([*lines, *(f"- {line}" for line in said), ""])


def _taught(rows: Sequence[Report], quality: str) -> Iterator[str]:
    """What a teacher was worth to each pupil that was also trained without one."""
    alone = {row["network"]: row["quality"] for row in rows if not row["taught_by"]}
    for row in rows:
        name, teacher, reached = row["network"], row["taught_by"], row["quality"]
        if teacher and name in alone:
            yield (
                f"Taught by {teacher}, {name} reaches {quality} {reached:.3f}, "
                f"and {alone[name]:.3f} without a teacher."
            )


def sentences(found: Report) -> Iterator[str]:
    """The answers in words."""
    for engine, ranks in found["rank_correlation_with_time"].items():
        if ranks["macs"] is not None:
            yield (
                f"Over {found['networks']} networks, the rank correlation with the time in "
                f"{engine} is {ranks['macs']:.2f} for multiplications and "
                f"{ranks['bytes_moved']:.2f} for bytes moved."
            )
    for engine, gap in found["compiler_gap"].items():
        if gap is not None:
            yield (
                f"{engine} does {gap:.1f} times as many operations a second in the convolutional "
                "networks (median) as in the state-space one."
            )


def _table(rows: Sequence[Report], quality: str) -> Iterator[str]:
    engines = sorted({one["engine"] for row in rows for one in row["latency"]["engines"]})
    header = [
        *("network", "weights", "taught by", quality, "ECE", f"{quality} int8", "MMAC"),
        *("MB moved", "MB", "MB int8", *(f"{name}, ms (p50 / p90)" for name in engines)),
        "peak MB",
    ]
    yield _line(header)
    yield _line(["---"] * len(header))
    yield from (_line(_cells(row, engines)) for row in rows)


def _cells(row: Report, engines: Sequence[str]) -> list[str]:
    times = {one["engine"]: one for one in row["latency"]["engines"]}
    shown = [
        f"{times[name]['p50_ms']:.1f} / {times[name]['p90_ms']:.1f}" if name in times else "—"
        for name in engines
    ]
    peak = times.get(ENGINES[0], {}).get("peak_megabytes")
    cost = row["cost"]
    return [
        *(row["network"], row["weights"], row["taught_by"] or ""),
        *(f"{row['quality']:.3f}", f"{row['ece']:.3f}", f"{row['quality_int8']:.3f}"),
        *(f"{cost['macs'] / 1e6:.0f}", f"{cost['bytes_moved'] / 1e6:.0f}"),
        *(f"{cost['file_bytes'] / 1e6:.1f}", f"{row['bytes_int8'] / 1e6:.1f}", *shown),
        "—" if peak is None else f"{peak:.0f}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
