"""What every network offers to training, compression and export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

Explains = Literal["cam", "cells", "outline"]


class Heads(NamedTuple):
    """What a network says of N images (N, 1, H, W); what it does not say is None.

    `logits` (N, L); `pooled` (N, C), what the out-of-distribution score looks at; `feature_map`
    (N, C, h, w); `mask_logits` (N, K, H / 2, W / 2) or (N, K, H / 4, W / 4), as fine as the decoder
    goes.
    """

    logits: Tensor | None
    pooled: Tensor | None
    feature_map: Tensor | None
    mask_logits: Tensor | None


class Maps(NamedTuple):
    """An encoder's maps: `skips` from fine to coarse, each half as large as the one before.

    `deep`, the last and coarsest, is half as large as the last skip.
    """

    skips: tuple[Tensor, ...]
    deep: Tensor


class Encoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Image (N, 1, H, W) in [0, 1] to Maps. `widen` makes the features to be pooled of `deep`."""

    skip_channels: tuple[int, ...]
    deep_channels: int
    features: int  # channels after `widen`
    layer: str  # the name of the widened map, for the card

    def widen(self, deep: Tensor) -> Tensor:
        """(N, deep_channels, h, w) to (N, features, h, w)."""
        return deep

    def parts(self) -> Sequence[nn.Module]:
        """The blocks in the order an image goes through them, the stem first."""
        return tuple(self.children())

    def fuse(self) -> None:
        """Merge, in place, what only training needs apart. The outputs stay the same."""


class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """float32 (N, 1, H, W) in [0, 1] to Heads. H and W are multiples of 32.

    `features` is the number of pooled channels and `layer` names the map that they come from;
    `explains` says how an answer is shown: "cam" where logits are linear in the pooled map, "cells"
    where they are not, "outline" where the answer is a mask.
    """

    explains: Explains

    def __init__(self, name: str, encoder: Encoder, features: int) -> None:
        super().__init__()
        self.name, self.encoder, self.features = name, encoder, features
        self.layer = encoder.layer

    def fuse(self) -> None:
        """Merge, in place, what only training needs apart; for export. Outputs stay the same."""
        self.encoder.fuse()

    def freeze_first(self, blocks: int) -> None:
        """Keep the stem and the first blocks as they are (running means included); 0 for none."""
        for module in self.encoder.parts()[: blocks + 1] if blocks else ():
            module.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Network:
        """Switch to training, all but the batch norms of frozen blocks."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling: (N, C, h, w) to (N, C)."""
    return functional.adaptive_avg_pool2d(feature_map, 1).flatten(1)
