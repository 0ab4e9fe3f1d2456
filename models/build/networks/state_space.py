"""A selective state-space network (Mamba type) made of matrix products, without a loop.

The recurrence of Mamba-2 (arXiv:2405.21060) equals a product with a lower triangular matrix
(state-space duality, section 3 there). For the few hundred cells of an image that matrix is small,
so the graph needs only convolutions, MatMul, CumSum and Exp, which every engine has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.networks.base import Encoder, Maps
from models.build.networks.decoder import conv_norm_relu

_WIDTH = 192
_HEADS = 6
_STATE = 32
_STEM = (32, 64, 128)
_BOUND = 20.0  # of an exponent
_SMALLEST = 1e-6  # step whose logarithm is taken


class Direction(NamedTuple):
    """How one scan goes: `steps` (N, H, T) for H heads and T cells, `rates` (H,); all positive.

    What the cells before have left decays by exp(-rate x step) at each cell.
    """

    steps: Tensor
    rates: Tensor


def scan_both_ways(
    values: Tensor, keys: Tensor, queries: Tensor, forth: Direction, back: Direction
) -> Tensor:
    """The sum of two selective scans: from the first cell to the last, and back.

    `values` (N, H, P, T) has P channels a head; `keys` and `queries` (N, S, T), the B and C of the
    state-space model, are shared by the heads. The scan forth, with the decay a, is
    h[t] = a[t] h[t-1] + step[t] values[t] keys[t]; result[t] = h[t] queries[t]. Gives (N, H, P, T).
    """
    affinity = torch.matmul(keys.transpose(1, 2), queries)[:, None]  # from cell j to cell i
    return torch.matmul(values, affinity * (_forth(forth) + _back(back)))


def _forth(direction: Direction) -> Tensor:
    """(N, H, T, T): what cell j's value weighs at cell i >= j, 0 elsewhere."""
    decay = -direction.rates[:, None] * direction.steps
    seen = torch.cumsum(decay, 2)
    return _weights(seen, seen - _log(direction.steps)).triu()


def _back(direction: Direction) -> Tensor:
    """(N, H, T, T): what cell j's value weighs at cell i <= j, 0 elsewhere."""
    decay = -direction.rates[:, None] * direction.steps
    before = torch.cumsum(decay, 2) - decay
    return _weights(-before, -before - _log(direction.steps)).tril()


def _weights(target: Tensor, source: Tensor) -> Tensor:
    """exp(target[i] - source[j]); the bound is only for the half that is cut off next."""
    return torch.exp((target[:, :, None, :] - source[:, :, :, None]).clamp(max=_BOUND))


def _log(steps: Tensor) -> Tensor:
    return torch.log(steps.clamp(min=_SMALLEST))


class StateSpaceBlock(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """x + scan(x) on a map (N, C, h, w), by rows or by columns, each both ways.

    Keys, queries and steps depend on the input (that is what makes the scan selective). All norms
    are batch norms behind a convolution, which export merges.
    """

    def __init__(self, width: int, *, by_columns: bool) -> None:
        super().__init__()
        inner = 2 * width
        self.by_columns, self.sizes = by_columns, (inner, _STATE, _STATE)
        mixed = sum(self.sizes)
        self.enter = nn.Sequential(nn.Conv2d(width, mixed, 1, bias=False), nn.BatchNorm2d(mixed))
        self.near = nn.Conv2d(mixed, mixed, 3, padding=1, groups=mixed)
        self.gate = nn.Conv2d(width, inner, 1)
        self.steps = nn.Conv2d(width, 2 * _HEADS, 1)
        self.leave = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))
        self.rates = nn.Parameter(torch.linspace(0, 2, _HEADS).repeat(2, 1))  # logarithms
        self.direct = nn.Parameter(torch.ones(inner))
        nn.init.constant_(self.steps.bias, -3.0)  # softplus gives 0.05: a memory of about 20 cells

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        mixed = functional.silu(self.near(self.enter(x)))
        values, keys, queries = torch.split(mixed, self.sizes, dim=1)
        steps = functional.softplus(self._cells(self.steps(x))).chunk(2, dim=1)
        forth, back = (Direction(steps[way], self.rates[way].exp()) for way in (0, 1))
        heads = self._cells(values).reshape(-1, _HEADS, *self._head(x))
        scanned = scan_both_ways(heads, self._cells(keys), self._cells(queries), forth, back)
        result = self._map(scanned, x) + self.direct[:, None, None] * values
        left: Tensor = x + self.leave(result * functional.silu(self.gate(x)))
        return left

    def _head(self, x: Tensor) -> tuple[int, int]:
        """Channels of a head, and cells."""
        return self.sizes[0] // _HEADS, int(x.shape[2]) * int(x.shape[3])

    def _cells(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, T) in the order of the scan."""
        ordered = x.transpose(2, 3) if self.by_columns else x
        return ordered.reshape(-1, int(x.shape[1]), self._head(x)[1])

    def _map(self, heads: Tensor, like: Tensor) -> Tensor:
        """(N, H, P, T) to (N, H P, h, w)."""
        rows, columns = int(like.shape[2]), int(like.shape[3])
        if self.by_columns:
            return heads.reshape(-1, self.sizes[0], columns, rows).transpose(2, 3)
        return heads.reshape(-1, self.sizes[0], rows, columns)


class StateSpaceEncoder(Encoder):
    """Four convolutions to 1/16 of the size, then blocks by rows and by columns in turn.

    Skips at 1/2, 1/4 and 1/8. Begins at random.
    """

    layer = "the last state-space block (192 channels, 1/16 of the image's size)"
    skip_channels = _STEM
    deep_channels = features = _WIDTH

    def __init__(self, blocks: int) -> None:
        super().__init__()
        channels = (1, *_STEM, _WIDTH)
        self.stem = nn.ModuleList(conv_norm_relu(*pair, stride=2) for pair in pairwise(channels))
        self.blocks = nn.Sequential(
            *(StateSpaceBlock(_WIDTH, by_columns=bool(number % 2)) for number in range(blocks))
        )

    def forward(self, image: Tensor) -> Maps:
        """The stem's maps, and the last block's."""
        maps, x = [], image
        for step in self.stem:
            x = step(x)
            maps.append(x)
        return Maps(tuple(maps[:-1]), self.blocks(x))

    def parts(self) -> Sequence[nn.Module]:
        """The stem, then the blocks."""
        return (self.stem, *self.blocks)
