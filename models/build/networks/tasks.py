"""The two tasks on top of an encoder: which class, and where."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.build.networks.base import Encoder, Explains, Heads, Network, pool
from models.build.networks.decoder import Decoder

_AUXILIARY = (64, 48, 32, 16)  # the decoder's widths from coarse to fine; the finest are dropped


class Classifier(Network):
    """Encoder, global average pooling, dropout and one linear layer.

    `masks` > 0 adds a decoder that outlines each finding while training, so that the classes are
    learnt from the lesion and not from what surrounds it; the export leaves it out.
    """

    explains: Explains = "cam"

    def __init__(
        self, name: str, encoder: Encoder, labels: int, dropout: float, masks: int = 0
    ) -> None:
        super().__init__(name, encoder, encoder.features)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(encoder.features, labels)
        widths = _AUXILIARY[: len(encoder.skip_channels)]
        self.decoder = Decoder(encoder, widths, 1, masks) if masks else None

    def forward(self, image: Tensor) -> Heads:
        """All heads; `mask_logits` only with the auxiliary decoder."""
        maps = self.encoder(image)
        feature_map = self.encoder.widen(maps.deep)
        logits, pooled = self.classify(feature_map)
        outlines = None if self.decoder is None else self.decoder(maps)
        return Heads(logits, pooled, feature_map, outlines)

    def classify(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) to (logits (N, L), pooled (N, C))."""
        pooled = pool(feature_map)
        return self.classifier(self.dropout(pooled)), pooled


class NormedClassifier(Classifier):
    """A classifier that normalises what it pooled, so that its logits are not linear in the map."""

    explains: Explains = "cells"

    def __init__(
        self, name: str, encoder: Encoder, labels: int, dropout: float, masks: int = 0
    ) -> None:
        super().__init__(name, encoder, labels, dropout, masks)
        self.norm = nn.LayerNorm(encoder.features)

    def classify(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) to (logits (N, L), pooled (N, C))."""
        pooled = self.norm(pool(feature_map))
        return self.classifier(self.dropout(pooled)), pooled


class Outliner(Network):
    """Encoder and decoder: one mask for each structure; `pooled` is of the deepest map."""

    explains: Explains = "outline"

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        masks: int,
        dropout: float,
        *,
        widths: Sequence[int],
        convolutions: int = 2,
    ) -> None:
        super().__init__(name, encoder, encoder.deep_channels)
        self.dropout = nn.Dropout2d(dropout)
        self.decoder = Decoder(encoder, widths, convolutions, masks)

    def forward(self, image: Tensor) -> Heads:
        """`pooled`, `feature_map` (the deepest) and `mask_logits`."""
        maps = self.encoder(image)
        outlines = self.decoder(maps._replace(deep=self.dropout(maps.deep)))
        return Heads(None, pool(maps.deep), maps.deep, outlines)
