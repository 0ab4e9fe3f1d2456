"""How fast the package's graphs are on this machine, beside other engines on the same files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from models.build.evaluate.figures import Report, rounded
from models.build.gates import Gate, served_gates
from models.build.measure.latency import IMAGES, ROUNDS, Latency, engines_for, side_by_side

_EAGER, _FP32 = "PyTorch eager fp32", "ONNX Runtime fp32"


def report_speed(
    network: Path, fp32: Path, int8: Path | None, preferred: str, size: int, *, smoke: bool
) -> Report:
    """`latency` of one image by engine, and `speed_gates`, which are reported and stop nothing."""
    served = int8 if preferred == "int8" and int8 else fp32
    engines = engines_for(network if network.is_file() else None, fp32, int8, served)
    rounds, images = (2, 1) if smoke else (ROUNDS, IMAGES)
    measured = side_by_side(engines, size, rounds, images)
    gates = [
        dataclasses.asdict(gate) | {"value": rounded(gate.value, 3)}
        for gate in _gates(measured, preferred)
    ]
    return {"latency": measured.as_dict(_FP32), "speed_gates": gates}


def _gates(measured: Latency, preferred: str) -> tuple[Gate, ...]:
    """None where PyTorch could not be timed."""
    name = f"ONNX Runtime {preferred}"
    faster = measured.faster(name, _EAGER)
    slower = measured.faster(f"OpenVINO {preferred}", name)
    return () if faster is None else tuple(served_gates(faster, slower))
