"""Small packs of drawn images on disk, in the published layout, for tests of what reads them."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 48
Plane = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


@dataclass
class Pack:
    """What will be NAME.csv and NAME.tar; to be spoilt before it is written."""

    name: str
    rows: list[dict[str, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path, *, unpacked: bool = False) -> None:
        """The manifest, and the files in a tar or in a folder."""
        with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        if unpacked:
            for path, content in self.files.items():
                target = folder / self.name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            return
        with tarfile.open(folder / f"{self.name}.tar", "w") as archive:
            for path, content in self.files.items():
                member = tarfile.TarInfo(f"{self.name}/{path}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def encoded(plane: np.ndarray, kind: str = "PNG") -> bytes:
    """The plane as the bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, kind)
    return stream.getvalue()


def drawn(number: int, *, disc: bool, side: int = SIDE) -> tuple[Plane, Plane]:
    """A textured body, with a bright disc left of the middle or without, and the disc's mask."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    coarse = Image.fromarray(rng.uniform(40, 140, (7, 7)).astype(np.float32))
    texture = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    image = np.where(x**2 + y**2 < 0.9, texture, 0)
    mask = ((x + 0.4) ** 2 + (y - rng.uniform(-0.3, 0.3)) ** 2 < 0.05) & disc
    image = np.where(mask, 235, image)
    return np.clip(image, 0, 255).astype(np.uint8), mask.astype(np.uint8) * 255


def drawn_packs(each: int = 3) -> tuple[Pack, Pack]:
    """`slices`, with the labels sick and well in train, val, test (and sick in away), and `masks`.

    Every second sick slice shows its outline's mirror image; slices of `away` have no outline.
    """
    slices, masks = Pack("slices"), Pack("masks")
    for split in ("train", "val", "test", "away"):
        for label in ("sick", "well") if split != "away" else ("sick",):
            for _ in range(each):
                number = len(slices.rows) + 1
                image, mask = drawn(number, disc=label == "sick")
                mirrored = label == "sick" and number % 2 == 0
                outlined = label == "sick" and split != "away"
                name = f"{label}/{number:03d}.png"
                slices.files[name] = encoded(image[:, ::-1] if mirrored else image)
                if outlined:
                    masks.files[f"{number:04d}.png"] = encoded(mask)
                slices.rows.append(
                    {
                        "file": name,
                        "label": label,
                        "split": split,
                        "group": f"person {number}",
                        "number": str(number) if outlined else "",
                        "mirrored": str(int(mirrored)),
                    }
                )
    masks.rows.append({"file": ""})
    return slices, masks
