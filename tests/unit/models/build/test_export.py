"""The exported file is the trained network: same answers, one file, any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

import onnx  # noqa: E402 only with torch

from models.build.export import export, open_session, run  # noqa: E402 only with torch
from models.build.networks import CLASSIFIERS, OUTLINERS, create  # noqa: E402 only with torch

SIZE = 64


class Norm(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A score for tests: the length of the pooled features."""

    def forward(self, logits: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        return pooled.square().sum(dim=1).sqrt() + 0 * logits.sum(dim=1)


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((count, 1, SIZE, SIZE), np.float32)


def exported(name: str, folder: Path, *, score: bool = True) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    labels = 4 if name in CLASSIFIERS else 1
    network = create(name, labels=labels, outline=True, pretrained=False).eval()
    export(network, Norm() if score else None, SIZE, folder / "fp32.onnx")
    return network, folder / "fp32.onnx"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_as_in_torch_alone_and_in_any_batch(name: str, tmp_path: Path) -> None:
    network, path = exported(name, tmp_path)
    session = open_session(path.read_bytes())
    batch = images(5)
    outputs = run(session, batch)
    with torch.inference_mode():
        heads = network(torch.from_numpy(batch))
    assert np.allclose(outputs["logits"], heads.logits.numpy(), atol=1e-4)
    assert np.allclose(outputs["ood_score"], Norm()(heads.logits, heads.pooled), rtol=1e-4)
    scale = max(1.0, float(heads.feature_map.abs().max()))
    assert np.allclose(outputs["feature_map"], heads.feature_map.numpy(), atol=1e-4 * scale)
    for index in range(5):
        alone = run(session, batch[index : index + 1])["logits"][0]
        assert np.allclose(alone, outputs["logits"][index], atol=1e-4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_brings_what_its_explanation_needs(name: str, tmp_path: Path) -> None:
    network, path = exported(name, tmp_path)
    outputs = run(open_session(path), images(2))
    head = tmp_path / "head.onnx"
    if network.explains == "cam":
        maps = np.einsum("lc,nchw->nlhw", outputs["class_weights"], outputs["feature_map"])
        bias = outputs["logits"] - maps.mean(axis=(2, 3))
        assert np.allclose(bias[0], bias[1], atol=1e-4)
        assert not head.exists()
    else:
        assert "class_weights" not in outputs
        again = run(open_session(head), outputs["feature_map"])["logits"]
        assert np.allclose(again, outputs["logits"], atol=1e-4)


@pytest.mark.parametrize("name", OUTLINERS)
def test_an_outline_comes_at_the_resolution_of_the_image(name: str, tmp_path: Path) -> None:
    network, path = exported(name, tmp_path)
    outputs = run(open_session(path), images(3))
    assert outputs["mask_logits"].shape == (3, 1, SIZE, SIZE)
    assert outputs["ood_score"].shape == (3,)
    with torch.inference_mode():
        coarse = network(torch.from_numpy(images(3))).mask_logits
    fine = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    assert np.allclose(outputs["mask_logits"], fine.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *OUTLINERS])
def test_the_file_stands_alone_and_holds_plain_operators_only(name: str, tmp_path: Path) -> None:
    _, path = exported(name, tmp_path, score=False)
    model = onnx.load(path, load_external_data=False)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert model.opset_import[0].version == 17
    assert not {node.op_type for node in model.graph.node} & {"Loop", "Scan", "If"}
    locations = {onnx.TensorProto.EXTERNAL}
    assert not any(tensor.data_location in locations for tensor in model.graph.initializer)
    assert "ood_score" not in [output.name for output in model.graph.output]


def test_export_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network, _ = exported("efficientnet-lite0", tmp_path)
    assert network.decoder is not None
    assert network.train()(torch.rand(2, 1, SIZE, SIZE)).mask_logits.requires_grad


def test_a_graph_that_is_not_torch_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an exporter or a simplifier gets an operator wrong."""
    import models.build.export as module

    def spoilt(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        bias = next(item for item in model.graph.initializer if list(item.dims) == [4])
        values = onnx.numpy_helper.to_array(bias) + 1
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return model, True

    monkeypatch.setattr(module.onnxsim, "simplify", spoilt)
    with pytest.raises(ValueError, match="logits of the graph is 1 away from torch"):
        exported("efficientnet-lite0", tmp_path)
