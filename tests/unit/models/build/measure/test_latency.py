"""Engines are timed in turns, each in its own process, and one that fails fails alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra [build] is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 only with onnx

from models.build.measure.latency import (  # noqa: E402 only with onnx
    Engine,
    Latency,
    Timing,
    engines_for,
    machine,
    side_by_side,
)


def doubling(path: Path) -> Path:
    entry, leaving = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 8, 8]) for name in "xy"
    )
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    graph = helper.make_graph([node], "doubling", [entry], [leaving], [two])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def timing(name: str, *slices: float) -> Timing:
    engine = Engine(name, "onnxruntime", Path("graph.onnx"), served=name == "quick")
    return Timing(engine, p50_ms=slices[0], slices=slices, peak_bytes=50_000_000)


def test_two_engines_answer_and_a_broken_one_is_reported_beside_them(tmp_path: Path) -> None:
    graph, broken = doubling(tmp_path / "graph.onnx"), tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    engines = [
        Engine("first", "onnxruntime", graph),
        Engine("broken", "onnxruntime", broken),
        Engine("second", "onnxruntime", graph),
    ]
    measured = side_by_side(engines, 8, rounds=3, images=2)
    first, bad, second = measured.timings
    assert len(first.slices) == len(second.slices) == 3
    assert 0 < first.min_ms <= first.p50_ms <= first.p90_ms
    assert first.values == second.values
    assert first.values[0] == pytest.approx(2 * 0.25 * 2)  # the image begins with 0.5
    assert 10e6 < first.peak_bytes < 1e9
    assert bad.failed
    assert measured.of("broken") is None
    report = measured.as_dict("first")
    assert [row["engine"] for row in report["engines"]] == ["first", "second"]
    assert list(report["failed"]) == ["broken"]
    assert report["machine"] == machine()


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """A round in which something else took the processor changes neither."""
    quick, slow = timing("quick", 1.0, 10.0, 1.0), timing("slow", 3.0, 20.0, 3.0)
    measured = Latency((quick, slow), "a machine", 0.0)
    assert measured.faster("quick", "slow") == 3.0
    assert measured.faster("slow", "quick") == pytest.approx(1 / 3)
    assert measured.faster("quick", "absent") is None


def test_the_report_says_which_engine_is_served_and_how_much_faster_it_is() -> None:
    measured = Latency((timing("quick", 1.0), timing("slow", 3.0)), "a machine", 0.5)
    quick, slow = measured.as_dict("slow")["engines"]
    assert (quick["served"], slow["served"]) == (True, False)
    assert (quick["times_as_fast"], slow["times_as_fast"]) == (3.0, 1.0)
    assert quick["peak_megabytes"] == 50.0


def test_engines_are_made_for_the_files_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import models.build.measure.latency as module

    monkeypatch.setattr(module, "find_spec", lambda name: name == "onnxruntime" or None)
    fp32, int8 = Path("fp32.onnx"), Path("int8.onnx")
    names = [one.name for one in engines_for(None, fp32, None, fp32)]
    assert names == ["ONNX Runtime fp32"]
    every = engines_for(Path("network.pt"), fp32, int8, int8)
    assert [one.name for one in every if one.served] == ["ONNX Runtime int8"]
    assert every[0].kind == "torch"


def test_a_network_in_a_file_is_the_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra [build] is not installed")
    from models.build.measure.eager import load_network, save_network
    from models.build.networks import create

    for name, labels in (("mobileone-s0", 3), ("unet-state-space", 1)):
        torch.manual_seed(0)
        network = create(name, labels=labels, outline=True, pretrained=False).train()
        image = torch.rand(2, 1, 32, 32)
        with torch.no_grad():
            network(image)
        network.eval()
        save_network(network, tmp_path / "network.pt")
        with torch.inference_mode():
            heads = network(image)
            expected = heads.mask_logits if heads.logits is None else heads.logits
            given = load_network(tmp_path / "network.pt")(image)
        assert torch.allclose(given, expected, atol=1e-3 * max(1, float(expected.abs().max())))
