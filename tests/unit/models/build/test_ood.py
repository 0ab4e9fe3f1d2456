"""Out-of-distribution scores are what they claim."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.ood import Mahalanobis, NearestNeighbours  # noqa: E402 only with torch


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
