"""The exported file is the trained network: same answers, one file, any batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

import onnx  # noqa: E402 only with torch

from models.build.export import export, open_session, run  # noqa: E402 only with torch
from models.build.networks import CLASSIFIERS, OUTLINERS, create  # noqa: E402 only with torch

SIZE = 64
Exported = tuple[torch.nn.Module, Path]


class Norm(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A score for tests: the length of the pooled features."""

    def forward(self, logits: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        return pooled.square().sum(dim=1).sqrt() + 0 * logits.sum(dim=1)


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((count, 1, SIZE, SIZE), np.float32)


def exported(name: str, folder: Path, *, score: bool = True) -> Exported:
    torch.manual_seed(0)
    labels = 4 if name in CLASSIFIERS else 1
    network = create(name, labels=labels, outline=True, pretrained=False, dropout=0.2).train()
    with torch.no_grad():
        for _ in range(3):  # so that the batch norms have seen something
            network(torch.rand(4, 1, SIZE, SIZE))
    network.eval()
    export(network, Norm() if score else None, SIZE, folder / "fp32.onnx")
    return network, folder / "fp32.onnx"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small work is quicker without waiting for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(request.param, tmp_path_factory.mktemp(request.param))


CLASSES = [name for name in CLASSIFIERS if name != "efficientnet-lite2"]  # a longer Lite0: slow
classifiers = pytest.mark.parametrize("graph", CLASSES, indirect=True, scope="module")
outliners = pytest.mark.parametrize("graph", OUTLINERS, indirect=True, scope="module")
networks = pytest.mark.parametrize("graph", [*CLASSES, *OUTLINERS], indirect=True, scope="module")


@classifiers
def test_a_classifier_answers_as_in_torch_alone_and_in_any_batch(graph: Exported) -> None:
    network, path = graph
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


@classifiers
def test_a_classifier_brings_what_its_explanation_needs(graph: Exported) -> None:
    network, path = graph
    outputs = run(open_session(path), images(2))
    head = path.with_name("head.onnx")
    if network.explains == "cam":
        maps = np.einsum("lc,nchw->nlhw", outputs["class_weights"], outputs["feature_map"])
        bias = outputs["logits"] - maps.mean(axis=(2, 3))
        assert np.allclose(bias[0], bias[1], atol=1e-4)
        assert not head.exists()
    else:
        assert "class_weights" not in outputs
        again = run(open_session(head), outputs["feature_map"])["logits"]
        assert np.allclose(again, outputs["logits"], atol=1e-4)


@outliners
def test_an_outline_comes_at_the_resolution_of_the_image(graph: Exported) -> None:
    network, path = graph
    outputs = run(open_session(path), images(3))
    assert outputs["mask_logits"].shape == (3, 1, SIZE, SIZE)
    assert outputs["ood_score"].shape == (3,)
    with torch.inference_mode():
        coarse = network(torch.from_numpy(images(3))).mask_logits
    fine = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    assert np.allclose(outputs["mask_logits"], fine.numpy(), atol=1e-4)


@networks
def test_the_file_stands_alone_and_holds_plain_operators_only(graph: Exported) -> None:
    _, path = graph
    model = onnx.load(path, load_external_data=False)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert model.opset_import[0].version == 17
    assert not {node.op_type for node in model.graph.node} & {"Loop", "Scan", "If", "Constant"}
    locations = {onnx.TensorProto.EXTERNAL}
    assert not any(tensor.data_location in locations for tensor in model.graph.initializer)


def test_the_score_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    _, path = exported("mobileone-s0", tmp_path, score=False)
    names = [output.name for output in open_session(path).get_outputs()]
    assert names == ["logits", "feature_map", "class_weights"]


def test_export_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network, _ = exported("mobileone-s0", tmp_path)
    assert network.decoder is not None
    assert len(list(network.encoder.stem.convolutions)) == 2  # branches, not yet merged
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
        exported("mobileone-s0", tmp_path)
