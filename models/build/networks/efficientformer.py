"""EfficientFormerV2-S0 (arXiv:2212.08059): convolutions, with attention in the last two stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.networks.base import Encoder, Maps

_LARGEST = 224  # pixels a side; the attention's biases have no entry for cells further apart
_WIDTHS = (32, 48, 96, 176)
_EXPANSIONS = ((4, 4), (4, 4), (4, 3, 3, 3, 4, 4), (4, 3, 3, 4))  # of each stage's blocks
_WITH_ATTENTION = 2  # the last blocks of the last two stages
_HEADS = 8
_SCALE = 0.1  # of each residual at first; the paper's 1e-5 is for 300 epochs


class EfficientFormerEncoder(Encoder):
    """Skips at 1/4, 1/8 and 1/16, `deep` at 1/32 with 176 channels. Begins at random.

    Its attention has a learnt bias for each distance between two cells, up to those in an image of
    224 x 224. A smaller image uses the shorter distances' biases, so it can be trained at any size
    up to that; a graph is exported for one size.
    """

    layer = "the last stage (176 channels), normalised, before global average pooling"
    skip_channels = _WIDTHS[:-1]
    deep_channels = features = _WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        half = _WIDTHS[0] // 2
        self.stem = nn.Sequential(
            _conv_norm(1, half, 3, stride=2),
            nn.GELU(),
            _conv_norm(half, _WIDTHS[0], 3, stride=2),
            nn.GELU(),
        )
        self.stages = nn.ModuleList(_stage(number) for number in range(len(_WIDTHS)))
        self.norm = nn.BatchNorm2d(self.features)

    def forward(self, image: Tensor) -> Maps:
        """Each stage's map. ValueError for an image that is not square, or larger than 224."""
        rows, columns = int(image.shape[-2]), int(image.shape[-1])
        if rows != columns or rows > _LARGEST or rows % 32:
            raise ValueError(
                f"efficientformerv2-s0 takes square images of at most {_LARGEST} pixels a side, "
                f"a multiple of 32, not {rows} x {columns}"
            )
        maps, x = [], self.stem(image)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Maps(tuple(maps[:-1]), maps[-1])

    def widen(self, deep: Tensor) -> Tensor:
        """The last batch norm; it widens nothing."""
        normalised: Tensor = self.norm(deep)
        return normalised

    def parts(self) -> Sequence[nn.Module]:
        """The stem, then every layer of every stage."""
        return (self.stem, *(layer for stage in self.stages for layer in stage))


class _Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """x + scale * inner(x), with a learnt scale for each channel."""

    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.scale = nn.Parameter(torch.full((width, 1, 1), _SCALE))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.scale * self.inner(x)
        return result


class _Biased(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """What both kinds of attention share: a bias for each head and distance (rows, columns)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side  # cells of the largest image
        self.biases = nn.Parameter(torch.zeros(_HEADS, side, side))

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """(scores (N, heads, queries, keys), values (N, heads, channels, keys)).

        All maps are (N, heads * channels, h, w); a query is at every `step`th cell of the keys.
        """
        side, (q, k, v) = int(keys.shape[-1]), (_by_head(x) for x in (queries, keys, values))
        scores = torch.matmul(q.transpose(2, 3), k) / math.sqrt(k.shape[2])
        places, all_places = _places(side, step, q.device), _places(side, 1, q.device)
        apart = (places[:, :, None] - all_places[:, None, :]).abs()
        return scores + self.biases[:, apart[0], apart[1]], v


class Attention(_Biased):
    """Attention between the cells of a map, at half its size where `stride` is 2."""

    def __init__(self, width: int, side: int, stride: int) -> None:
        super().__init__(side // stride)
        keys, values = 32 * _HEADS, 128 * _HEADS
        self.reduce = _conv_norm(width, width, 3, stride=2, groups=width) if stride == 2 else None
        self.queries, self.keys = _conv_norm(width, keys, 1), _conv_norm(width, keys, 1)
        self.values = _conv_norm(width, values, 1)
        self.near = _conv_norm(values, values, 3, groups=values)
        self.mix_scores, self.mix_weights = (nn.Conv2d(_HEADS, _HEADS, 1) for _ in range(2))
        self.leave = _conv_norm(values, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        x = x if self.reduce is None else self.reduce(x)
        values = self.values(x)
        scores, v = self.attend(self.queries(x), self.keys(x), values, 1)
        weights = self.mix_weights(self.mix_scores(scores).softmax(dim=3))
        seen = _as_map(torch.matmul(v, weights.transpose(2, 3)), x) + self.near(values)
        if self.reduce is not None:
            seen = functional.interpolate(seen, scale_factor=2.0, mode="bilinear")
        result: Tensor = self.leave(functional.gelu(seen))
        return result


class AttentionDown(_Biased):
    """A convolution that halves the map, and attention from its cells to the finer ones."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(side)
        keys, values = 16 * _HEADS, 64 * _HEADS
        self.halve = _conv_norm(inputs, outputs, 3, stride=2)
        self.local = nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs)
        self.queries, self.keys = _conv_norm(inputs, keys, 1), _conv_norm(inputs, keys, 1)
        self.values = _conv_norm(inputs, values, 1)
        self.near = _conv_norm(values, values, 3, stride=2, groups=values)
        self.leave = _conv_norm(values, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, h / 2, w / 2), rounded up."""
        values, coarse = self.values(x), self.local(x)
        queries = self.queries(coarse + x[:, :, ::2, ::2])
        scores, v = self.attend(queries, self.keys(x), values, 2)
        weights = scores.softmax(dim=3)
        seen = _as_map(torch.matmul(v, weights.transpose(2, 3)), coarse)
        result: Tensor = self.halve(x) + self.leave(functional.gelu(seen + self.near(values)))
        return result


def _stage(number: int) -> nn.Sequential:
    """Down-sampling (but in the first), then the blocks."""
    width, side = _WIDTHS[number], _LARGEST // 4 // 2**number
    layers: list[nn.Module] = []
    if number == 3:
        layers.append(AttentionDown(_WIDTHS[2], width, 2 * side))
    elif number:
        layers.append(_conv_norm(_WIDTHS[number - 1], width, 3, stride=2))
    expansions = _EXPANSIONS[number]
    for index, expansion in enumerate(expansions):
        if number >= 2 and index >= len(expansions) - _WITH_ATTENTION:
            layers.append(_Residual(width, Attention(width, side, 2 if number == 2 else 1)))
        layers.append(_Residual(width, _feed_forward(width, width * expansion)))
    return nn.Sequential(*layers)


def _feed_forward(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        _conv_norm(width, hidden, 1),
        nn.GELU(),
        _conv_norm(hidden, hidden, 3, groups=hidden),
        nn.GELU(),
        _conv_norm(hidden, width, 1),
    )


def _conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _by_head(x: Tensor) -> Tensor:
    """(N, heads * channels, h, w) to (N, heads, channels, h w)."""
    channels, rows, columns = (int(size) for size in x.shape[1:])
    return x.reshape(-1, _HEADS, channels // _HEADS, rows * columns)


def _as_map(cells: Tensor, like: Tensor) -> Tensor:
    """(N, heads, channels, h w) to (N, heads * channels, h, w), h and w as in `like`."""
    channels = _HEADS * int(cells.shape[2])
    return cells.reshape(-1, channels, int(like.shape[2]), int(like.shape[3]))


def _places(side: int, step: int, device: torch.device) -> Tensor:
    """(2, n): row and column of every `step`th cell each way."""
    along = torch.arange(0, side, step, device=device)
    return torch.stack(torch.meshgrid(along, along, indexing="ij")).flatten(1)
