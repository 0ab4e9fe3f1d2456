"""From ``scanhook demo`` on the command line to its first result, everything installed."""

from __future__ import annotations

import selectors
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import script
from benchmarks.results import Aim, Result, Table, median

LIMIT_S = 10.0
PATIENCE_S = 120.0


def run(quick: bool = False) -> Result:
    """Start it in an empty folder, as after ``pip install``, and once more where it has been."""
    if find_spec("cds_service.cli.demo") is None:
        return Result(notes=("There is no `scanhook demo` in this version.",))
    rounds = 1 if quick else 3
    first, again, ends = [], [], []
    for _ in range(rounds):
        with TemporaryDirectory(prefix="benchmark-") as folder:
            first.append(_seconds(Path(folder))[0])
            heard, ended = _seconds(Path(folder))
            again.append(heard)
            ends.append(ended)
    rows = (
        ("first result, empty folder", median(first)),
        ("first result, second start", median(again)),
        ("all demo studies answered, second start", median(ends)),
    )
    title = f"`scanhook demo --once --json`, median of {rounds}"
    aim = Aim("demo to its first result", median(first), LIMIT_S, unit="s")
    return Result((Table(title, ("until", "s"), rows),), (aim,))


def _seconds(folder: Path) -> tuple[float, float]:
    """(to the first line of output, to the end)"""
    since = time.monotonic()
    command = script("scanhook", "demo", "--once", "--json")
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        if program.stdout is None:
            raise RuntimeError("no output to read")
        with selectors.DefaultSelector() as selector:
            selector.register(program.stdout, selectors.EVENT_READ)
            selector.select(PATIENCE_S)
        heard = time.monotonic() - since
        program.communicate(timeout=PATIENCE_S)
        return heard, time.monotonic() - since
