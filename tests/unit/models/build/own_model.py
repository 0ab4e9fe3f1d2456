"""A model of somebody's own: drawn images (nobody's patient), a recipe and a template."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from models.attributes import Chai, KeyMetric, SourceAttributes

SPLITS = {"train": 12, "val": 8, "test": 10, "elsewhere": 4}
_COLUMNS = ("file", "label", "split", "person")

_RECIPE = """\
task = "{task}"
seed = 1

[data]
pack = "discs"
labels = {labels}
keys = {keys}
{data}
outlines = "discs"
image = "images/{{file}}"
outline = "masks/{{file}}"
group = "person"

[network]
name = "{network}"
pretrained = false
dropout = 0.0

[train]
augmentation = "head-mr"
batch = 6
class_shares = []

[[train.cycles]]
learning_rate = 1e-3
sizes = [64]

[compress]
calibration_images = 8
methods = ["minmax"]

[calibrate]
bootstrap = 50
neighbours = 3
pca = 8
"""

_CLASSIFIER = """\
[[labels]]
key = "disc"
display = "Disc"
role = "finding"
threshold = $threshold_disc

[[labels]]
key = "no-disc"
display = "No disc"
role = "negative"
threshold = $threshold_no_disc

[aggregation]
rule = "neighbouring-slice mean"
window = 1
negative_min_in_distribution_fraction = 0.8

[prediction_set]
method = "$prediction_set_method"
coverage = $prediction_set_coverage
threshold = $prediction_set_threshold
coverage_test = $prediction_set_coverage_test
"""

_OUTLINER = """\
[[labels]]
key = "disc"
display = "Disc"
role = "structure"
threshold = $threshold
coding = { system = "urn:example", code = "disc", display = "Disc" }

[outline]
min_area_fraction = $min_area_fraction
measure = "area"
parts = 1
"""

_TEMPLATE = """\
schema = 2
id = "{id}"
version = "0.0.1"
title = "Discs"
task = "{task}"
stage = "research"
licence = "Apache-2.0"
developer = "Nobody"
intended_use = "A test: {figure} of $test_images images."
not_for = ["Anything."]
limits = ["Drawn images."]

[[data]]
name = "discs"
use = "everything"
terms = "none"
citation = "drawn"

[files]
$files

[applies_to]
modalities = ["MR"]
body_parts = ["HEAD"]
excluded_words = []
min_rows = 16
min_columns = 16
samples_per_pixel = 1

[input]
name = "image"
rows = 64
columns = 64
low_percentile = 0.5
high_percentile = 99.5

[outputs]
$outputs

{labels}
[calibration]
method = "temperature scaling"
temperature = $temperature
ece_test = $ece

[out_of_distribution]
method = "$ood_method"
threshold = $ood_threshold
chosen = "$ood_chosen"

[explanation]
method = "$explanation_method"
layer = "$layer"

[precision]
$precision

[attributes]
{attributes}

[chai]
{chai}
"""


def write_model(
    folder: Path, *, task: str = "classification", network: str = "efficientnet-lite0"
) -> Path:
    """`folder`/model (recipe and template) and `folder`/data (the pack); gives the former."""
    model, data = folder / "model", folder / "data"
    model.mkdir(parents=True)
    is_classes = task == "classification"
    recipe = _RECIPE.format(
        task=task,
        network=network,
        labels='["disc", "none"]' if is_classes else '["disc", "late"]',  # strata
        keys='["disc", "no-disc"]' if is_classes else '["disc"]',
        data='negative = "no-disc"\nexternal = "elsewhere"' if is_classes else "",
    )
    template = _TEMPLATE.format(
        id="discs" if is_classes else "discs-outline",
        task=task,
        figure="$accuracy" if is_classes else "$dice",
        labels=_CLASSIFIER if is_classes else _OUTLINER,
        attributes="\n".join(f'{f.name} = "unknown"' for f in dataclasses.fields(SourceAttributes)),
        chai=_chai(),
    )
    (model / "recipe.toml").write_text(recipe, encoding="utf-8")
    (model / "template.toml").write_text(template, encoding="utf-8")
    _write_pack(data, with_none=is_classes)
    return model


def _chai() -> str:
    names = [field.name for field in dataclasses.fields(Chai)]
    lines = [f'{name} = "unknown"' for name in names if name not in ("keywords", "key_metrics")]
    lines.append('keywords = ["disc"]')
    rest = [field.name for field in dataclasses.fields(KeyMetric) if field.name != "kind"]
    for kind in ("usefulness", "fairness", "safety"):
        lines += ["", "[[chai.key_metrics]]", f'kind = "{kind}"']
        lines += [f'{name} = "unknown"' for name in rest]
    return "\n".join(lines)


def _write_pack(folder: Path, *, with_none: bool) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "discs" / name).mkdir(parents=True)
    rows = []
    for split, count in SPLITS.items():
        if split == "elsewhere" and not with_none:
            continue
        kinds = ("disc", "none" if with_none else "late")[: 1 if split == "elsewhere" else 2]
        for kind in kinds:
            for number in range(count):
                name = f"{split}-{kind}-{number}.png"
                image, mask = _drawn(rng, disc=kind != "none")
                (folder / "discs" / "images" / name).write_bytes(_png(image))
                (folder / "discs" / "masks" / name).write_bytes(_png(mask))
                rows.append((name, kind, split, f"{split}-{kind}-{number // 2}"))
    with (folder / "discs.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([_COLUMNS, *rows])


def _drawn(rng: np.random.Generator, *, disc: bool) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    image = np.where(x**2 + y**2 < 0.8, 100.0, 0.0) + rng.normal(0, 10, x.shape)
    centre = rng.uniform(-0.4, 0.4, 2)
    mask = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.05) & disc
    image[mask] = 230
    return np.clip(image, 0, 255).astype(np.uint8), (mask * 255).astype(np.uint8)


def _png(plane: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, "PNG")
    return stream.getvalue()
