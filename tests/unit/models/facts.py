"""Manifests and series to change one thing in."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.contract import SeriesFacts

GRAPH = b"\x08\x09\x3a\x03\x12\x01g"  # an ONNX file: version 9, and an empty graph named "g"

MANIFEST = """
schema = 2
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

[precision]
preferred = "fp32"
reason = "There is no other graph."
disagreement_limit = 0.05

[attributes]
developer_and_contact = "unknown"
funding_source = "unknown"
output_value = "unknown"
output_type = "unknown"
intended_use = "unknown"
intended_population = "unknown"
intended_users = "unknown"
decision_role = "unknown"
cautioned_against = "unknown"
risks_and_limitations = "unknown"
training_criteria = "unknown"
sensitive_inputs = "unknown"
training_representativeness = "unknown"
relevance_to_setting = "unknown"
fairness_approach = "unknown"
bias_management = "unknown"
external_data = "unknown"
external_tester = "unknown"
external_representativeness = "unknown"
external_process = "unknown"
validity_internal = "unknown"
fairness_internal = "unknown"
validity_external = "unknown"
fairness_external = "unknown"
outcome_references = "unknown"
validity_monitoring = "unknown"
validity_local = "unknown"
fairness_monitoring = "unknown"
fairness_local = "unknown"
update_process = "unknown"
correction_frequency = "unknown"

[chai]
release_date = "unknown"
regulatory_approval = "unknown"
summary = "unknown"
keywords = ["tests"]
how_to_use = "unknown"
biases = "unknown"
clinical_risk_level = "unknown"
model_type = "unknown"
foundation_models = "unknown"
input_data_source = "unknown"
data_types = "unknown"
development_data = "unknown"
bias_mitigation = "unknown"
security = "unknown"
third_parties = "unknown"
stakeholders_consulted = "unknown"
publications = "unknown"
clinical_trials = "unknown"
reimbursement = "unknown"
patient_consent = "unknown"

[[chai.key_metrics]]
kind = "usefulness"
goal = "unknown"
result = "unknown"
interpretation = "unknown"
test = "unknown"
data = "unknown"
validation = "unknown"

[[chai.key_metrics]]
kind = "fairness"
goal = "unknown"
result = "unknown"
interpretation = "unknown"
test = "unknown"
data = "unknown"
validation = "unknown"

[[chai.key_metrics]]
kind = "safety"
goal = "unknown"
result = "unknown"
interpretation = "unknown"
test = "unknown"
data = "unknown"
validation = "unknown"
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


def _segmentation() -> str:
    """The same manifest for a model that outlines spots."""
    text = MANIFEST.replace('"classification"', '"segmentation"').replace('"spots"', '"outlines"')
    classes = text[text.index("[outputs]") : text.index("[calibration]")]
    series = text[text.index("[out_of_distribution]") : text.index("[explanation]")]
    outline = """
[outputs]
mask_logits = "mask_logits"

[[labels]]
key = "spot"
display = "Spot"
role = "structure"
threshold = 0.5
coding = { system = "http://example.org/codes", code = "1", display = "Spot" }

[outline]
min_area_fraction = 0.001
measure = "area"
parts = 1

"""
    return text.replace(classes, outline).replace(series, "").replace('"cam"', '"outline"')


SEGMENTATION = _segmentation()
