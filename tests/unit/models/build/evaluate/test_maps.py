"""The maps that are measured are the maps that are served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from inference.explain import cam  # noqa: E402 only with torch
from models.build.evaluate.maps import ablated, explained, maps_of  # noqa: E402
from models.build.export import export, open_session, run  # noqa: E402
from models.build.networks.tasks import Classifier  # noqa: E402
from tests.unit.models.build.discs import TinyEncoder  # noqa: E402

IMAGES = np.random.default_rng(0).random((3, 1, 64, 64), np.float32)


class Celled(Classifier):
    """The same network, but explained by its cells: with a head of its own."""

    explains = "cells"  # type: ignore[assignment]


def exported(folder: Path, kind: type[Classifier]) -> tuple[Path, Path | None]:
    torch.manual_seed(0)
    network = kind("tiny", TinyEncoder(), 2, 0.0).eval()
    files = export(network, None, 64, folder / "fp32.onnx")
    return files[0], files[1] if len(files) > 1 else None


def test_class_activation_maps_are_those_of_the_service(tmp_path: Path) -> None:
    graph, head = exported(tmp_path, Classifier)
    assert head is None
    _, maps = maps_of(open_session(graph), None)(IMAGES)
    outputs = run(open_session(graph), IMAGES)
    for index, features in enumerate(outputs["feature_map"]):
        served = cam.class_maps(features, outputs["class_weights"])
        assert np.allclose(maps[index], served, atol=1e-5)


def test_the_ablation_of_a_linear_head_is_its_class_activation_map(tmp_path: Path) -> None:
    """Blanking a cell takes away what it adds: the map over the number of cells."""
    graph, head = exported(tmp_path, Celled)
    assert head is not None
    outputs = run(open_session(graph), IMAGES)
    for features, logits in zip(outputs["feature_map"], outputs["logits"], strict=True):
        maps = ablated(open_session(head), features, logits)
        assert maps.shape == (2, *features.shape[1:])
        assert maps.sum(axis=(1, 2)) == pytest.approx(logits - _bias(head), abs=1e-3)


def _bias(head: Path) -> np.ndarray:
    session = open_session(head)
    channels, down, across = session.get_inputs()[0].shape[1:]
    return run(session, np.zeros((1, channels, down, across), np.float32))["logits"][0]


@pytest.mark.parametrize("kind", [Classifier, Celled])
def test_shuffled_weights_give_other_maps_of_the_same_shape(
    tmp_path: Path, kind: type[Classifier]
) -> None:
    graph, head = exported(tmp_path, kind)
    model = explained(graph, head, 1.0, 0)
    _, maps = model.maps(IMAGES)
    assert set(model.randomised) == {"classifier", "last quarter", "all weights"}
    for shuffled in model.randomised.values():
        _, other = shuffled(IMAGES)
        assert other.shape == maps.shape
        assert not np.allclose(other, maps, atol=1e-4)
