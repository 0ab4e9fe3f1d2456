"""What is particular to one encoder."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.networks import create  # noqa: E402 only with torch
from models.build.networks.efficientformer import (  # noqa: E402 only with torch
    Attention,
    EfficientFormerEncoder,
)
from models.build.networks.mobileone import MobileOneEncoder  # noqa: E402 only with torch


def test_mobileone_is_one_convolution_a_layer_once_it_is_fused() -> None:
    encoder = MobileOneEncoder()
    encoder.fuse()
    kinds = [type(module) for module in encoder.modules()]
    assert kinds.count(torch.nn.Conv2d) == 1 + 2 * (2 + 8 + 10 + 1)
    assert torch.nn.BatchNorm2d not in kinds


def test_mobileone_has_the_published_size_once_it_is_fused() -> None:
    """2.1 million parameters with its classifier of 1,000 classes (arXiv:2206.04040, table 9)."""
    encoder = MobileOneEncoder()
    encoder.fuse()
    weights = sum(weight.numel() for weight in encoder.parameters()) + 1025 * 1000
    assert round(weights / 1e6, 1) == 2.1


def test_efficientformer_has_the_published_size() -> None:
    """3.5 million parameters with a classifier of 1,000 classes (arXiv:2212.08059, table 2)."""
    weights = sum(weight.numel() for weight in EfficientFormerEncoder().parameters())
    assert round((weights + 177 * 1000) / 1e6, 1) == pytest.approx(3.5, abs=0.15)


def test_attention_uses_the_same_bias_for_the_same_distance_at_every_size() -> None:
    attention = Attention(16, side=4, stride=1)
    with torch.no_grad():
        attention.biases.copy_(torch.arange(8 * 16.0).reshape(8, 4, 4))
    maps = torch.zeros(1, 8, 3, 3)
    scores, _ = attention.attend(maps, maps, maps, 1)
    assert scores.shape == (1, 8, 9, 9)
    assert scores[0, 0, 0].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]  # from the first cell
    assert scores[0, 0, 4].tolist() == [5, 4, 5, 1, 0, 1, 5, 4, 5]  # from the middle one


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (64, 96), (48, 48)])
def test_efficientformer_says_which_sizes_it_takes(rows: int, columns: int) -> None:
    network = create("efficientformerv2-s0", labels=2).eval()
    with pytest.raises(ValueError, match=f"at most 224 pixels a side.*{rows} x {columns}"):
        network(torch.zeros(1, 1, rows, columns))
