"""Packs are read as their manifests say, and what is wrong with one is told by its line."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.scoring import model_input
from models.build.errors import DataError, LeakError
from models.build.packs import NONE, Samples, as_input, load
from models.build.recipe import DataRecipe, Empties
from models.build.rows import Row, groups_of
from models.contract import ImageSlice
from models.manifest import InputSpec
from models.preprocess import prepare
from tests.unit.models.build.drawn_packs import SIDE, Pack, drawn, drawn_packs, encoded

SPEC = InputSpec("image", rows=64, columns=64, low_percentile=0.5, high_percentile=99.5)
DATA = DataRecipe(
    pack="slices",
    labels=("sick", "well"),
    keys=("tumour", "no-tumour"),
    negative="no-tumour",
    outlines="masks",
    outline="{number:0>4}.png",
    external="away",
)
Spoil = Callable[[Pack, Pack], None]


def read(
    folder: Path, data: DataRecipe = DATA, spec: InputSpec = SPEC, *, unpacked: bool = False
) -> dict[str, Samples]:
    for pack in drawn_packs():
        pack.write(folder, unpacked=unpacked)
    return load(folder, data, spec)


def test_the_splits_are_those_of_the_manifest(tmp_path: Path) -> None:
    splits = read(tmp_path)
    assert {name: len(samples) for name, samples in splits.items()} == {
        "train": 6,
        "val": 6,
        "test": 6,
        "away": 3,
    }
    assert splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits["train"].files[0] == "slices/sick/001.png"


def test_an_unpacked_folder_reads_like_its_tar(tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "unpacked").mkdir()
    packed = read(tmp_path / "packed")["train"]
    unpacked = read(tmp_path / "unpacked", unpacked=True)["train"]
    assert np.array_equal(packed.images, unpacked.images)
    assert np.array_equal(packed.masks, unpacked.masks)


def test_an_outline_lies_on_its_lesion_mirrored_or_not(tmp_path: Path) -> None:
    train = read(tmp_path)["train"]
    sick = np.flatnonzero(train.labels == 0)
    for index in sick:
        assert train.images[index][train.masks[index]].mean() > 200
        assert train.masks[index].any()


def test_what_is_known_of_an_outline_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    splits = read(tmp_path)
    train = splits["train"]
    assert train.masked.all()
    assert not train.masks[train.labels == 1].any()
    assert not splits["away"].masked.any()
    assert not splits["away"].masks.any()


def test_images_without_the_structure_join_a_segmentation_pack(tmp_path: Path) -> None:
    data = dataclasses.replace(
        DATA,
        labels=("sick",),
        keys=("tumour",),
        negative=None,
        external=None,
        empties=Empties("slices", "well"),
    )
    slices, masks = drawn_packs()
    slices.write(tmp_path)
    masks.write(tmp_path)
    outlined = dataclasses.replace(slices, name="outlined")
    outlined.rows = [r for r in slices.rows if r["label"] == "sick" and r["split"] != "away"]
    outlined.write(tmp_path)
    for samples in load(tmp_path, dataclasses.replace(data, pack="outlined"), SPEC).values():
        assert samples.labels.tolist() == [0, 0, 0, NONE, NONE, NONE]
        assert samples.masked.all()
        assert samples.masks.any((1, 2)).tolist() == [True] * 3 + [False] * 3
        assert samples.files[-1].startswith("slices/well/")


def test_slices_that_follow_one_another_are_drawn_together() -> None:
    """Those of one label and one group; what has no number keeps the group of the manifest."""
    data = dataclasses.replace(DATA, number="number")
    table = ["9 sick one", "8 sick two", "10 sick one", "7 sick two", "11 well one", "- well a"]
    columns = [dict(zip(("number", "label", "group"), row.split(), strict=True)) for row in table]
    rows = [
        Row("slices", line, {**row, "number": row["number"].strip("-")})
        for line, row in enumerate(columns, start=2)
    ]
    found = groups_of(rows, data)
    assert found == {2: "run 1", 3: "run 0", 4: "run 1", 5: "run 0", 6: "run 2", 7: "a"}
    assert set(groups_of(rows, DATA).values()) == {"one", "two", "a"}


def test_the_runs_are_those_of_all_splits(tmp_path: Path) -> None:
    train = read(tmp_path, dataclasses.replace(DATA, number="number"))["train"]
    assert train.groups == ("run 0", "run 1", "run 2", "person 4", "person 5", "person 6")


def test_samples_can_be_had_by_their_files(tmp_path: Path) -> None:
    train = read(tmp_path)["train"]
    files = [train.files[3], train.files[1]]
    found = train.of_files(files)
    assert list(found.files) == files
    assert np.array_equal(found.images, train.images[[3, 1]])


def test_taking_samples_takes_everything_of_them(tmp_path: Path) -> None:
    train = read(tmp_path)["train"]
    taken = train.take([4, 0])
    assert taken.files == (train.files[4], train.files[0])
    assert taken.groups == (train.groups[4], train.groups[0])
    assert np.array_equal(taken.images, train.images[[4, 0]])
    assert np.array_equal(taken.masks, train.masks[[4, 0]])
    assert taken.labels.tolist() == [1, 0]


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 96), (80, 48)])
def test_a_mask_is_framed_like_its_image(tmp_path: Path, rows: int, columns: int) -> None:
    spec = InputSpec("image", rows, columns, low_percentile=0, high_percentile=100)
    train = read(tmp_path, spec=spec)["train"]
    bright = train.images[0] > 190
    assert (bright ^ train.masks[0]).sum() < 0.15 * train.masks[0].sum()


@pytest.mark.parametrize("shape", [(48, 48), (40, 70), (70, 40)])
@pytest.mark.parametrize("deep", [False, True])
def test_training_calibration_and_serving_make_the_same_tensor(
    tmp_path: Path, shape: tuple[int, int], deep: bool
) -> None:
    """Both see `images` through `as_input`; a hospital's slice goes through `model_input`."""
    plane = np.random.default_rng(1).integers(0, 60_000 if deep else 255, shape)
    plane = plane.astype(np.uint16 if deep else np.uint8)
    slices, masks = drawn_packs()
    slices.files["sick/001.png"] = encoded(plane)
    masks.files["0001.png"] = encoded(np.where(plane > np.median(plane), 255, 0).astype(np.uint8))
    slices.write(tmp_path)
    masks.write(tmp_path)
    trained = as_input(load(tmp_path, DATA, SPEC)["train"].images[:1])
    served, usable = model_input(ImageSlice(plane, "1.2.3"), SPEC)
    assert usable
    assert trained.dtype == served.dtype == np.float32
    assert np.array_equal(trained, served)
    assert np.array_equal(trained, prepare(plane, SPEC))


def set_column(index: int, column: str, value: str) -> Spoil:
    def spoil(slices: Pack, _: Pack) -> None:
        slices.rows[index][column] = value

    return spoil


def lose_file(slices: Pack, _: Pack) -> None:
    del slices.files["sick/002.png"]


def lose_mask(_: Pack, masks: Pack) -> None:
    del masks.files["0003.png"]


def truncate_file(slices: Pack, _: Pack) -> None:
    slices.files["sick/002.png"] = slices.files["sick/002.png"][:60]


def truncate_mask(_: Pack, masks: Pack) -> None:
    masks.files["0003.png"] = b"not an image"


def blacken_file(slices: Pack, _: Pack) -> None:
    slices.files["sick/002.png"] = encoded(np.zeros((SIDE, SIDE), np.uint8))


def reshape_mask(_: Pack, masks: Pack) -> None:
    masks.files["0003.png"] = encoded(np.full((SIDE, SIDE // 2), 255, np.uint8))


def empty_masks(_: Pack, masks: Pack) -> None:
    for name in masks.files:
        masks.files[name] = encoded(np.zeros((SIDE, SIDE), np.uint8))


def outline_negative(slices: Pack, masks: Pack) -> None:
    slices.rows[3]["number"] = "4"
    masks.files["0004.png"] = masks.files["0001.png"]


def drop_column(slices: Pack, _: Pack) -> None:
    for row in slices.rows:
        del row["split"]


def drop_class(slices: Pack, _: Pack) -> None:
    slices.rows = [r for r in slices.rows if (r["split"], r["label"]) != ("val", "well")]


def drop_external(slices: Pack, _: Pack) -> None:
    slices.rows = [row for row in slices.rows if row["split"] != "away"]


def repeat_row(slices: Pack, _: Pack) -> None:
    slices.rows.append(dict(slices.rows[0]))


def state_hashes(slices: Pack, _: Pack) -> None:
    for row in slices.rows:
        row["sha256"] = hashlib.sha256(slices.files[row["file"]]).hexdigest()


def swap_files(slices: Pack, masks: Pack) -> None:
    """Two images of one label and split, which nothing but the hash can tell."""
    state_hashes(slices, masks)
    one, other = "sick/002.png", "sick/003.png"
    slices.files |= {one: slices.files[other], other: slices.files[one]}


BAD: list[tuple[Spoil, str]] = [
    (
        set_column(1, "label", "sikc"),
        "slices.csv, line 3: the label 'sikc' is not one of sick, well.",
    ),
    (
        set_column(1, "split", "training"),
        "slices.csv, line 3: the split 'training' is not one of train, val, test, away.",
    ),
    (drop_column, "slices.csv, line 1: the column 'split' is missing."),
    (lose_file, "slices.csv, line 3: the image sick/002.png is missing from the pack slices."),
    (lose_mask, "slices.csv, line 4: the mask 0003.png is missing from the pack masks."),
    (truncate_file, "slices.csv, line 3: the image sick/002.png cannot be read as an image."),
    (truncate_mask, "slices.csv, line 4: the mask 0003.png cannot be read as an image."),
    (
        blacken_file,
        "slices.csv, line 3: the image sick/002.png cannot be used: "
        "Every pixel of the image has the same value.",
    ),
    (reshape_mask, "slices.csv, line 4: the mask 0003.png has not the shape of its image."),
    (
        outline_negative,
        "slices.csv, line 5: the image is labelled 'well', but its mask 0004.png is not empty.",
    ),
    (empty_masks, "slices.csv: no outline of the split 'train' holds anything."),
    (drop_class, "slices.csv: no image of 'well' is in the split 'val'."),
    (drop_external, "slices.csv: no image is in the split 'away'."),
    (repeat_row, "slices.csv, line 23: the image sick/001.png is listed in line 2 already."),
    (
        swap_files,
        "slices.csv, line 3: the image sick/002.png is not the file of the row's SHA-256.",
    ),
    (
        set_column(7, "group", "person 1"),
        "slices.csv, line 9: the group 'person 1' is in the split 'train' already.",
    ),
]


@pytest.mark.parametrize(("spoil", "sentence"), BAD)
def test_a_bad_pack_is_told_in_one_sentence(tmp_path: Path, spoil: Spoil, sentence: str) -> None:
    slices, masks = drawn_packs()
    spoil(slices, masks)
    slices.write(tmp_path)
    masks.write(tmp_path)
    with pytest.raises(DataError) as caught:
        load(tmp_path, DATA, SPEC)
    assert caught.value.sentence == sentence


def test_a_negative_image_may_have_an_empty_mask(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    outline_negative(slices, masks)
    masks.files["0004.png"] = encoded(np.zeros((SIDE, SIDE), np.uint8))
    slices.write(tmp_path)
    masks.write(tmp_path)
    train = load(tmp_path, DATA, SPEC)["train"]
    assert train.masked.all()
    assert not train.masks[train.labels == 1].any()


def test_a_pack_may_state_the_hash_of_each_image_or_of_some(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    state_hashes(slices, masks)
    set_column(0, "sha256", "")(slices, masks)
    set_column(1, "sha256", slices.rows[1]["sha256"].upper())(slices, masks)
    slices.write(tmp_path)
    masks.write(tmp_path)
    assert len(load(tmp_path, DATA, SPEC)["train"]) == 6


def test_a_split_that_the_recipe_leaves_unverified_may_have_other_files(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    state_hashes(slices, masks)
    set_column(-1, "sha256", "0" * 64)(slices, masks)
    slices.write(tmp_path)
    masks.write(tmp_path)
    with pytest.raises(DataError, match=r"line 22: .* not the file of the row's SHA-256"):
        load(tmp_path, DATA, SPEC)
    told = dataclasses.replace(DATA, unverified=("away",), unverified_because="they were copied")
    assert len(load(tmp_path, told, SPEC)["away"]) == 3
    assert repr(told) == repr(DATA)  # or every step would be repeated


def test_an_image_without_the_structure_must_be_the_file_of_its_hash(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    state_hashes(slices, masks)
    outlined = Pack("outlined", [row for row in slices.rows if row["label"] == "sick"])
    outlined.files = dict(slices.files)
    slices.files["well/004.png"] = slices.files["well/005.png"]
    for pack in (slices, masks, outlined):
        pack.write(tmp_path)
    data = dataclasses.replace(
        DATA, pack="outlined", labels=("sick",), keys=("tumour",), negative=None
    )
    with pytest.raises(DataError, match=r"^slices\.csv, line 5: the image well/004\.png is not"):
        load(tmp_path, dataclasses.replace(data, empties=Empties("slices", "well")), SPEC)


def test_a_group_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    set_column(7, "group", "person 1")(slices, masks)
    slices.write(tmp_path)
    masks.write(tmp_path)
    with pytest.raises(LeakError):
        load(tmp_path, DATA, SPEC)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("slices.csv", None, "slices.csv: cannot be read."),
        ("slices.csv", b"\xff\xfe\x00", "slices.csv: is not a table of comma-separated text."),
        ("slices.tar", None, "slices.tar: is missing, and so is its unpacked folder."),
        ("masks.tar", b"not a tar", "masks.tar: cannot be read as a tar."),
    ],
)
def test_a_missing_or_broken_pack_is_told(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    read(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(tmp_path, DATA, SPEC)
    assert caught.value.sentence == sentence


def test_a_row_with_too_few_columns_is_told_by_its_line(tmp_path: Path) -> None:
    read(tmp_path)
    path = tmp_path / "slices.csv"
    lines = path.read_text().splitlines()
    lines[4] = lines[4].rsplit(",", 2)[0]
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"slices\.csv, line 5: has more or fewer columns"):
        load(tmp_path, DATA, SPEC)


def test_a_path_out_of_the_pack_is_a_missing_file(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    (tmp_path / "secret.png").write_bytes(encoded(drawn(1, disc=True)[0]))
    slices.rows[0]["file"] = "../secret.png"
    slices.write(tmp_path, unpacked=True)
    masks.write(tmp_path)
    with pytest.raises(DataError, match="is missing from the pack"):
        load(tmp_path, DATA, SPEC)


def test_a_colour_image_is_read_as_grey(tmp_path: Path) -> None:
    slices, masks = drawn_packs()
    grey = Image.open(io.BytesIO(slices.files["sick/001.png"]))
    before = read(tmp_path)["train"].images[0]
    slices.files["sick/001.png"] = encoded(np.asarray(grey.convert("RGB")))
    slices.write(tmp_path)
    masks.write(tmp_path)
    assert np.array_equal(load(tmp_path, DATA, SPEC)["train"].images[0], before)
