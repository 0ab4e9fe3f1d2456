"""One engine in one process: `python -m models.build.measure.worker`.

The first line of the standard input says what to load, `{"engine", "file", "size"}`; the answer is
one line of JSON with the first output for a fixed image and the memory used. Each further line is
a number of images to run one by one; the answer has for each its time and the processor's, in ms.
An empty line ends it.
An engine may crash without taking the measurement with it.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[Any], Any]

WARM_UP = 3
_VALUES = 16  # of the first output, to see that engines agree


def main() -> None:
    """Serve one engine until the input ends."""
    order = json.loads(sys.stdin.readline())
    loaded = time.perf_counter()
    run, image = _ENGINES[order["engine"]](order["file"]), _image(order["size"])
    first = run(image)
    loaded = 1000 * (time.perf_counter() - loaded)
    for _ in range(WARM_UP):
        run(image)
    values = [float(value) for value in first.ravel()[:_VALUES]]
    _say({"load_ms": loaded, "peak_bytes": _peak_bytes(), "values": values})
    for line in iter(sys.stdin.readline, ""):
        if not line.strip():
            return
        _say([_timed(run, image) for _ in range(int(line))])


def _timed(run: Run, image: Any) -> tuple[float, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    run(image)
    end, end_cpu = time.perf_counter(), time.process_time()
    return 1000 * (end - start), 1000 * (end_cpu - start_cpu)


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _image(size: int) -> Any:
    """Smooth, from 0 to 1: (1, 1, size, size)."""
    import numpy as np

    along = np.sin(np.linspace(0, 9, size, dtype=np.float32))
    return (0.25 * (2 + along[:, None] + along))[None, None]


def _peak_bytes() -> int:
    """The most memory this process has held; what it inherited before it began does not count."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if found:
            return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _onnxruntime(file: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def _openvino(file: str) -> Run:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bf16 where the CPU has it
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    request = compiled.create_infer_request()

    def run(image: Any) -> Any:
        request.infer([image])
        return request.get_output_tensor(0).data

    return run


def _torch(file: str) -> Run:
    import torch

    from models.build.measure.eager import load_network

    torch.set_num_threads(1)
    network = load_network(Path(file))

    def run(image: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(image)).numpy()

    return run


_ENGINES: dict[str, Callable[[str], Run]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}

if __name__ == "__main__":
    main()
