"""The comparison's two questions are answered from its rows."""

from __future__ import annotations

import dataclasses
import math

import pytest

pytest.importorskip("numpy")

from models.build.measure.answers import Row, answers, markdown, sentences, spearman


def row(network: str, million_macs: int, cpu_ms: float) -> Row:
    engine = {
        "engine": "ONNX Runtime fp32",
        "p50_ms": cpu_ms,
        "p90_ms": 2 * cpu_ms,
        "cpu_ms": cpu_ms,
        "peak_megabytes": 80.0,
    }
    macs = million_macs * 1_000_000
    cost = {"macs": macs, "bytes_moved": 1_000_000_000 - macs, "file_bytes": 10_000_000}
    return Row(
        network=network,
        weights="random",
        taught_by=None,
        on_val=0.5,
        quality=0.912345,
        ece=0.01,
        quality_int8=0.9,
        ece_int8=0.02,
        cost=cost,
        bytes_int8=3_000_000,
        latency={"engines": [engine]},
    )


ROWS = [
    row("mobileone-s0", 100, 1.0),
    row("efficientnet-lite0", 200, 1.0),
    row("state-space", 300, 6.0),
]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([1, 2, 3], [30, 20, 10], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2], [1, 1, 5], 1.0),
    ],
)
def test_rank_correlation(one: list[float], other: list[float], expected: float) -> None:
    assert spearman(one, other) == pytest.approx(expected)


def test_rank_correlation_of_what_never_varies_is_nothing() -> None:
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_work_and_bytes_are_ranked_against_time() -> None:
    """100, 200 and 300 million in 1, 1 and 6 ms; the engines that are absent say nothing."""
    found = answers(ROWS)["rank_correlation_with_time"]
    assert found["ONNX Runtime fp32"] == {"macs": 0.866, "bytes_moved": -0.866}
    assert found["OpenVINO fp32"] == {"macs": None, "bytes_moved": None}


def test_of_a_network_that_was_trained_twice_the_first_row_counts() -> None:
    again = dataclasses.replace(ROWS[2], taught_by="mobileone-s0", cost={"macs": 1})
    assert answers([*ROWS, again]) == answers(ROWS)


def test_what_a_teacher_was_worth_is_said_of_pupils_that_also_learnt_alone() -> None:
    pupil = dataclasses.replace(ROWS[2], taught_by="mobileone-s0", quality=0.5)
    orphan = dataclasses.replace(pupil, network="unknown")
    rows = [each.as_dict() for each in (*ROWS, pupil, orphan)]
    table = {"budget": "", "quality": "accuracy", "rows": rows, "answers": answers(ROWS)}
    page = markdown(table)
    words = "state-space reaches accuracy 0.500, and 0.912 without a teacher."
    assert f"Taught by mobileone-s0, {words}" in page
    assert "unknown reaches" not in page


def test_two_networks_are_too_few_to_rank() -> None:
    found = answers(ROWS[:2])
    assert found["rank_correlation_with_time"]["ONNX Runtime fp32"]["macs"] is None


def test_the_compiler_gap_is_operations_a_second_against_the_convolutional_networks() -> None:
    """Per ms: 200 and 400 operations, median 300, against 600 in 6 ms."""
    found = answers(ROWS)
    assert found["compiler_gap"] == {
        "ONNX Runtime fp32": 3.0,
        "ONNX Runtime int8": None,
        "OpenVINO fp32": None,
    }


def test_without_a_state_space_network_there_is_no_gap() -> None:
    assert answers(ROWS[:2])["compiler_gap"]["ONNX Runtime fp32"] is None


def test_the_page_has_a_line_for_each_row_and_the_answers_in_words() -> None:
    found = answers(ROWS)
    rows = [one.as_dict() for one in ROWS]
    page = markdown({"budget": "None.", "quality": "accuracy", "rows": rows, "answers": found})
    figures = "0.912 | 0.010 | 0.900 | 300 | 700 | 10.0 | 3.0 | 6.0 / 12.0 | 80 |"
    assert f"| state-space | random |  | {figures}" in page
    for sentence in sentences(found):
        assert f"- {sentence}" in page
    assert "does 3.0 times as many operations a second" in page


def test_a_row_survives_json() -> None:
    one = ROWS[0]
    assert Row(**dataclasses.asdict(one)) == one
