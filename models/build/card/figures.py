"""The card's sections of figures, all from the report."""

from __future__ import annotations

from models.build.card.facts import external
from models.build.card.text import interval, number, paragraphs, percent, spread, table
from models.build.evaluate.figures import Report
from models.manifest import Manifest


def classes(report: Report) -> str:
    """Accuracy, calibration, and each class, without abstention."""
    test = report["test"]
    rows = [
        (
            key,
            str(row["images"]),
            interval(row["sensitivity"]),
            interval(row["specificity"]),
            spread(row["auroc"]),
            number(row["ece"]),
        )
        for key, row in test["per_class"].items()
    ]
    header = (
        "class",
        "images",
        "sensitivity",
        "specificity",
        "area under ROC",
        "calibration error",
    )
    any_finding = test["any_finding"]
    return paragraphs(
        "## Figures on the test split",
        f"{_about(report)}",
        f"Accuracy {interval(test['accuracy'])}. Any finding against none: sensitivity "
        f"{interval(any_finding['sensitivity'])}, specificity "
        f"{interval(any_finding['specificity'])}. Expected calibration error "
        f"{number(test['ece'])} (15 bins, after temperature).",
        table(header, rows),
        "The most probable class (columns) by the true one (rows):",
        _confusion(test),
        _picture("confusion.png", "Confusion on test"),
        _picture("roc.png", "ROC, and precision and recall; the dots are the thresholds"),
        _picture("reliability.png", "Stated probability and how often it was right"),
    )


def outlines(report: Report) -> str:
    """Overlap, misses and false outlines."""
    test = report["test"]
    rows = [
        ("all", str(test["with_structure"]), spread(test["dice"]), percent(test["missed"]["value"]))
    ]
    rows += [
        (key, str(row["images"]), spread(row["dice"]), percent(row["missed"]))
        for key, row in test["per_class"].items()
    ]
    rows += [
        (
            f"{key} (up to {percent(row['up_to'])} of the frame)",
            str(row["images"]),
            number(row["dice"]),
            percent(row["missed"]),
        )
        for key, row in test["per_size"].items()
    ]
    return paragraphs(
        "## Figures on the test split",
        _about(report),
        f"Dice {spread(test['dice'])}, 5th percentile {spread(test['dice_5th_percentile'])}; "
        f"missed (nothing outlined touches the structure) {interval(test['missed'])}; "
        f"{_false(test)}. Expected calibration error of the pixels {number(test['ece'])}.",
        table(("images", "number", "Dice", "missed"), rows),
        _area(test),
        _left_out(test),
        _picture("dice.png", "Dice of each test image"),
        _picture("reliability.png", "Stated probability of a pixel and how often it was right"),
    )


def _false(test: Report) -> str:
    if not test["without_structure"]:
        return "there are no images without the structure, so false outlines are unknown"
    share, count = interval(test["false_outlines"]), test["without_structure"]
    return f"something outlined on {share} of {count} images without the structure"


def _area(test: Report) -> str:
    error = test["area_error"]
    if error["median"] is None:
        return ""
    return (
        f"The outlined area is {100 * error['median']:+.1f} % of the true one off in the median "
        f"({100 * error['low']:+.1f} to {100 * error['high']:+.1f} % in nine of ten images)."
    )


def _left_out(test: Report) -> str:
    left = test["left_out"]
    if not left["images"] or left["dice_of_others"] is None:
        return ""
    return (
        f"On {left['images']} of {test['images']} images a solid part of the true outline, of at "
        f"least {percent(left['smallest_fraction'])} of the frame, is not outlined. The others "
        f"have Dice {number(left['dice_of_others'])}, 5th percentile "
        f"{number(left['dice_5th_percentile_of_others'])}: no score, since the worst are not among "
        "them; it says how much those few images weigh."
    )


def abstention(manifest: Manifest, report: Report) -> str:
    """Thresholds, coverage, what of elsewhere passes, and prediction sets."""
    limits = ", ".join(f"{label.key} {label.threshold:g}" for label in manifest.labels)
    there = manifest.out_of_distribution
    score = (
        f'An image whose score "{there.method}" is above {there.threshold:g} is not answered. '
        f"{there.chosen}"
        if there
        else ""
    )
    return paragraphs(
        "## When it keeps silent",
        f"A class is stated from its threshold upwards (calibrated probability: {limits}). {score} "
        f"Everything else is indeterminate. {report['operating_point']}",
        _silence(report),
        _strange(manifest, report),
        _sets(report),
        _picture("coverage-risk.png", "Wrong answers by the share of images answered"),
    )


def _silence(report: Report) -> list[str]:
    test, silent, away = report["test"], report["test"]["abstaining"], external(report)
    columns = ["", "test", *((f"from elsewhere ({report['external_split']})",) if away else ())]
    found = 1 - test["any_finding"]["sensitivity"]["value"]
    rows = [("images", str(test["images"]), *((str(away["images"]),) if away else ()))]
    named = [
        ("in distribution", percent(test["in_distribution"]), "in_distribution"),
        ("accuracy without abstention", percent(test["accuracy"]["value"]), "accuracy"),
        ("share answered", interval(silent["coverage_interval"]), "coverage_abstaining"),
        ("accuracy of the answers", interval(silent["accuracy_interval"]), "accuracy_abstaining"),
        ("images without a finding so answered", percent(silent["negative_answered"]), ""),
        ("findings called negative without abstention", percent(found), "called_negative"),
        (
            "findings called negative after abstention",
            percent(silent["findings_called_negative"]),
            "called_negative_abstaining",
        ),
    ]
    if "findings_called_negative_with_witness" in silent:
        named += [
            (
                "findings called negative with the second witness too",
                percent(silent["findings_called_negative_with_witness"]),
                "called_negative_with_witness",
            ),
            (
                "images without a finding so answered, with the second witness",
                percent(silent["negative_answered_with_witness"]),
                "",
            ),
        ]
    for name, here, key in named:
        there = (percent(away[key]) if key in away else "",) if away else ()
        rows.append((name, here, *there))
    return table(columns, rows)


def _strange(manifest: Manifest, report: Report) -> str:
    if not manifest.out_of_distribution:
        return ""
    chosen = report["score_comparison"][manifest.out_of_distribution.method]
    rows = [
        (name, *(percent(one.get(key)) for key in _COMPARED if key in chosen))
        for name, one in report["score_comparison"].items()
    ]
    header = ("score", *(words for key, words in _COMPARED.items() if key in chosen))
    helped = (
        " They helped to choose, so expect less at other hospitals." if external(report) else ""
    )
    return paragraphs(
        "Scores compared, on pictures that are nothing of the kind (noise, scrambled and shuffled "
        f"images) and on images from elsewhere where there are any.{helped}",
        table(header, rows),
    )


_COMPARED = {
    "strange_in_distribution": "strange pictures taken for familiar",
    "strange_called_negative": "strange pictures called negative",
    "external_in_distribution": "elsewhere, in distribution",
    "external_called_negative": "elsewhere, called negative",
    "external_auroc": "elsewhere told from val (AUROC)",
}


def _sets(report: Report) -> str:
    sets = report.get("prediction_set")
    if not sets:
        return ""
    return (
        f"Prediction sets ({sets['method']}) promise to hold the true label of "
        f"{percent(sets['coverage'])} of images like those of `val`; on test they hold that of "
        f"{percent(sets['coverage_test'])}, with {sets['mean_size']:.2f} labels in the mean, one "
        f"in {percent(sets['one_label'])} and none in {percent(sets['empty'])} of the images."
    )


def explanation(manifest: Manifest, report: Report) -> str:
    """How faithful the maps are."""
    figures = report.get("faithfulness") or {}
    if not figures.get("images"):
        return paragraphs(
            "## Explanation",
            f"Method: {manifest.explanation.method}, of {manifest.explanation.layer}. "
            + (
                "The outline is the answer itself."
                if report["task"] == "segmentation"
                else "No outlines were at hand to measure where its maps lie."
            ),
        )
    shuffled = ", ".join(f"{name} {v:.2f}" for name, v in figures["randomisation"].items())
    down, across = figures["map_cells"]
    rows = [
        (
            "strongest point within 15 pixels of the lesion (pointing game)",
            interval(figures["pointing_game"]),
            percent(figures["pointing_game_by_chance"]),
        ),
        (
            "share of the map's sum inside the lesion (energy)",
            interval(figures["energy_in_mask"]),
            percent(figures["energy_by_chance"]),
        ),
        (
            "deletion: mean probability while the strongest cells are blanked (low is good)",
            number(figures["deletion_auc"]),
            number(figures["deletion_auc_random"]),
        ),
        (
            "insertion: mean probability while they are put into a blurred image (high is good)",
            number(figures["insertion_auc"]),
            number(figures["insertion_auc_random"]),
        ),
    ]
    return paragraphs(
        "## Explanation",
        f"Method: {manifest.explanation.method}, {down} x {across} cells, of "
        f"{manifest.explanation.layer}. Measured on {figures['images']} recognised test images "
        f"with a known outline (deletion, insertion and randomisation on "
        f"{figures['images_perturbed']} of them).",
        table(("", "the map", "by chance, or a random map"), rows),
        f"Randomisation check, rank correlation with the map of a network with shuffled weights "
        f"(near 0 is wanted): {shuffled}.",
    )


def _about(report: Report) -> str:
    test = report["test"]
    beside = " The int8 graph's are given with its precision." if report.get("int8") else ""
    return (
        f"{test['images']} images in {test['groups']} groups (patients, runs of neighbouring "
        "slices, or clusters of near-copies) that are in no other split; nothing was chosen on "
        f"them. Intervals: {report['intervals']}. The figures and pictures are those of the fp32 "
        f"graph.{beside}"
    )


def _confusion(test: Report) -> list[str]:
    order = test["confusion"]["order"]
    counts = zip(order, test["confusion"]["true_by_stated"], strict=True)
    return table(("", *order), [(key, *map(str, row)) for key, row in counts])


def _picture(name: str, words: str) -> str:
    return f"![{words}]({name})"
