"""From ``scanhook demo`` on the command line to its first result, everything installed.

In an empty folder each time: the demo draws its studies, starts queue, EHR, archive, web and
worker, opens one chart after another and waits for its card; the first result is that of the first
chart, looked at four times a second. The command says itself when everything
had started and how long each chart took; the interpreter's own start is only in the last row.
"""

from __future__ import annotations

import json
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import script
from benchmarks.results import Aim, Result, Table, median

LIMIT_S = 10.0
PATIENCE_S = 180.0


def run(quick: bool = False) -> Result:
    """Run it three times."""
    if find_spec("cds_service.cli.demo") is None:
        return Result(notes=("There is no `scanhook demo` in this version.",))
    rounds = [_seconds() for _ in range(1 if quick else 3)]
    started, first, whole = (median(times) for times in zip(*rounds, strict=True))
    rows = (
        ("everything started", started),
        ("first result", first),
        ("every study answered, command ended", whole),
    )
    title = f"`scanhook demo --once --json` in an empty folder, median of {len(rounds)}"
    aim = Aim("demo to its first result", first, LIMIT_S, unit="s")
    return Result((Table(title, ("until", "s"), rows),), (aim,))


def _seconds() -> tuple[float, float, float]:
    """(until everything had started, until the first result, until the end)"""
    since = time.monotonic()
    with TemporaryDirectory(prefix="benchmark-") as folder:
        done = subprocess.run(
            script("scanhook", "demo", "--once", "--json"),
            cwd=Path(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,  # 1 says that a study did not end as it should: no matter here
        )
    whole = time.monotonic() - since
    said = json.loads(done.stdout)
    started = float(said["started_s"])
    return started, started + float(said["studies"][0]["ready_s"]), whole
