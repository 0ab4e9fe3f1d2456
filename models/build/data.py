"""The labelled slices and their splits, read once and kept in memory as prepared uint8 images."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.manifest import InputSpec
from models.preprocess import prepare

LABELS = ("glioma", "meningioma", "pituitary", "notumor")
KEYS = ("glioma", "meningioma", "pituitary", "no-tumour")  # the same, as the package names them
NEGATIVE = LABELS.index("notumor")
_SLICES_OF_A_PATIENT = 13
SPLITS = ("train", "val", "test", "ext_dev")
SPEC = InputSpec("image", rows=224, columns=224, low_percentile=0.5, high_percentile=99.5)

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """The slices of one split, in manifest order.

    `images` is uint8 (N, 224, 224) after `models.preprocess.prepare`; `labels` int64 (N,) indexes
    LABELS; `groups` names what is not independent; `masks` is bool (N, 224, 224), all False
    where no outline is known.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    masks: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


def load_splits(folder: Path) -> dict[str, Split]:
    """Read `brain_cls` (and, where present, the outlines of `brain_seg`) from `folder`.

    Each pack is NAME.csv beside NAME.tar or an unpacked folder NAME. The split is the manifest's
    column: slices of one patient are never divided, and nothing is drawn at random.
    """
    rows = _rows(folder / "brain_cls.csv")
    files = dict(_contents(folder, "brain_cls"))
    outlines = _outlines(folder) if (folder / "brain_seg.csv").exists() else {}
    return {
        name: _split([row for row in rows if row["split"] == name], files, outlines)
        for name in SPLITS
    }


def as_input(images: Images) -> npt.NDArray[np.float32]:
    """Prepared uint8 images (N, rows, columns) as the graph's input: float32 (N, 1, ...)."""
    return np.multiply(images[:, np.newaxis], np.float32(1 / 255), dtype=np.float32)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _contents(folder: Path, pack: str) -> Iterator[tuple[str, bytes]]:
    """(path inside the pack, bytes) of every file of a pack, unpacked or not."""
    unpacked = folder / pack
    if unpacked.is_dir():
        for path in sorted(unpacked.rglob("*.*")):
            yield path.relative_to(unpacked).as_posix(), path.read_bytes()
        return
    with tarfile.open(folder / f"{pack}.tar") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                yield member.name.removeprefix("./").removeprefix(f"{pack}/"), stream.read()


def _outlines(folder: Path) -> dict[str, bytes]:
    """PNG bytes of each tumour mask, by the slice's number in the published set."""
    return {
        str(int(Path(name).stem)): content
        for name, content in _contents(folder, "brain_seg")
        if name.startswith("masks/")
    }


def _split(
    rows: list[dict[str, str]], files: dict[str, bytes], outlines: dict[str, bytes]
) -> Split:
    masks = np.zeros((len(rows), SPEC.rows, SPEC.columns), np.bool_)
    images = np.zeros(masks.shape, np.uint8)
    for index, row in enumerate(rows):
        images[index] = _image(files[row["file"]])
        if row["cheng_index"] in outlines:
            masks[index] = _mask(outlines[row["cheng_index"]], mirrored=row["mirrored"] == "1")
    labels = np.array([LABELS.index(row["label"]) for row in rows], np.int64)
    return Split(images, labels, tuple(_group(row) for row in rows), masks)


def _group(row: dict[str, str]) -> str:
    """What is drawn together in a bootstrap: near-copies, or about one patient's slices.

    The published set numbers its slices patient after patient, 13 on average, and the manifest
    does not name patients.
    """
    if not row["cheng_index"]:
        return row["group"]
    return f"{row['label']}-{int(row['cheng_index']) // _SLICES_OF_A_PATIENT}"


def _image(content: bytes) -> Images:
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    return np.asarray(np.rint(prepare(grey, SPEC)[0, 0] * 255), np.uint8)


def _mask(content: bytes, *, mirrored: bool) -> npt.NDArray[np.bool_]:
    mask = Image.open(io.BytesIO(content)).convert("L")
    plane = np.asarray(mask.resize((SPEC.columns, SPEC.rows), Image.Resampling.BILINEAR)) > 127
    return plane[:, ::-1] if mirrored else plane
