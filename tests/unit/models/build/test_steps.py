"""A step is repeated when anything it was made of has changed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.build.errors import BuildError
from models.build.steps import Ledger, digest_of, read, save


def test_a_step_is_done_for_the_digest_it_was_done_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert not ledger.is_done("export", "a")
    (tmp_path / "fp32.onnx").write_bytes(b"graph")
    ledger.note("export", "a", ("fp32.onnx",))
    assert ledger.is_done("export", "a", ("fp32.onnx",))
    assert not ledger.is_done("export", "b")
    assert not ledger.is_done("train", "a")
    assert not ledger.is_done("export", "a", ("int8.onnx",))


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_product_that_is_not_as_it_was_left_is_made_again(tmp_path: Path, damage: str) -> None:
    ledger, path = Ledger(tmp_path), tmp_path / "fp32.onnx"
    path.write_bytes(b"graph")
    ledger.note("export", "a", ("fp32.onnx",))
    path.unlink() if damage == "gone" else path.write_bytes(b"grap")
    assert not ledger.is_done("export", "a")


@pytest.mark.parametrize(("content", "kept"), [("the same", True), ("another", False)])
def test_what_was_made_of_a_product_is_done_until_the_product_is_another(
    tmp_path: Path, content: str, kept: bool
) -> None:
    ledger, product = Ledger(tmp_path), tmp_path / "fp32.onnx"
    product.write_text("the same")
    ledger.note("train", "a")
    ledger.note("export", "a", ("fp32.onnx",))
    ledger.note("evaluate", "a")
    product.write_text(content)
    ledger.note("export", "a", ("fp32.onnx",))
    assert ledger.is_done("train", "a")
    assert ledger.is_done("evaluate", "a") is kept


def test_what_was_made_by_another_recipe_is_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for step in ("train", "export", "evaluate"):
        ledger.note(step, "a")
    ledger.note("export", "b")
    assert not ledger.is_done("evaluate", "a")


def test_a_ledger_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(BuildError, match=r"steps\.json: cannot be read"):
        Ledger(tmp_path).is_done("data", "a")


def test_a_product_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"export\.json: cannot be read"):
        read(tmp_path / "export.json")


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    save(tmp_path / "a.json", {"x": [1, 2.5]})
    assert read(tmp_path / "a.json") == {"x": [1, 2.5]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_digests_tell_apart_what_is_put_together_differently() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of(("a",), 1) == digest_of(("a",), 1)
