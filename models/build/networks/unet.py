"""The plain U-Net (arXiv:1505.04597), with batch norms, a quarter of the published width."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models.build.networks.base import Encoder, Maps
from models.build.networks.decoder import conv_norm_relu

_WIDTHS = (16, 32, 64, 128, 256)


class UNetEncoder(Encoder):
    """Two convolutions at each of five sizes: skips at 1, 1/2, 1/4 and 1/8, `deep` at 1/16."""

    layer = "the deepest level (256 channels, 1/16 of the image's size)"
    skip_channels = _WIDTHS[:-1]
    deep_channels = features = _WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *_WIDTHS[:-1])
        self.levels = nn.ModuleList(
            nn.Sequential(conv_norm_relu(before, after), conv_norm_relu(after, after))
            for before, after in zip(inputs, _WIDTHS, strict=True)
        )

    def forward(self, image: Tensor) -> Maps:
        """Each level's map."""
        maps = [self.levels[0](image)]
        for level in self.levels[1:]:
            maps.append(level(functional.max_pool2d(maps[-1], 2)))
        return Maps(tuple(maps[:-1]), maps[-1])

    def parts(self) -> Sequence[nn.Module]:
        """The levels, the finest first."""
        return tuple(self.levels)
