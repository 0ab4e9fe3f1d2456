"""The model card, made from the manifest and the report so that it cannot say anything else.

One source, three forms: CARD.md for people, card.json for programs, card.xml for CHAI's registry.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from models.build.card import figures, speed
from models.build.card.attributes import TITLES
from models.build.card.chai import write_xml
from models.build.card.text import paragraphs, percent, table
from models.build.evaluate.figures import Report
from models.manifest import Manifest

__all__ = ["card_files", "write_card", "write_json", "write_xml"]


def card_files(manifest: Manifest, report: Report) -> Mapping[str, str]:
    """The three forms by file name."""
    return {
        "CARD.md": write_card(manifest, report),
        "card.json": write_json(manifest),
        "card.xml": write_xml(manifest, report),
    }


def write_card(manifest: Manifest, report: Report) -> str:
    """Markdown. Every figure is taken from `report`, every statement from `manifest`."""
    is_classes = report["task"] == "classification"
    sections = (
        _head(manifest, report),
        figures.classes(report) if is_classes else figures.outlines(report),
        figures.abstention(manifest, report) if is_classes else _outlining(manifest, report),
        figures.explanation(manifest, report),
        speed.precision(manifest, report),
        speed.latency(report),
        speed.backbones(report),
        _graph(manifest),
        _data(manifest),
        _source_attributes(manifest),
        _rest(manifest),
        _limits(manifest),
        _rebuild(manifest),
    )
    return paragraphs(*sections) + "\n"


def write_json(manifest: Manifest) -> str:
    """The source attributes and the CHAI fields, as the manifest states them."""
    content = {
        "id": manifest.id,
        "version": manifest.version,
        "title": manifest.title,
        "stage": manifest.stage,
        "licence": manifest.licence,
        "developer": manifest.developer,
        "intended_use": manifest.intended_use,
        "not_for": list(manifest.not_for),
        "limits": list(manifest.limits),
        "data": [dataclasses.asdict(one) for one in manifest.data],
        "source_attributes": dataclasses.asdict(manifest.attributes),
        "chai": dataclasses.asdict(manifest.chai),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _head(manifest: Manifest, report: Report) -> str:
    placeholder = report.get("placeholder")
    return paragraphs(
        f"# {manifest.title} ({manifest.id} {manifest.version})",
        f"**{placeholder}**" if placeholder else "",
        f"Stage: **{manifest.stage}**. Not a medical device. Licence of the weights: "
        f"{manifest.licence}. By {manifest.developer}.",
        f"**Intended use.** {manifest.intended_use}",
        "**Not for**",
        [f"- {sentence}" for sentence in manifest.not_for],
    )


def _outlining(manifest: Manifest, report: Report) -> str:
    outline, there = manifest.outline, manifest.out_of_distribution
    if outline is None:
        return ""
    unlike = (
        f'An image whose score "{there.method}" is above {there.threshold:g} is called unlike the '
        f"training data; {percent(report['test']['in_distribution'])} of the test images are not. "
        f"{there.chosen}"
        if there
        else "It has no score of how unlike its data an image is."
    )
    return paragraphs(
        "## What is outlined",
        f"Pixels of a calibrated probability of at least {manifest.structure.threshold:g}; of "
        f"their connected regions at most {outline.parts}, the largest, that cover at least "
        f"{100 * outline.min_area_fraction:g} % of the frame. {report['operating_point']} {unlike}",
    )


def _graph(manifest: Manifest) -> str:
    spec, names = manifest.input, manifest.outputs
    keys = ", ".join(label.key for label in manifest.labels)
    given = (
        f"N x 1 x {spec.rows} x {spec.columns}, float32, 0 to 1; grey values between percentiles "
        f"{spec.low_percentile:g} and {spec.high_percentile:g} of the image "
        "(`models.preprocess.prepare`)"
    )
    temperature = f"before the temperature ({manifest.calibration.temperature:g})"
    meanings = (
        (names.logits, f"N x {len(manifest.labels)}, {temperature}; order: {keys}"),
        (names.mask_logits, f"N x 1 x rows x columns, {temperature}"),
        (names.feature_map, f"N x channels x down x across: {manifest.explanation.layer}"),
        (names.class_weights, "labels x channels, for class activation maps"),
        (names.ood_score, "N; larger = less like the training data"),
    )
    rows = [("input", f"`{spec.name}`", given)]
    rows += [("output", f"`{name}`", text) for name, text in meanings if name]
    return paragraphs("## The graph", table(("", "name", "shape and meaning"), rows))


def _data(manifest: Manifest) -> str:
    rows = [(d.name, d.use, d.terms, d.citation) for d in manifest.data]
    return paragraphs("## Data", table(("set", "use", "terms", "citation"), rows))


def _source_attributes(manifest: Manifest) -> str:
    values = dataclasses.asdict(manifest.attributes)
    rows, count = [], 0
    for group, titles in TITLES.items():
        for key, title in titles.items():
            count += 1
            rows.append((str(count), f"{group}: {title}", values[key]))
    return paragraphs(
        "## Source attributes",
        "The 31 of 45 CFR 170.315(b)(11)(iv)(B). What is not known is called unknown.",
        table(("", "attribute", "value"), rows),
    )


def _rest(manifest: Manifest) -> str:
    """The CHAI fields that nothing above holds, and the key metrics."""
    values = dataclasses.asdict(manifest.chai)
    values.pop("key_metrics")
    values["keywords"] = ", ".join(manifest.chai.keywords)
    rows = [(key.replace("_", " ").capitalize(), str(text)) for key, text in values.items()]
    metrics = [
        (m.kind, m.goal, m.result, m.interpretation, m.test, m.data, m.validation)
        for m in manifest.chai.key_metrics
    ]
    header = ("", "goal", "result", "interpretation", "test", "data", "validation")
    return paragraphs(
        "## Applied model card (CHAI)",
        "`card.xml` has the same, and the source attributes, as CHAI's schema wants them.",
        table(("field", "value"), rows),
        "Key metrics:",
        table(header, metrics),
    )


def _limits(manifest: Manifest) -> str:
    return paragraphs("## Known limits", [f"- {sentence}" for sentence in manifest.limits])


def _rebuild(manifest: Manifest) -> str:
    return paragraphs(
        "## Make it again",
        [
            "```",
            'pip install "scanhook[build]"',
            f"scanhook build {manifest.id} --data DIR --work DIR",
            "```",
        ],
        "`recipe.toml` holds every number that decides the outcome, and names the packs that DIR "
        "must hold. This card is written by that command.",
    )
