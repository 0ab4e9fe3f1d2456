"""One picture of a split, for a person to look at: every image with its label and outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.build.packs import Samples
from models.build.recipe import Recipe

_TILE, _CAPTION, _ACROSS, _MOST = 112, 12, 20, 400
_OUTLINE = (255, 190, 40)
_TEXT = (235, 235, 235)


def write_contact_sheets(
    splits: Mapping[str, Samples], recipe: Recipe, folder: Path
) -> tuple[Path, ...]:
    """Write contact-SPLIT.png into `folder` for each split; give their paths.

    At most 400 images of a split are shown, evenly from all of it. They show patients' images:
    for a look on the machine of the build, never for the package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, samples in splits.items():
        path = folder / f"contact-{name}.png"
        contact_sheet(samples, captions(samples, recipe)).save(path)
        paths.append(path)
    return tuple(paths)


def captions(samples: Samples, recipe: Recipe) -> tuple[str, ...]:
    """What stands under each image: its file's stem and its label."""
    names = (*recipe.data.labels, "without")  # a label of -1 is the last
    return tuple(
        f"{Path(file).stem} {names[label]}"
        for label, file in zip(samples.labels, samples.files, strict=True)
    )


def contact_sheet(samples: Samples, captions: Sequence[str]) -> Image.Image:
    """The images in rows of twenty, RGB; outlines that are known are drawn in amber."""
    count = min(len(samples), _MOST)
    shown = np.linspace(0, len(samples) - 1, count).astype(np.int64)
    rows = -(-count // _ACROSS)
    sheet = Image.new("RGB", (_ACROSS * _TILE, rows * (_TILE + _CAPTION)))
    draw = ImageDraw.Draw(sheet)
    for place, index in enumerate(shown):
        left, top = place % _ACROSS * _TILE, place // _ACROSS * (_TILE + _CAPTION)
        sheet.paste(_tile(samples, int(index)), (left, top))
        draw.text((left + 1, top + _TILE), captions[index][:18], fill=_TEXT)
    return sheet


def _tile(samples: Samples, index: int) -> Image.Image:
    side = (_TILE, _TILE)
    tile = Image.fromarray(samples.images[index]).resize(side, Image.Resampling.BILINEAR)
    mask = Image.fromarray(samples.masks[index].astype(np.uint8) * 255).resize(side)
    edge = np.asarray(mask.filter(ImageFilter.MaxFilter(3))) > np.asarray(mask)
    coloured = np.asarray(tile.convert("RGB")).copy()
    coloured[edge] = _OUTLINE
    return Image.fromarray(coloured)
