"""Manifests and series to change one thing in."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.contract import SeriesFacts

GRAPH = b"not a graph, but a file with a hash"

MANIFEST = """
schema = 1
id = "spots"
version = "1.0.0"
title = "Spots"
task = "classification"
stage = "research"
licence = "Apache-2.0"
developer = "Somebody"
intended_use = "Tests"
not_for = ["people"]
limits = ["it knows spots only"]

[[data]]
name = "drawn"
use = "training"
terms = "free"
citation = "none"

[files]
"fp32.onnx" = "HASH"

[applies_to]
modalities = ["MR"]
body_parts = ["BRAIN", "HEAD"]
excluded_words = ["scout", "field map", "adc"]
min_rows = 64
min_columns = 64
samples_per_pixel = 1

[input]
name = "image"
rows = 224
columns = 224
low_percentile = 0.5
high_percentile = 99.5

[outputs]
logits = "logits"
feature_map = "feature_map"
class_weights = "class_weights"
ood_score = "ood_score"

[[labels]]
key = "spot"
display = "Spot"
role = "finding"
threshold = 0.6
coding = { system = "http://example.org/codes", code = "1", display = "Spot" }

[[labels]]
key = "no-spot"
display = "No spot"
role = "negative"
threshold = 0.9

[calibration]
method = "temperature scaling"
temperature = 1
ece_test = 0.02

[out_of_distribution]
method = "energy"
threshold = -1.5
chosen = "by hand"

[aggregation]
rule = "neighbouring-slice mean"
window = 3
negative_min_in_distribution_fraction = 0.8

[explanation]
method = "cam"
layer = "last"
""".replace("HASH", hashlib.sha256(GRAPH).hexdigest())

HEAD_MR = SeriesFacts(
    series_uid="1.2.3",
    modality="MR",
    description="AX T1 POST",
    body_part="HEAD",
    image_type=("ORIGINAL", "PRIMARY", "M", "ND"),
    rows=512,
    columns=512,
    samples_per_pixel=1,
    instances=24,
)


def write_package(folder: Path, manifest: str = MANIFEST, graph: bytes = GRAPH) -> Path:
    """A package folder with one file."""
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(manifest, encoding="utf-8")
    (folder / "fp32.onnx").write_bytes(graph)
    return folder
