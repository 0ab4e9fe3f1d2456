"""The machine in words that fit any report: cores, kind of CPU, memory, load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

VERSIONS = ("onnxruntime", "numpy", "pydicom", "imagecodecs", "rq", "redis", "flask", "waitress")


def description() -> dict[str, str]:
    """What a reader needs to compare figures."""
    return {
        "CPU": f"{len(os.sched_getaffinity(0))} cores, {_cpu()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    wide = [name for name in ("avx2", "avx512f", "avx512_vnni") if name in facts.get("flags", "")]
    family = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return f"{facts.get('vendor_id', platform.machine())} {family}, {' '.join(wide)}".strip(", ")


def load() -> str:
    """How many processes wanted a core lately, on average over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"
