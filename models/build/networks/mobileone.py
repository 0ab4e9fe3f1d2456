"""MobileOne-S0 (arXiv:2206.04040): branches while it learns, one convolution when it serves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.networks.base import Encoder, Maps

_STEM = 48
_STAGES = ((2, 48), (8, 128), (10, 256), (1, 1024))  # blocks and channels, each at half the size
_BRANCHES = 4

Merged = tuple[Tensor, Tensor]


class MobileOneEncoder(Encoder):
    """Skips at 1/2, 1/4, 1/8 and 1/16, `deep` at 1/32 with 1024 channels. Begins at random."""

    layer = "the last block (1024 channels), before global average pooling"
    skip_channels = (_STEM, 48, 128, 256)
    deep_channels = features = 1024

    def __init__(self) -> None:
        super().__init__()
        self.stem = BranchedConv(1, _STEM, 3, stride=2, branches=1)
        channels, stages = _STEM, []
        for count, width in _STAGES:
            first = _block(channels, width, 2)
            stages.append(nn.Sequential(first, *(_block(width, width, 1) for _ in range(1, count))))
            channels = width
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> Maps:
        """The stem's map and each stage's."""
        maps = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return Maps(tuple(maps[:-1]), maps[-1])

    def parts(self) -> Sequence[nn.Module]:
        """The stem, then every block of every stage."""
        return (self.stem, *(block for stage in self.stages for block in stage))

    def fuse(self) -> None:
        """Merge the branches of each block, and their norms, into one convolution; exactly."""
        for module in self.modules():
            if isinstance(module, BranchedConv):
                module.fuse()


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A depthwise and a pointwise convolution, both in branches."""
    deep = BranchedConv(inputs, inputs, 3, stride=stride, groups=inputs)
    return nn.Sequential(deep, BranchedConv(inputs, outputs, 1))


class BranchedConv(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """ReLU of the sum of `branches` equal convolutions, one of size 1 and the input itself.

    Each has its own batch norm. The one of size 1 is there if the others are larger, the input if
    the shape allows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        branches: int = _BRANCHES,
    ) -> None:
        super().__init__()
        self.shape = (inputs, outputs, kernel, stride, groups)
        sizes = [kernel] * branches + ([1] if kernel > 1 else [])
        self.convolutions = nn.ModuleList(self._branch(size) for size in sizes)
        same = inputs == outputs and stride == 1
        self.skip = nn.BatchNorm2d(outputs) if same else None
        self.merged: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The sum of the branches, or the one convolution they were merged into."""
        if self.merged is not None:
            return functional.relu(self.merged(x))
        total = sum(branch(x) for branch in self.convolutions)
        return functional.relu(total if self.skip is None else total + self.skip(x))

    def fuse(self) -> None:
        """Merge all branches; they are gone after that."""
        if self.merged is not None:
            return
        with torch.no_grad():
            weight, bias = (sum(parts) for parts in zip(*self._merged(), strict=True))
        inputs, outputs, kernel, stride, groups = self.shape
        self.merged = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
        self.merged.weight, self.merged.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.convolutions, self.skip = nn.ModuleList(), None

    def _branch(self, size: int) -> nn.Sequential:
        inputs, outputs, _, stride, groups = self.shape
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def _merged(self) -> list[Merged]:
        """(weight, bias) of each branch as a convolution of the full size."""
        kernel = self.shape[2]
        merged = []
        for convolution, norm in self.convolutions:
            border = (kernel - convolution.kernel_size[0]) // 2
            merged.append(_folded(functional.pad(convolution.weight, [border] * 4), norm))
        if self.skip is not None:
            merged.append(_folded(self._identity(self.skip.weight), self.skip))
        return merged

    def _identity(self, like: Tensor) -> Tensor:
        """The convolution that changes nothing."""
        _, outputs, kernel, _, groups = self.shape
        weight = like.new_zeros(outputs, outputs // groups, kernel, kernel)
        channels = torch.arange(outputs)
        weight[channels, channels % (outputs // groups), kernel // 2, kernel // 2] = 1
        return weight


def _folded(weight: Tensor, norm: nn.BatchNorm2d) -> Merged:
    """A convolution's weights and the batch norm behind it as weights and bias."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
