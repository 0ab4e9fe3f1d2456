"""The networks that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from models.build.networks.base import Encoder, Heads, Network, pool
from models.build.networks.efficientformer import EfficientFormerEncoder
from models.build.networks.lite import LiteEncoder
from models.build.networks.mobileone import MobileOneEncoder
from models.build.networks.state_space import StateSpaceEncoder
from models.build.networks.tasks import Classifier, NormedClassifier, Outliner
from models.build.networks.unet import UNetEncoder

__all__ = [
    "CLASSIFIERS",
    "OUTLINERS",
    "Classifier",
    "Heads",
    "Network",
    "Outliner",
    "create",
    "pool",
]

Maker = Callable[[str, int, int, bool, float], Network]


def create(
    name: str, *, labels: int, outline: bool = False, pretrained: bool = True, dropout: float = 0.0
) -> Network:
    """A network by its name in CLASSIFIERS or OUTLINERS.

    `labels` is the number of a classifier's classes, the negative one included, or of an
    outliner's structures. `outline` gives a classifier the auxiliary decoder, one mask for each
    finding (labels - 1). ImageNet weights exist for the EfficientNet-Lite encoders only; the
    others begin at random whatever `pretrained` says. An unknown name is a ValueError.
    """
    makers = CLASSIFIERS | OUTLINERS
    if name not in makers:
        raise ValueError(f"{name!r} is not one of the networks {', '.join(makers)}.")
    masks = labels - 1 if outline else 0
    return makers[name](name, labels, masks, pretrained, dropout)


def _lite(version: int) -> Maker:
    def make(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Network:
        encoder = LiteEncoder(version, pretrained=pretrained)
        return Classifier(name, encoder, labels, dropout, masks)

    return make


def _classifier(encoder: Callable[[], Encoder], kind: type[Classifier] = Classifier) -> Maker:
    def make(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Network:
        return kind(name, encoder(), labels, dropout, masks)

    return make


def _unet_light(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Network:
    encoder = LiteEncoder(0, pretrained=pretrained, widened=False)
    return Outliner(name, encoder, labels, dropout, widths=(96, 64, 32, 16))


def _outliner(encoder: Callable[[], Encoder], widths: tuple[int, ...]) -> Maker:
    def make(name: str, labels: int, masks: int, pretrained: bool, dropout: float) -> Network:
        return Outliner(name, encoder(), labels, dropout, widths=widths)

    return make


CLASSIFIERS: dict[str, Maker] = {
    "efficientnet-lite0": _lite(0),
    "efficientnet-lite2": _lite(2),
    "mobileone-s0": _classifier(MobileOneEncoder),
    "efficientformerv2-s0": _classifier(EfficientFormerEncoder),
    "state-space": _classifier(partial(StateSpaceEncoder, 4), NormedClassifier),
}
OUTLINERS: dict[str, Maker] = {
    "unet": _outliner(UNetEncoder, (128, 64, 32, 16)),
    "unet-light": _unet_light,
    "unet-state-space": _outliner(partial(StateSpaceEncoder, 2), (64, 32, 16)),
}
