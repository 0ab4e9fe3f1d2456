"""A data set of drawn slices in the published layout, for builds that need no patient."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = {"train": 6, "val": 4, "test": 4, "ext_dev": 3}
LABELS = ("glioma", "meningioma", "pituitary", "notumor")
_COLUMNS = [
    *("file", "label", "split", "group", "fold"),
    *("cheng_index", "mirrored", "origin", "sha256"),
]


def write_data(folder: Path) -> Path:
    """`brain_cls` and `brain_seg`, each a csv beside a tar; tumours are bright discs."""
    rng = np.random.default_rng(0)
    rows, images, masks = [], {}, {}
    for split, count in SPLITS.items():
        for label in LABELS if split != "ext_dev" else LABELS[:3]:
            for _ in range(count):
                number = len(rows) + 1
                tumour = label != "notumor"
                image, mask = _slice(rng, tumour=tumour)
                mirrored = tumour and number % 2 == 0
                name = f"{label}/s_{number:04d}.jpg"
                images[name] = _encoded(image[:, ::-1] if mirrored else image, "JPEG")
                known = tumour and split != "ext_dev"
                if known:
                    masks[f"masks/{number:04d}.png"] = _encoded(mask, "PNG")
                rows.append(
                    dict(
                        zip(
                            _COLUMNS,
                            (
                                name,
                                label,
                                split,
                                f"g{number}",
                                1,
                                number if known else "",
                                int(mirrored),
                                "drawn",
                                "",
                            ),
                            strict=True,
                        )
                    )
                )
    _write_pack(folder / "brain_cls", images)
    _write_pack(folder / "brain_seg", masks)
    with (folder / "brain_cls.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "brain_seg.csv").write_text("index,label,fold,split,area_pct\n")
    return folder


def _slice(rng: np.random.Generator, *, tumour: bool) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    image = np.where(x**2 + y**2 < 0.7, 110.0, 0.0) + rng.normal(0, 8, x.shape)
    disc = (x - 0.4) ** 2 + (y - rng.uniform(-0.3, 0.3)) ** 2 < 0.02
    if tumour:
        image[disc] = 230
    mask = np.asarray(Image.fromarray(disc).resize((256, 256)))
    return np.clip(image, 0, 255).astype(np.uint8), mask & tumour


def _encoded(plane: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, kind)
    return stream.getvalue()


def _write_pack(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{path.name}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
