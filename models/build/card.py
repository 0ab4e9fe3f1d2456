"""The model card, made from the manifest and the report so that it cannot say anything else."""

from __future__ import annotations

from models.build.evaluate import Report
from models.manifest import Manifest


def write_card(manifest: Manifest, report: Report) -> str:
    """Markdown. Every figure is taken from `report`, every statement from `manifest`."""
    sections = (
        _head(manifest, report),
        _figures(report),
        _abstention(manifest, report),
        _graph(manifest),
        _data(manifest),
        _training(report),
        _limits(manifest),
        _rebuild(manifest),
    )
    return "\n\n".join(sections) + "\n"


def percent(value: float | None) -> str:
    """A share as the card prints it: 0.9171 as "91.7 %"."""
    return "none" if value is None else f"{100 * value:.1f} %"


def interval(figure: Report) -> str:
    """A share with its 95 % interval: "91.7 % (89.5 to 93.7)"."""
    return f"{percent(figure['value'])} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def _head(manifest: Manifest, report: Report) -> str:
    placeholder = report.get("placeholder")
    return "\n".join(
        (
            f"# {manifest.title} ({manifest.id} {manifest.version})",
            "",
            *((f"**{placeholder}**", "") if placeholder else ()),
            f"Stage: **{manifest.stage}**. Not a medical device. Licence of the weights: "
            f"{manifest.licence}. By {manifest.developer}.",
            "",
            f"**Intended use.** {manifest.intended_use}",
            "",
            "**Not for**",
            "",
            *(f"- {sentence}" for sentence in manifest.not_for),
        )
    )


def _figures(report: Report) -> str:
    test, rows = report["test"], []
    for key, figures in test["per_class"].items():
        rows.append(
            f"| {key} | {figures['images']} | {interval(figures['sensitivity'])} "
            f"| {interval(figures['specificity'])} |"
        )
    order = test["confusion"]["order"]
    confusion = [
        f"| {key} | {' | '.join(str(count) for count in counts)} |"
        for key, counts in zip(order, test["confusion"]["true_by_stated"], strict=True)
    ]
    return "\n".join(
        (
            "## Figures on the test split",
            "",
            f"{test['images']} slices of other patients than in training; nothing was chosen on "
            f"them. Intervals: {report['intervals']}.",
            "",
            f"Accuracy {interval(test['accuracy'])}; expected calibration error "
            f"{test['ece']:.3f} (15 bins, after temperature).",
            "",
            "| class | slices | sensitivity | specificity |",
            "|---|---|---|---|",
            *rows,
            "",
            "The most probable class (columns) by the true one (rows):",
            "",
            f"| | {' | '.join(order)} |",
            f"|---|{'---|' * len(order)}",
            *confusion,
        )
    )


def _abstention(manifest: Manifest, report: Report) -> str:
    test, external = report["test"]["abstaining"], report["ext_dev"]
    chosen = report["score_comparison"][manifest.out_of_distribution.method]
    thresholds = ", ".join(f"{label.key} {label.threshold:g}" for label in manifest.labels)
    return "\n".join(
        (
            "## When it keeps silent",
            "",
            f"A class is stated from its threshold upwards (calibrated probability: {thresholds}). "
            "The negative is stated only if, besides, enough slices are like the training data: "
            f'score "{manifest.out_of_distribution.method}" up to '
            f"{manifest.out_of_distribution.threshold:g}. Everything else is indeterminate. "
            f"{manifest.out_of_distribution.chosen}",
            "",
            "| | test | tumours from elsewhere (ext_dev) |",
            "|---|---|---|",
            f"| slices | {report['test']['images']} | {external['images']} |",
            f"| in distribution | {percent(report['test']['in_distribution'])} "
            f"| {percent(external['in_distribution'])} |",
            f"| accuracy without abstention | {percent(report['test']['accuracy']['value'])} "
            f"| {percent(external['accuracy'])} |",
            f"| share answered | {percent(test['coverage'])} "
            f"| {percent(external['coverage_abstaining'])} |",
            f"| accuracy of the answers | {percent(test['accuracy'])} "
            f"| {percent(external['accuracy_abstaining'])} |",
            f"| tumour-free slices so answered | {percent(test['negative_answered'])} | |",
            '| tumours called "no tumour" without abstention | '
            f"{percent(1 - tumours_seen(report))} | {percent(external['called_negative'])} |",
            '| tumours called "no tumour" after abstention | '
            f"{percent(test['tumours_called_negative'])} "
            f"| **{percent(external['called_negative_abstaining'])}** |",
            "",
            f"Of pictures that are no heads (noise, scrambled and shuffled slices) "
            f"{percent(chosen['no_heads_in_distribution'])} are taken for in distribution and "
            f"{percent(chosen['no_heads_called_negative'])} would be called tumour-free. "
            "ext_dev helped to choose the score: expect less at other hospitals.",
        )
    )


def tumours_seen(report: Report) -> float:
    """The share of test tumours whose most probable class is a tumour."""
    confusion = report["test"]["confusion"]
    negative = confusion["order"].index("no-tumour")
    rows = [row for i, row in enumerate(confusion["true_by_stated"]) if i != negative]
    missed, all_of_them = sum(row[negative] for row in rows), sum(sum(row) for row in rows)
    return 1 - float(missed) / float(all_of_them)


def _graph(manifest: Manifest) -> str:
    spec, names, classes = manifest.input, manifest.outputs, len(manifest.labels)
    return "\n".join(
        (
            "## The graph",
            "",
            "| | name | shape | meaning |",
            "|---|---|---|---|",
            f"| input | `{spec.name}` | N x 1 x {spec.rows} x {spec.columns}, float32, 0 to 1 "
            f"| grey values between percentiles {spec.low_percentile:g} and "
            f"{spec.high_percentile:g} of the slice (`models.preprocess.prepare`) |",
            f"| output | `{names.logits}` | N x {classes} | before the temperature "
            f"({manifest.calibration.temperature:g}); order: "
            f"{', '.join(label.key for label in manifest.labels)} |",
            f"| output | `{names.feature_map}` | N x 1280 x 7 x 7 | {manifest.explanation.layer} |",
            f"| output | `{names.class_weights}` | {classes} x 1280 | for class activation maps |",
            f"| output | `{names.ood_score}` | N | larger = less like the training data |",
        )
    )


def _data(manifest: Manifest) -> str:
    rows = [f"| {d.name} | {d.use} | {d.terms} | {d.citation} |" for d in manifest.data]
    return "\n".join(
        ("## Data", "", "| set | use | terms | citation |", "|---|---|---|---|", *rows)
    )


def _training(report: Report) -> str:
    return "\n".join(
        (
            "## Training",
            "",
            "EfficientNet-Lite0 from ImageNet weights, class-balanced batches, weights averaged "
            "over the run; `recipe.toml` holds every number. Because tumours and tumour-free "
            "images come from different sources, a plain network learns the source. Against that: "
            "strong changes of contrast, sharpness, noise, field and framing; grey levels borrowed "
            "from other images; and counterfactuals: lesions transplanted into tumour-free images, "
            "small lesions healed, healthy patches moved. Chosen on the validation split "
            f"({percent(report['val']['accuracy'])} accuracy of {report['val']['images']} slices; "
            f"abstaining: {percent(report['val']['abstaining']['accuracy'])} of "
            f"{percent(report['val']['abstaining']['coverage'])}).",
        )
    )


def _limits(manifest: Manifest) -> str:
    return "\n".join(("## Known limits", "", *(f"- {sentence}" for sentence in manifest.limits)))


def _rebuild(manifest: Manifest) -> str:
    return "\n".join(
        (
            "## Make it again",
            "",
            "```",
            'pip install "scanhook[build]"',
            f"scanhook build {manifest.id} --data DIR --work DIR",
            "```",
            "",
            "DIR holds `brain_cls.csv` with `brain_cls.tar`, and `brain_seg.csv` with "
            "`brain_seg.tar` for the counterfactuals. This card is written by that command.",
        )
    )
