"""The splits are the manifest's, and the outlines lie on their tumours."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.build.data import KEYS, LABELS, NEGATIVE, as_input, load_splits
from tests.unit.models.build.slices import SPLITS, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_the_splits_are_those_of_the_manifest(folder: Path) -> None:
    sizes = {name: len(split) for name, split in load_splits(folder).items()}
    expected = {name: 4 * count for name, count in SPLITS.items()} | {"ext_dev": 9}
    assert sizes == expected


def test_an_unpacked_folder_reads_like_its_tar(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path, filter="data")
    packed, unpacked = load_splits(folder)["train"], load_splits(tmp_path)["train"]
    assert np.array_equal(packed.images, unpacked.images)
    assert np.array_equal(packed.masks, unpacked.masks)


def test_an_outline_lies_on_its_tumour_mirrored_or_not(folder: Path) -> None:
    train = load_splits(folder)["train"]
    tumours = np.flatnonzero(train.labels != NEGATIVE)
    assert len(tumours) == 18
    for index in tumours:
        inside = train.images[index][train.masks[index]]
        assert inside.mean() > train.images[index][~train.masks[index]].mean() + 80


def test_slices_without_outline_have_an_empty_one(folder: Path) -> None:
    splits = load_splits(folder)
    assert not splits["ext_dev"].masks.any()
    assert not splits["train"].masks[splits["train"].labels == NEGATIVE].any()


def test_neighbouring_slices_of_the_published_set_are_drawn_together(folder: Path) -> None:
    """Resampling single slices of one patient would make every interval too narrow."""
    train = load_splits(folder)["train"]
    tumours = [g for g, label in zip(train.groups, train.labels, strict=True) if label == 0]
    assert len(set(tumours)) < len(tumours)


def test_images_become_the_graphs_input_without_loss() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    tensor = as_input(images)
    assert tensor.shape == (1, 1, 16, 16)
    assert tensor.dtype == np.float32
    assert np.array_equal(np.rint(tensor[0, 0] * 255).astype(np.uint8), images[0])


def test_each_label_has_a_key_in_the_package() -> None:
    assert len(LABELS) == len(KEYS)
    assert KEYS[NEGATIVE] == "no-tumour"
