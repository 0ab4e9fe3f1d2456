"""Tables on a terminal: they fit, keep what is typed again, and show text as text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from cds_service.cli import demo, jobs
from cds_service.cli.output import printable
from cds_service.queue import JobRow
from cds_service.sandbox import Walk, WalkRow

STEPS_MS = {
    "receive": 101.2,
    "vet": 102.2,
    "decode": 103.2,
    "prepare": 104.2,
    "infer": 45.6,
    "explain": 106.2,
    "total": 789.4,
}


def walk_row(
    patient: str = "Synthetic, Ben Demo", study: str = "head-meningioma", outcome: str = "finding"
) -> WalkRow:
    return WalkRow(
        patient=patient,
        study=study,
        outcome=outcome,
        truth="",
        expected=frozenset({"finding"}),
        expected_labels=("meningioma",),
        state="final",
        model="brain-mri-tumour",
        version="1.0.0",
        label="Pituitary tumour",
        probability=0.97,
        hook_ms=12.0,
        ready_s=0.4,
        steps_ms=STEPS_MS,
    )


def drawn(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    said = console.file
    assert isinstance(said, io.StringIO)
    return said.getvalue()


@pytest.mark.parametrize("outcome", ["finding", "indeterminate"])
@pytest.mark.parametrize("study", ["head-meningioma", "A head of one's own with a long story"])
def test_the_table_of_the_demo_fits_100_columns(study: str, outcome: str) -> None:
    text = drawn(demo._table(Walk((walk_row(study=study, outcome=outcome),))), 100)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(line[-1] in "┓┃┩│┘" for line in text.splitlines()[1:-1])
    whole = (*study.split(), outcome, "Synthetic,", "Pituitary", "over 95 %", "789", "46", "NO")
    assert all(word in text for word in whole)
    assert "brain-mri-tumour 1.0.0" in text
    assert not any(f"{STEPS_MS[step]:.0f}" in text for step in ("receive", "decode", "explain"))


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_id_of_a_study_is_whole_however_narrow_the_terminal(width: int) -> None:
    study = "0123456789abcdef0123456789abcdef"
    row = JobRow(study, "failed", "routine", 3, "server-error", 7000.0, 6000.0)
    assert study in drawn(jobs._table([row], {}), max(width, len(study) + 4))


@pytest.mark.parametrize(
    "name",
    [
        "Evil\x1b[2J\x1b]0;title\x07",
        "Evil\x9b31m",
        "Evil\r\nFalse, Row",
        "[/]Evil",
        "[bold]Evil[/bold]",
    ],
)
def test_a_name_means_nothing_to_the_terminal(name: str) -> None:
    text = drawn(demo._table(Walk((walk_row(patient=name),))), 200)
    assert not any(sign in text for sign in "\x1b\x07\x9b\r")
    assert "Evil" in text
    assert len(text.splitlines()) == len(drawn(demo._table(Walk((walk_row(),))), 200).splitlines())


def test_letters_of_every_script_stay() -> None:
    assert printable("Müller 山田 محمد e\u0301") == "Müller 山田 محمد e\u0301"
