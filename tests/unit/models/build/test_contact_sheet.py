"""A contact sheet shows each image once, and its outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from models.build.contact_sheet import captions, contact_sheet, write_contact_sheets
from models.build.packs import Samples
from models.build.recipe import Cycle, DataRecipe, NetworkRecipe, Recipe, TrainRecipe
from tests.unit.models.build.drawn_packs import drawn

RECIPE = Recipe(
    task="classification",
    seed=1,
    data=DataRecipe("drawn", labels=("sick", "well"), keys=("tumour", "no-tumour")),
    network=NetworkRecipe("none"),
    train=TrainRecipe("head-mr", (Cycle(1e-3, (32,)),)),
)


def samples(count: int) -> Samples:
    planes = [drawn(number, disc=number % 2 == 0) for number in range(count)]
    return Samples(
        np.stack([image for image, _ in planes]),
        np.arange(count) % 2,
        np.stack([mask > 0 for _, mask in planes]),
        np.ones(count, np.bool_),
        ("",) * count,
        tuple(f"drawn/{number:03d}.png" for number in range(count)),
    )


def amber(sheet: Image.Image) -> np.ndarray:
    return (np.asarray(sheet) == (255, 190, 40)).all(2)


def test_each_split_has_its_sheet(tmp_path: Path) -> None:
    splits = {"train": samples(21), "val": samples(3)}
    paths = write_contact_sheets(splits, RECIPE, tmp_path)
    assert [path.name for path in paths] == ["contact-train.png", "contact-val.png"]
    with Image.open(paths[0]) as sheet:
        assert sheet.size == (20 * 112, 2 * 124)


def test_outlines_are_drawn_on_the_images_that_have_one() -> None:
    some = samples(2)
    drawn_on = amber(contact_sheet(some, captions(some, RECIPE)))
    assert drawn_on[:112, :112].any()
    assert not drawn_on[:112, 112:224].any()


def test_a_caption_has_the_file_and_the_label() -> None:
    assert captions(samples(2), RECIPE) == ("000 sick", "001 well")


def test_a_large_split_is_shown_in_part() -> None:
    many = samples(401)
    assert contact_sheet(many, captions(many, RECIPE)).size == (20 * 112, 20 * 124)
