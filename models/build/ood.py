"""Scores of how unlike the training data an image is; each is baked into the graph as it stands."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.build.recipe import CalibrateRecipe


class Energy(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Minus the log-sum-exp of the logits (Liu et al. 2020, arXiv:2010.03759)."""

    method = "energy"

    def forward(self, logits: Tensor, pooled: Tensor) -> Tensor:
        """(N, L) and (N, C) to (N,)."""
        return -torch.logsumexp(logits, dim=1)


class Mahalanobis(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Distance to the nearest class mean under the shared covariance (arXiv:1807.03888)."""

    method = "mahalanobis"

    def __init__(self, pooled: Tensor, labels: Tensor, size: int) -> None:
        super().__init__()
        classes = labels.unique()
        means = torch.stack([pooled[labels == label].mean(0) for label in classes])
        within = pooled - means[torch.searchsorted(classes, labels)]
        _, scale, axes = torch.linalg.svd(within, full_matrices=False)
        spread = (scale[:size] / len(pooled) ** 0.5).clamp(min=1e-6)  # fewer images than axes
        self.register_buffer("axes", (axes[:size] / spread[:, None]).T.contiguous())
        self.register_buffer("means", means @ self.axes)

    def forward(self, logits: Tensor, pooled: Tensor) -> Tensor:
        """(N, L) and (N, C) to (N,)."""
        offsets = (pooled @ self.axes)[:, None, :] - self.means[None]
        return offsets.square().mean(dim=2).amin(dim=1).sqrt()


class NearestNeighbours(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One minus the mean cosine to the k nearest training images (Sun et al., arXiv:2204.06507).

    Only the leading directions are compared, but lengths are of the whole features: what an image
    has in other directions makes it less like any of them.
    """

    method = "nearest"

    def __init__(self, pooled: Tensor, size: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        _, _, axes = torch.linalg.svd(pooled, full_matrices=False)
        self.register_buffer("axes", axes[:size].T.contiguous())
        self.register_buffer("bank", self._place(pooled).T.contiguous())

    def forward(self, logits: Tensor, pooled: Tensor) -> Tensor:
        """(N, L) and (N, C) to (N,)."""
        nearest, _ = torch.topk(self._place(pooled) @ self.bank, self.neighbours, dim=1)
        return 1 - nearest.mean(dim=1)

    def _place(self, pooled: Tensor) -> Tensor:
        return pooled @ self.axes / pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)


def candidates(pooled: Tensor, labels: Tensor, recipe: CalibrateRecipe) -> tuple[nn.Module, ...]:
    """The recipe's scores, fitted to the training images' pooled features (N, C) and labels (N,).

    Images of one label make one class, whatever the label; so an outline's images may all be -1.
    """
    size = min(recipe.pca, len(pooled) - 1, pooled.shape[1])
    made: dict[str, Callable[[], nn.Module]] = {
        "energy": Energy,
        "mahalanobis": lambda: Mahalanobis(pooled, labels, size),
        "nearest": lambda: NearestNeighbours(pooled, size, min(recipe.neighbours, len(pooled))),
    }
    return tuple(made[name]() for name in recipe.ood)
