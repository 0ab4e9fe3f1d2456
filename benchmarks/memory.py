"""Memory of the web process and of the worker with every shipped model, after some studies.

PSS counts what several processes share (libraries, the models' pages before they are written) once.
"""

from __future__ import annotations

import threading
import time

from benchmarks.hospital import Hospital
from benchmarks.processes import children, memory_mib
from benchmarks.results import Aim, Result, Table
from benchmarks.series import KINDS, Study

LIMIT_MIB = 1024.0
SAMPLE_S = 0.1


def run(quick: bool = False) -> Result:
    """Run studies of every kind, then look; the highest sum is looked for meanwhile."""
    studies = 1 if quick else 50
    kinds = list(KINDS.values())
    with Hospital() as hospital, Highest(hospital) as highest:
        for number in range(studies):
            study = Study(kinds[number % len(kinds)], hospital.number())
            hospital.hook(study)
            hospital.ended(study)
        (child,) = children(hospital.worker.pid)
        pids = {"web": hospital.web.pid, "worker": hospital.worker.pid, "worker's child": child}
        rows = tuple((name, *memory_mib(pid)) for name, pid in pids.items())
        models = len(hospital.site.registry.packages)
    worker = sum(row[1] for row in rows if row[0] != "web")
    aims = (
        Aim("worker and child after the studies, RSS", worker, LIMIT_MIB, unit="MiB"),
        Aim("worker and child at their highest, RSS", highest.rss_mib, LIMIT_MIB, unit="MiB"),
    )
    title = f"Memory after {studies} studies, {models} model(s)"
    return Result((Table(title, ("process", "RSS MiB", "PSS MiB"), rows),), aims)


class Highest(threading.Thread):
    """Looks ten times a second how much worker and child hold together."""

    def __init__(self, hospital: Hospital) -> None:
        super().__init__(daemon=True)
        self._hospital, self._over = hospital, threading.Event()
        self.rss_mib = 0.0

    def __enter__(self) -> Highest:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until the block is left."""
        while not self._over.is_set():
            pid = self._hospital.worker.pid
            try:
                both = sum(memory_mib(each)[0] for each in (pid, *children(pid)))
            except (OSError, ValueError):
                both = 0.0  # a process ended in between
            self.rss_mib = max(self.rss_mib, both)
            time.sleep(SAMPLE_S)
