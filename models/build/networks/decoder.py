"""From an encoder's maps to the outline: light steps of convolution and ReLU6."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.build.networks.base import Encoder, Maps

_RARE = -3.0  # the first guess of a pixel's logit: most pixels are outside (5 % inside)


class Decoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Maps to mask logits (N, masks, h, w) at the resolution of the finest skip.

    `widths` has the channels of each step, from coarse to fine, one for each skip; `convolutions`
    is their number in a step. Up-sampling is by repetition: the convolution behind it smooths, and
    it quantises without loss.
    """

    def __init__(
        self, encoder: Encoder, widths: Sequence[int], convolutions: int, masks: int
    ) -> None:
        super().__init__()
        inputs = (encoder.deep_channels, *widths[:-1])
        skips = reversed(encoder.skip_channels)
        self.steps = nn.ModuleList(
            _Step(below + skip, width, convolutions)
            for below, skip, width in zip(inputs, skips, widths, strict=True)
        )
        self.out = nn.Conv2d(widths[-1], masks, 1)
        nn.init.constant_(self.out.bias, _RARE)

    def forward(self, maps: Maps) -> Tensor:
        """The mask logits."""
        x = maps.deep
        for step, skip in zip(self.steps, reversed(maps.skips), strict=True):
            x = step(x, skip)
        logits: Tensor = self.out(x)
        return logits


class _Step(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, inputs: int, width: int, convolutions: int) -> None:
        super().__init__()
        channels = [inputs] + [width] * convolutions
        layers = [conv_norm_relu(before, after) for before, after in itertools.pairwise(channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        wide = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        result: Tensor = self.layers(torch.cat([wide, skip], dim=1))
        return result


def conv_norm_relu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, its batch norm and ReLU6: what int8 does best."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
