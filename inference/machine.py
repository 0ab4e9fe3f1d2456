"""What this machine has for running models: looked at once, then a value like any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnxruntime

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
_INT8_INSTRUCTIONS = {
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX",
    "asimddp": "NEON dot product",
}
_KNOWN = (CUDA, TENSORRT, OPENVINO)
_IDENTITY = (  # an ONNX graph of one node, y = x
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01g'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
_CPUINFO, _MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """What a model may be run on.

    `int8_instructions` are the processor's 8-bit dot products, by name. `providers` are those of
    ONNX Runtime that work here. `free_memory_bytes` is ``None`` where the system does not say.
    """

    int8_instructions: tuple[str, ...] = ()
    providers: tuple[str, ...] = (CPU,)
    free_memory_bytes: int | None = None


def look_at_machine() -> Machine:
    """Ask the system and ONNX Runtime; what cannot be read is taken as not there.

    A provider of a GPU is listed only if a graph of one node loads on it: the library names them
    also where no GPU is. To be called in the process that will run the models, not before a fork.
    """
    return Machine(
        int8_instructions=instructions_of(_text(_CPUINFO)),
        providers=working_providers(),
        free_memory_bytes=free_memory_of(
            _text(_MEMINFO), _text(_CGROUP / "memory.max"), _text(_CGROUP / "memory.current")
        ),
    )


def working_providers() -> tuple[str, ...]:
    """The providers that can be used, the CPU last."""
    stated = onnxruntime.get_available_providers()
    return (*(name for name in _KNOWN if name in stated and _works(name)), CPU)


def _works(provider: str) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(_IDENTITY, options, providers=[provider])
    except Exception:  # noqa: BLE001  # drivers raise whatever they like; each means "not here"
        return False
    return bool(session.get_providers()[0] == provider)


def instructions_of(cpuinfo: str) -> tuple[str, ...]:
    """The 8-bit dot products among the flags that Linux lists of the first processor."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    stated = next((flags for key, _, flags in lines if key.strip() in ("flags", "Features")), "")
    flags = stated.split()
    return tuple(name for flag, name in _INT8_INSTRUCTIONS.items() if flag in flags)


def free_memory_of(meminfo: str, limit: str = "", used: str = "") -> int | None:
    """The bytes that are free: what Linux calls available, or what the container has left."""
    lines = (line.partition(":") for line in meminfo.splitlines())
    stated = next((value.split() for key, _, value in lines if key == "MemAvailable"), [])
    known = [int(stated[0]) * 1024] if stated and stated[0].isdigit() else []
    if limit.strip().isdigit() and used.strip().isdigit():
        known.append(max(0, int(limit) - int(used)))
    return min(known, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
