"""Near-copies are found whatever was done to them, and unlike pictures are not."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from models.build.duplicates import edge_prints, find_copies, part
from models.build.errors import LeakError
from models.build.packs import Samples
from models.build.recipe import DataRecipe

DATA = DataRecipe("drawn", labels=("a",), keys=("a",), external="away")
Change = Callable[[Image.Image], Image.Image]


def picture(number: int) -> np.ndarray:
    """A body of its own shape and texture."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    wide, high, across, down = rng.uniform((0.5, 0.6, -0.1, -0.1), (0.8, 0.9, 0.1, 0.1))
    coarse = Image.fromarray(rng.uniform(40, 220, (17, 17)).astype(np.float32))
    texture = np.asarray(coarse.resize((128, 128), Image.Resampling.BICUBIC))
    inside = ((x - across) / wide) ** 2 + ((y - down) / high) ** 2 < 1
    return np.clip(np.where(inside, texture, 0), 0, 255).astype(np.uint8)


def samples(name: str, planes: list[np.ndarray]) -> Samples:
    count = len(planes)
    return Samples(
        np.stack(planes),
        np.zeros(count, np.int64),
        np.zeros((count, 128, 128), np.bool_),
        np.zeros(count, np.bool_),
        ("",) * count,
        tuple(f"{name}/{index}" for index in range(count)),
    )


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    return Image.open(stream).convert("L")


CHANGES: list[Change] = [
    lambda image: image,
    ImageOps.mirror,
    recompressed,
    lambda image: image.point(lambda level: int(255 * (level / 255) ** 0.6)),
    lambda image: image.point(lambda level: level // 2 + 20),
    lambda image: image.filter(ImageFilter.UnsharpMask(2, 100, 0)),
    lambda image: image.resize((90, 90)).resize((128, 128)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_whatever_was_done_to_it(change: Change) -> None:
    copy = np.asarray(change(Image.fromarray(picture(1))))
    splits = {
        "train": samples("train", [picture(0), picture(1), picture(2)]),
        "test": samples("test", [picture(9), copy]),
    }
    (pair,) = find_copies(splits)
    assert pair.files == ("train/1", "test/1")
    assert pair.mirrored is (change is ImageOps.mirror)


def test_pictures_that_only_look_alike_are_no_copies() -> None:
    splits = {
        "train": samples("train", [picture(number) for number in range(40)]),
        "test": samples("test", [picture(number) for number in range(40, 80)]),
    }
    assert find_copies(splits) == ()


def test_an_even_picture_is_a_copy_of_nothing() -> None:
    even = np.full((2, 128, 128), 90, np.uint8)
    assert not edge_prints(even).any()


def leaky() -> dict[str, Samples]:
    """Pictures 1 and 2 of `train` are in `test` too, 3 in `away`, and test's 7 is in `val`."""
    return {
        "train": samples("train", [picture(number) for number in (0, 1, 2, 3)]),
        "val": samples("val", [picture(number) for number in (5, 7)]),
        "test": samples("test", [picture(number)[:, ::-1] for number in (2, 1, 7, 8)]),
        "away": samples("away", [picture(number) for number in (3, 10)]),
    }


def test_a_copy_in_training_and_test_stops_the_build() -> None:
    with pytest.raises(LeakError) as caught:
        part(leaky(), DATA)
    assert caught.value.sentence.startswith(
        "drawn.csv: the splits train and test share 2 near-copies, 0 tolerated; the nearest are "
    )


def test_copies_may_be_tolerated_by_their_number() -> None:
    parted = part(leaky(), dataclasses.replace(DATA, tolerated_copies=2, tolerated_because="few"))
    assert {len(s) for s in parted.splits.values()} == {4, 2}
    assert len(parted.pairs) == 4
    with pytest.raises(LeakError):
        part(leaky(), dataclasses.replace(DATA, tolerated_copies=1, tolerated_because="few"))


def test_copies_are_left_out_and_the_test_stays_whole() -> None:
    parted = part(leaky(), dataclasses.replace(DATA, copies="leave out"))
    kept = {name: samples.files for name, samples in parted.splits.items()}
    assert kept["train"] == ("train/0", "train/3")
    assert kept["val"] == ("val/0",)
    assert len(kept["test"]) == 4
    assert kept["away"] == ("away/1",)
    assert parted.left_out == {"train": 2, "val": 1, "test": 0, "away": 1}
    assert find_copies(parted.splits) == ()
