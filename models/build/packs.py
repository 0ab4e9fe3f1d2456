"""Packs of labelled images and outlines: read once, checked row by row, kept prepared in memory."""

from __future__ import annotations

import io
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.build.archive import Contents, open_pack
from models.build.errors import DataError, at
from models.build.recipe import DataRecipe, Empties
from models.build.rows import Row, check_rows, columns_of, groups_of, read_rows
from models.contract import FloatArray
from models.errors import UnusablePixels
from models.manifest import InputSpec
from models.preprocess import prepare

SPLITS = ("train", "val", "test")
NONE = -1
"""The label of an image that has none: without the structure, of whatever class."""

_SAME_SHAPE = 0.02  # of an aspect: what rounding may change
Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """The images of one split, in manifest order; those of another pack follow.

    `images` is uint8 (N, R, C) as `models.preprocess.prepare` makes them; `labels` int64 (N,)
    index the recipe's labels, or are NONE. `masks` is bool (N, R, C) in the same frame; where
    `masked`, bool (N,), is False nothing is known of the outline and the mask is empty; where it
    is True, an empty mask says that there is nothing. `groups` names what is not independent,
    `files` is "pack/path" of each image.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    masks: Masks
    masked: npt.NDArray[np.bool_]
    groups: tuple[str, ...]
    files: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Samples:
        """The samples at these places, in this order."""
        chosen = np.asarray(indices, np.int64)
        return Samples(
            self.images[chosen],
            self.labels[chosen],
            self.masks[chosen] if self.masked.any() else self.masks[: len(chosen)],
            self.masked[chosen],
            tuple(self.groups[index] for index in chosen),
            tuple(self.files[index] for index in chosen),
        )

    def of_files(self, files: Sequence[str]) -> Samples:
        """The samples of these files, in their order."""
        places = {file: place for place, file in enumerate(self.files)}
        return self.take([places[file] for file in files])


def load(folder: Path, data: DataRecipe, spec: InputSpec) -> dict[str, Samples]:
    """Read the packs that `data` names from `folder`, by split: train, val, test, the external one.

    Nothing is drawn at random: the split is the manifest's column. Raises DataError, one sentence
    with the file and the line, for a missing column, an unknown label or split, a file that is
    missing, listed twice, unreadable or not that of the column `sha256`, an outline of a negative
    image that is not empty, a class missing from a split, or a split of a segmentation pack without
    any outline; and LeakError for a group that is in two splits.
    """
    names = (*SPLITS, data.external) if data.external else SPLITS
    rows = read_rows(folder, data.pack, columns_of(data))
    check_rows(rows, data, names)
    main = _Reader(folder, data, spec, groups_of(rows, data))
    parts: dict[str, list[Samples]] = {
        name: [main.samples([row for row in rows if row["split"] == name])] for name in names
    }
    if data.empties is not None:
        for name, samples in _empties(folder, data.empties, spec, names):
            parts[name].append(samples)
    splits = {name: _joined(some) for name, some in parts.items()}
    _check_splits(splits, data)
    return splits


def as_input(images: Images) -> FloatArray:
    """Prepared uint8 images (N, rows, columns) as the graph's input: float32 (N, 1, ...), 0..1."""
    return np.multiply(images[:, np.newaxis], np.float32(1 / 255), dtype=np.float32)


class _Reader:
    """Makes samples of the rows of one pack."""

    def __init__(
        self, folder: Path, data: DataRecipe, spec: InputSpec, groups: Mapping[int, str]
    ) -> None:
        self.data, self.spec, self.groups = data, spec, groups
        self.images = open_pack(folder, data.pack)
        self.outlines = None
        if data.outlines:
            own = data.outlines == data.pack
            self.outlines = self.images if own else open_pack(folder, data.outlines)

    def samples(self, rows: Sequence[Row]) -> Samples:
        shape = (len(rows), self.spec.rows, self.spec.columns)
        images, masked = np.zeros(shape, np.uint8), np.zeros(len(rows), np.bool_)
        known = self.outlines is not None
        masks = np.zeros(shape, np.bool_) if known else np.broadcast_to(np.False_, shape)
        for index, row in enumerate(rows):
            name = row.fill(self.data.image)
            verify = row["split"] not in self.data.unverified
            plane = _image(row, name, self.images, verify=verify)
            images[index] = _prepared(row, name, plane, self.spec)
            if self.outlines is not None and self._has_outline(row):
                masks[index] = self._outline(row, self.outlines, plane.shape)
                masked[index] = True
            masked[index] |= known and self._is_negative(row)
        labels = np.array([self.data.labels.index(row[self.data.label_column]) for row in rows])
        return Samples(
            images,
            labels.astype(np.int64),
            masks,
            masked,
            tuple(self.groups[row.line] for row in rows),
            tuple(f"{row.pack}/{row.fill(self.data.image)}" for row in rows),
        )

    def _is_negative(self, row: Row) -> bool:
        label = self.data.labels.index(row[self.data.label_column])
        return len(self.data.keys) > label and self.data.keys[label] == self.data.negative

    def _has_outline(self, row: Row) -> bool:
        """Whether every column that the outline's name is made of is filled."""
        used = [name for _, name, _, _ in string.Formatter().parse(self.data.outline) if name]
        return all(row.columns.get(name, "?") for name in used)

    def _outline(self, row: Row, contents: Contents, shape: tuple[int, ...]) -> Masks:
        name = row.fill(self.data.outline)
        plane = _mask(row, name, contents)
        if abs(shape[0] * plane.shape[1] / (shape[1] * plane.shape[0]) - 1) > _SAME_SHAPE:
            raise row.fault(f"the mask {name} has not the shape of its image.")
        if self._is_negative(row) and plane.any():
            label = row[self.data.label_column]
            raise row.fault(f"the image is labelled {label!r}, but its mask {name} is not empty.")
        mask = _framed_mask(plane, self.spec)
        return mask[:, ::-1] if row.columns.get("mirrored") == "1" else mask


def _framed_mask(plane: npt.NDArray[np.generic], spec: InputSpec) -> Masks:
    """The mask in the frame that `prepare` gives its image: the same resize, then a half."""
    mask = np.asarray(plane > plane.max() / 2, np.uint8)
    if not mask.any():
        return np.zeros((spec.rows, spec.columns), np.bool_)
    if mask.all():
        mask[0, 0] = 0  # or it would be as even as a mask without anything
    whole = InputSpec(spec.name, spec.rows, spec.columns, low_percentile=0, high_percentile=100)
    return np.asarray(prepare(mask, whole)[0, 0] > 0.5)


def _prepared(row: Row, name: str, plane: npt.NDArray[np.generic], spec: InputSpec) -> Images:
    try:
        return np.asarray(np.rint(prepare(plane, spec)[0, 0] * 255), np.uint8)
    except UnusablePixels as error:
        raise row.fault(f"the image {name} cannot be used: {error.sentence}") from error


def _image(
    row: Row, name: str, contents: Contents, *, verify: bool = True
) -> npt.NDArray[np.generic]:
    content = _content(row, name, contents, "image")
    if verify:
        row.check(name, content)
    return _decoded(row, name, content, "image")


def _mask(row: Row, name: str, contents: Contents) -> npt.NDArray[np.generic]:
    """No column states what a mask's file is."""
    return _decoded(row, name, _content(row, name, contents, "mask"), "mask")


def _content(row: Row, name: str, contents: Contents, what: str) -> bytes:
    content = contents.get(name)
    if content is None:
        raise row.fault(f"the {what} {name} is missing from the pack {contents.pack}.")
    return content


def _decoded(row: Row, name: str, content: bytes, what: str) -> npt.NDArray[np.generic]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            grey = image if image.mode.startswith(("I", "F")) else image.convert("L")
            return np.asarray(grey)
    except (OSError, ValueError, SyntaxError) as error:
        raise row.fault(f"the {what} {name} cannot be read as an image.") from error


def _empties(
    folder: Path, source: Empties, spec: InputSpec, names: Sequence[str]
) -> Iterator[tuple[str, Samples]]:
    """(split, its images without the structure); splits the recipe does not name are left out."""
    rows = read_rows(folder, source.pack, ("label", "split", source.group))
    rows = [row for row in rows if row["label"] == source.label]
    if not rows:
        raise DataError(at(f"{source.pack}.csv", None, f"no image is labelled {source.label!r}."))
    contents = open_pack(folder, source.pack)
    for name in names:
        chosen = [row for row in rows if row["split"] == name]
        paths = [row.fill(source.image) for row in chosen]
        images = np.zeros((len(chosen), spec.rows, spec.columns), np.uint8)
        for index, (row, path) in enumerate(zip(chosen, paths, strict=True)):
            images[index] = _prepared(row, path, _image(row, path, contents), spec)
        yield (
            name,
            Samples(
                images,
                np.full(len(chosen), NONE, np.int64),
                np.zeros(images.shape, np.bool_),
                np.ones(len(chosen), np.bool_),
                tuple(row[source.group] for row in chosen),
                tuple(f"{source.pack}/{path}" for path in paths),
            ),
        )


def _joined(parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    return Samples(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.masked for part in parts]),
        tuple(group for part in parts for group in part.groups),
        tuple(file for part in parts for file in part.files),
    )


def _check_splits(splits: dict[str, Samples], data: DataRecipe) -> None:
    file = f"{data.pack}.csv"
    for name, samples in splits.items():
        if len(samples) == 0:
            raise DataError(at(file, None, f"no image is in the split {name!r}."))
        if name == data.external:
            continue
        for index, label in enumerate(data.labels):
            if not (samples.labels == index).any():
                problem = f"no image of {label!r} is in the split {name!r}."
                raise DataError(at(file, None, problem))
        if data.outlines and not samples.masks.any():
            raise DataError(at(file, None, f"no outline of the split {name!r} holds anything."))
