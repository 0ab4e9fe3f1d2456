"""A trained network in a file, to be run by PyTorch as it is."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from models.build.errors import NetworkError
from models.build.networks import Classifier, Network, create


class Answer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The network's first answer alone: logits (N, L) or mask logits (N, K, h, w)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """What the exported graph gives first, before an outline is brought to full size."""
        heads = self.network(image)
        answer: Tensor = heads.mask_logits if heads.logits is None else heads.logits
        return answer


def save_network(network: Network, path: Path) -> None:
    """Write what `load_network` needs; what only training uses is left out."""
    served = copy.deepcopy(network).cpu()
    is_classifier = isinstance(served, Classifier)
    if is_classifier:
        served.decoder = None
    labels = served.classifier.out_features if is_classifier else served.decoder.out.out_channels
    state = {"name": served.name, "labels": labels, "weights": served.state_dict()}
    torch.save(state, path)


def saved_weights(path: Path) -> dict[str, Tensor]:
    """The weights that `save_network` wrote, by name; NetworkError where it is no such file."""
    try:
        weights: dict[str, Tensor] = torch.load(path, weights_only=True)["weights"]
    except Exception as error:  # torch raises anything at all at a damaged file
        raise NetworkError(f"{path.parent.name}/{path.name} is not a trained network.") from error
    return weights


def load_network(path: Path) -> Answer:
    """The network for inference: merged branches, fp32, every layer one after the other."""
    state = torch.load(path, weights_only=True)
    network = create(state["name"], labels=state["labels"], pretrained=False)
    network.load_state_dict(state["weights"])
    network.eval()
    network.fuse()
    answer = Answer(network)
    answer.eval()
    return answer
