"""Training learns, says where it is, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.errors import BuildError, NetworkError  # noqa: E402 only with torch
from models.build.measure.eager import save_network  # noqa: E402 only with torch
from models.build.networks.base import Network  # noqa: E402 only with torch
from models.build.packs import Samples, as_input  # noqa: E402 only with torch
from models.build.recipe import Cycle, Distillation, Recipe  # noqa: E402 only with torch
from models.build.training import train  # noqa: E402 only with torch
from models.build.training.loop import make_network  # noqa: E402 only with torch
from tests.unit.models.build.discs import (  # noqa: E402 only with torch
    disc_recipe,
    disc_samples,
    outline_recipe,
    tiny_network,
)

CLASSES = {"train": disc_samples(24), "val": disc_samples(8, seed=1)}
OUTLINES = {
    "train": disc_samples(24, segmentation=True),
    "val": disc_samples(8, seed=1, segmentation=True),
}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def trained(
    samples: dict[str, Samples], recipe: Recipe, work: Path, teacher: object = None
) -> tuple[Network, list[str]]:
    lines: list[str] = []
    work.mkdir(exist_ok=True)
    network = train(samples, recipe, work, lines.append, teacher, make=tiny_network, threads=1)
    return network, lines


def test_a_classifier_learns_what_and_where(tmp_path: Path) -> None:
    recipe = disc_recipe(cycles=(Cycle(1e-2, (64,) * 14),), strong=0.0, transplant=0.3, heal=0.1)
    network, lines = trained(CLASSES, recipe, tmp_path)
    with torch.inference_mode():
        heads = network(torch.from_numpy(as_input(CLASSES["val"].images)))
    assert np.mean(heads.logits.argmax(1).numpy() == CLASSES["val"].labels) > 0.7
    assert len(lines) == 15
    assert "Dice" in lines[-1]
    assert "accuracy" in lines[-1]


def test_an_outliner_learns_where_and_where_not(tmp_path: Path) -> None:
    recipe = outline_recipe(cycles=(Cycle(1e-2, (64,) * 14),), strong=0.0)
    network, lines = trained(OUTLINES, recipe, tmp_path)
    with torch.inference_mode():
        logits = network(torch.from_numpy(as_input(OUTLINES["val"].images))).mask_logits
    guess = torch.nn.functional.interpolate(logits, size=(64, 64))[:, 0].numpy() > 0
    masks = OUTLINES["val"].masks
    assert 2 * (guess & masks).sum() / (guess.sum() + masks.sum()) > 0.6
    assert "false outlines" in lines[-1]


class Stopped(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("segmentation", [False, True])
def test_a_run_stopped_in_between_ends_with_the_same_weights(
    tmp_path: Path, segmentation: bool
) -> None:
    cycles = (Cycle(5e-3, (32, 64)), Cycle(1e-3, (64,)))
    make, samples = (outline_recipe, OUTLINES) if segmentation else (disc_recipe, CLASSES)
    recipe = make(cycles=cycles, transplant=0.5, heal=0.3)
    whole, _ = trained(samples, recipe, tmp_path / "whole")

    def stop(_: str) -> None:
        raise Stopped

    (tmp_path / "stopped").mkdir()
    for _ in range(3):
        with pytest.raises(Stopped):
            train(samples, recipe, tmp_path / "stopped", stop, make=tiny_network, threads=1)
    resumed, lines = trained(samples, recipe, tmp_path / "stopped")
    assert len(lines) == 1
    for name, weight in whole.state_dict().items():
        assert torch.allclose(weight, resumed.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize("change", ["seed", "images"])
def test_a_checkpoint_of_another_recipe_or_other_images_is_not_taken_up(
    tmp_path: Path, change: str
) -> None:
    recipe, samples = disc_recipe(), dict(CLASSES)
    trained(samples, recipe, tmp_path)
    if change == "seed":
        recipe = dataclasses.replace(recipe, seed=99)
    else:
        samples["train"] = disc_samples(24, seed=5)
    _, lines = trained(samples, recipe, tmp_path)
    assert len(lines) == 3


def test_how_a_model_is_compressed_does_not_train_it_again(tmp_path: Path) -> None:
    recipe = disc_recipe()
    trained(CLASSES, recipe, tmp_path)
    compress = dataclasses.replace(recipe.compress, prune=0.3)
    _, lines = trained(CLASSES, dataclasses.replace(recipe, compress=compress), tmp_path)
    assert len(lines) == 1


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half of one")
    with pytest.raises(BuildError, match=r"checkpoint\.pt cannot be read"):
        trained(CLASSES, disc_recipe(), tmp_path)


def test_a_network_that_is_not_known_is_named(tmp_path: Path) -> None:
    recipe = disc_recipe()
    with pytest.raises(NetworkError, match="'tiny'"):
        train(CLASSES, recipe, tmp_path, lambda _: None, make=make_network)


def test_a_pupil_ends_nearer_to_its_teacher(tmp_path: Path) -> None:
    teacher = tiny_network(disc_recipe())
    torch.manual_seed(1)
    torch.nn.init.normal_(teacher.classifier.weight, std=2.0)
    images = torch.from_numpy(as_input(CLASSES["val"].images))
    distances = []
    for weight in (0.0, 1.0):
        recipe = disc_recipe(
            cycles=(Cycle(5e-3, (64,) * 4),),
            distillation=Distillation("tiny", weight=weight, temperature=1.0),
        )
        pupil, _ = trained(CLASSES, recipe, tmp_path / str(weight), teacher)
        with torch.inference_mode():
            ours, theirs = (net.eval()(images).logits.softmax(1) for net in (pupil, teacher))
        distances.append(float((ours - theirs).abs().mean()))
    assert distances[1] < distances[0]


def test_frozen_blocks_stay_as_they_are(tmp_path: Path) -> None:
    recipe = disc_recipe()
    frozen = dataclasses.replace(recipe.network, frozen_blocks=1)
    recipe = dataclasses.replace(recipe, network=frozen)
    torch.manual_seed(recipe.seed)
    before = tiny_network(recipe).state_dict()
    after = trained(CLASSES, recipe, tmp_path)[0].state_dict()
    kept = [name for name in before if torch.equal(before[name], after[name])]
    assert {"encoder.stages.0.0.weight", "encoder.stages.1.1.running_mean"} <= set(kept)
    assert "encoder.stages.2.0.weight" not in kept


def test_an_encoder_of_another_model_is_the_start(tmp_path: Path) -> None:
    """The first epoch's learning rate is 0: what comes out of it is what went in."""
    recipe = disc_recipe(cycles=(Cycle(0.0, (64,)),))
    other = tiny_network(disc_recipe())
    path = tmp_path / "network.pt"
    save_network(other, path)
    started = train(
        CLASSES, recipe, tmp_path, lambda _: None, make=tiny_network, encoder=path, threads=1
    )
    theirs, ours = dict(other.encoder.named_parameters()), dict(started.encoder.named_parameters())
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


@pytest.mark.parametrize(
    "content", [b"", b"half of one", {"weights": {}}, {"weights": {"encoder.x": torch.ones(1)}}]
)
def test_an_encoder_that_cannot_be_taken_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "network.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(NetworkError, match=r"/network\.pt "):
        train(CLASSES, disc_recipe(), tmp_path, lambda _: None, make=tiny_network, encoder=path)
