"""Packs of labelled images and outlines: read once, checked row by row, kept prepared in memory."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.build.archive import Contents, open_pack
from models.build.errors import DataError, LeakError, at
from models.build.recipe import DataRecipe, Empties
from models.contract import FloatArray
from models.errors import UnusablePixels
from models.manifest import InputSpec
from models.preprocess import prepare

SPLITS = ("train", "val", "test")
NONE = -1
"""The label of an image that has none: without the structure, of whatever class."""

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


@dataclass(frozen=True)
class _Row:
    """One line of a manifest; `line` counts from 1, the header being 1."""

    pack: str
    line: int
    columns: dict[str, str]

    def fault(self, problem: str) -> DataError:
        return DataError(at(f"{self.pack}.csv", self.line, problem))

    def __getitem__(self, column: str) -> str:
        return self.columns[column]

    def fill(self, template: str) -> str:
        """The template with this row's columns in its braces."""
        try:
            return template.format_map(self.columns)
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise self.fault(f"has no column for {template!r}.") from error


def load(folder: Path, data: DataRecipe, spec: InputSpec) -> dict[str, Samples]:
    """Read the packs that `data` names from `folder`, by split: train, val, test, the external one.

    Nothing is drawn at random: the split is the manifest's column. Raises DataError, one sentence
    with the file and the line, for a missing column, an unknown label or split, a file that is
    missing, listed twice or unreadable, a class missing from a split, or a split of a segmentation
    pack without any outline; and LeakError for a group that is in two splits.
    """
    names = (*SPLITS, data.external) if data.external else SPLITS
    rows = _rows(folder, data.pack, _columns(data))
    _check_rows(rows, data, names)
    main = _Reader(folder, data, spec)
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

    def __init__(self, folder: Path, data: DataRecipe, spec: InputSpec) -> None:
        self.data, self.spec = data, spec
        self.images = open_pack(folder, data.pack)
        self.outlines = None
        if data.outlines:
            own = data.outlines == data.pack
            self.outlines = self.images if own else open_pack(folder, data.outlines)

    def samples(self, rows: Sequence[_Row]) -> Samples:
        shape = (len(rows), self.spec.rows, self.spec.columns)
        images, masked = np.zeros(shape, np.uint8), np.zeros(len(rows), np.bool_)
        known = self.outlines is not None
        masks = np.zeros(shape, np.bool_) if known else np.broadcast_to(np.False_, shape)
        for index, row in enumerate(rows):
            images[index] = _image(row, row.fill(self.data.image), self.images, self.spec)
            if self.outlines is not None and self._has_outline(row):
                masks[index] = self._outline(row, self.outlines)
                masked[index] = True
            masked[index] |= known and self._is_negative(row)
        labels = np.array([self.data.labels.index(row[self.data.label_column]) for row in rows])
        return Samples(
            images,
            labels.astype(np.int64),
            masks,
            masked,
            tuple(self._group(row) for row in rows),
            tuple(f"{row.pack}/{row.fill(self.data.image)}" for row in rows),
        )

    def _is_negative(self, row: _Row) -> bool:
        label = self.data.labels.index(row[self.data.label_column])
        return len(self.data.keys) > label and self.data.keys[label] == self.data.negative

    def _has_outline(self, row: _Row) -> bool:
        """Whether every column that the outline's name is made of is filled."""
        used = [name for _, name, _, _ in string.Formatter().parse(self.data.outline) if name]
        return all(row.columns.get(name, "?") for name in used)

    def _outline(self, row: _Row, contents: Contents) -> Masks:
        name = row.fill(self.data.outline)
        plane = _decoded(row, name, contents, "mask")
        mask = _framed_mask(plane, self.spec)
        return mask[:, ::-1] if row.columns.get("mirrored") == "1" else mask

    def _group(self, row: _Row) -> str:
        """What a bootstrap draws together: the csv's group, or about one patient's slices."""
        number = row.columns.get(self.data.number or "", "")
        if not number:
            return row[self.data.group]
        patient = int(number) // self.data.slices_of_a_patient
        return f"{row[self.data.label_column]}-{patient}"


def _framed_mask(plane: npt.NDArray[np.generic], spec: InputSpec) -> Masks:
    """The mask in the frame that `prepare` gives its image: the same resize, then a half."""
    mask = np.asarray(plane > plane.max() / 2 if plane.any() else plane, np.bool_)
    whole = InputSpec(spec.name, spec.rows, spec.columns, low_percentile=0, high_percentile=100)
    if not mask.any():
        return np.zeros((spec.rows, spec.columns), np.bool_)
    if mask.all():
        return np.ones((spec.rows, spec.columns), np.bool_)
    return np.asarray(prepare(mask.astype(np.uint8), whole)[0, 0] > 0.5)


def _image(row: _Row, name: str, contents: Contents, spec: InputSpec) -> Images:
    plane = _decoded(row, name, contents, "image")
    try:
        return np.asarray(np.rint(prepare(plane, spec)[0, 0] * 255), np.uint8)
    except UnusablePixels as error:
        raise row.fault(f"the image {name} cannot be used: {error.sentence}") from error


def _decoded(row: _Row, name: str, contents: Contents, what: str) -> npt.NDArray[np.generic]:
    content = contents.get(name)
    if content is None:
        raise row.fault(f"the {what} {name} is missing from the pack {contents.pack}.")
    try:
        with Image.open(io.BytesIO(content)) as image:
            grey = image if image.mode.startswith(("I", "F")) else image.convert("L")
            return np.asarray(grey)
    except (OSError, ValueError, SyntaxError) as error:
        raise row.fault(f"the {what} {name} cannot be read as an image.") from error


def _rows(folder: Path, pack: str, needed: Sequence[str]) -> list[_Row]:
    path = folder / f"{pack}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            given = reader.fieldnames or ()
            for column in needed:
                if column not in given:
                    raise DataError(at(path.name, 1, f"the column {column!r} is missing."))
            return [_row(pack, reader.line_num, columns) for columns in reader]
    except OSError as error:
        raise DataError(at(path.name, None, "cannot be read.")) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(at(path.name, None, "is not a table of comma-separated text.")) from error


def _row(pack: str, line: int, columns: dict[str, str]) -> _Row:
    if None in columns or None in columns.values():
        raise DataError(at(f"{pack}.csv", line, "has more or fewer columns than the header."))
    return _Row(pack, line, columns)


def _columns(data: DataRecipe) -> tuple[str, ...]:
    number = (data.number,) if data.number else ()
    return (data.label_column, "split", data.group, *number)


def _check_rows(rows: Sequence[_Row], data: DataRecipe, names: Sequence[str]) -> None:
    listed: dict[str, int] = {}
    split_of: dict[str, str] = {}
    for row in rows:
        name, label, group = row.fill(data.image), row[data.label_column], row[data.group]
        if label not in data.labels:
            raise row.fault(f"the label {label!r} is not one of {', '.join(data.labels)}.")
        if row["split"] not in names:
            raise row.fault(f"the split {row['split']!r} is not one of {', '.join(names)}.")
        if listed.setdefault(name, row.line) != row.line:
            raise row.fault(f"the image {name} is listed in line {listed[name]} already.")
        if group and split_of.setdefault(group, row["split"]) != row["split"]:
            problem = f"the group {group!r} is in the split {split_of[group]!r} already."
            raise LeakError(at(f"{row.pack}.csv", row.line, problem))
        if data.number and row[data.number] and not row[data.number].isdecimal():
            raise row.fault(f"{row[data.number]!r} in {data.number!r} is not a whole number.")


def _empties(
    folder: Path, source: Empties, spec: InputSpec, names: Sequence[str]
) -> Iterator[tuple[str, Samples]]:
    """(split, its images without the structure); splits the recipe does not name are left out."""
    rows = _rows(folder, source.pack, ("label", "split", source.group))
    rows = [row for row in rows if row["label"] == source.label]
    if not rows:
        raise DataError(at(f"{source.pack}.csv", None, f"no image is labelled {source.label!r}."))
    contents = open_pack(folder, source.pack)
    for name in names:
        chosen = [row for row in rows if row["split"] == name]
        paths = [row.fill(source.image) for row in chosen]
        images = np.zeros((len(chosen), spec.rows, spec.columns), np.uint8)
        for index, (row, path) in enumerate(zip(chosen, paths, strict=True)):
            images[index] = _image(row, path, contents, spec)
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
