"""Every network keeps the one contract that training, compression and export rely on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.networks import (  # noqa: E402 only with torch
    CLASSIFIERS,
    OUTLINERS,
    Network,
    create,
)

CLASSES = [name for name in CLASSIFIERS if name != "efficientnet-lite2"]  # a longer Lite0: slow


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small work is quicker without waiting for a second core that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def image(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


def made(name: str, *, labels: int = 4, outline: bool = False) -> Network:
    torch.manual_seed(0)
    return create(name, labels=labels, outline=outline, pretrained=False)


@pytest.mark.parametrize("name", CLASSES)
def test_a_classifier_gives_logits_the_pooled_map_and_an_outline_of_each_finding(name: str) -> None:
    network = made(name, outline=True).eval()
    with torch.inference_mode():
        heads = network(image())
    assert heads.logits.shape == (2, 4)
    assert heads.pooled.shape == (2, network.features)
    assert heads.feature_map.shape[:2] == (2, network.features)
    assert heads.mask_logits.shape[:2] == (2, 3)
    assert 64 // heads.mask_logits.shape[-1] in {2, 4}
    assert "before global average pooling" in network.layer or network.explains == "cells"


def test_a_classifier_carries_no_decoder_unless_asked() -> None:
    with torch.inference_mode():
        assert made("mobileone-s0").eval()(image()).mask_logits is None


@pytest.mark.parametrize("name", OUTLINERS)
def test_an_outliner_gives_a_mask_of_each_structure(name: str) -> None:
    network = made(name, labels=2).eval()
    with torch.inference_mode():
        heads = network(image())
    assert heads.logits is None
    assert heads.pooled.shape == (2, network.features)
    assert heads.mask_logits.shape[:2] == (2, 2)
    assert network.explains == "outline"


@pytest.mark.parametrize("name", [*CLASSES, *OUTLINERS])
def test_every_weight_learns(name: str) -> None:
    network = made(name, outline=True).train()
    heads = network(image(count=4))
    sum(head.square().mean() for head in heads if head is not None).backward()
    still = [key for key, weight in network.named_parameters() if weight.grad is None]
    assert not still


@pytest.mark.parametrize("name", [*CLASSES, *OUTLINERS])
def test_frozen_blocks_do_not_learn(name: str) -> None:
    network = made(name)
    network.freeze_first(1)
    network.train()
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    frozen = {id(weight) for part in network.encoder.parts()[:2] for weight in part.parameters()}
    network(image(count=4)).pooled.sum().backward()
    assert frozen
    for key, weight in network.encoder.named_parameters():
        if id(weight) in frozen:
            assert weight.grad is None, key
    stem = network.encoder.parts()[0]
    kept = {id(value) for value in stem.state_dict(keep_vars=True).values()}
    for key, value in network.encoder.state_dict(keep_vars=True).items():
        if id(value) in kept:
            assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", [*CLASSES, *OUTLINERS])
def test_fusing_changes_no_output(name: str) -> None:
    network = made(name, outline=True)
    network.train()
    with torch.no_grad():
        for _ in range(2):  # running means that are not 0
            network(image(count=4))
    network.eval()
    with torch.inference_mode():
        before = network(image())
        network.fuse()
        after = network(image())
    for one, other in zip(before, after, strict=True):
        assert (one is None) is (other is None)
        if one is not None:
            assert torch.allclose(one, other, atol=1e-4 * max(1.0, float(one.abs().max())))


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'resnet'.*efficientnet-lite0.*unet-light"):
        create("resnet", labels=2)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("efficientnet-lite0", "the last convolution, before global average pooling"),
        ("unet-light", "the deepest map of the encoder"),
    ],
)
def test_a_network_names_the_map_that_it_has(name: str, layer: str) -> None:
    assert create(name, labels=2).layer == layer


@pytest.mark.parametrize("version", [0, 2])
def test_folding_the_normalisation_into_the_first_convolution_changes_nothing(version: int) -> None:
    """Away from the border, where the original pads with grey and this one with black."""
    from efficientnet_lite_pytorch import EfficientNet

    from models.build.networks.lite import LiteEncoder, _weights

    name = f"efficientnet-lite{version}"
    original = EfficientNet.from_pretrained(name, weights_path=_weights(version)).eval()
    ours = LiteEncoder(version, pretrained=True).eval().network
    grey = image(1)
    with torch.inference_mode():
        expected = original._bn0(original._conv_stem(grey.repeat(1, 3, 1, 1) * 2 - 1))
        given = ours._bn0(ours._conv_stem(grey))
    assert torch.allclose(given[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4)
