"""Only what a package lists is served, and only as it was listed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cds_service.card_files import CardShelf, served_files
from models.registry import ModelPackage, Registry, load_package
from tests.reference.toy import FOLDER

PLOT = b"\x89PNG\r\n\x1a\n plot"
SECRET = b"not for anybody"


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    """The toy model with a plot that is listed, one that is not, and the card in all its forms."""
    toy, folder = load_package(FOLDER), tmp_path / "toy"
    folder.mkdir()
    for name, content in {
        "CARD.md": b"# Toy\n",
        "card.json": b"{}",
        "card.xml": b"<card/>",
        "reliability.png": PLOT,
        "unlisted.png": SECRET,
        "changed.png": b"other bytes than were listed",
        "fp32.onnx": (FOLDER / "fp32.onnx").read_bytes(),
    }.items():
        (folder / name).write_bytes(content)
    (tmp_path / "secret.json").write_bytes(SECRET)
    listed = {name: hashlib.sha256(PLOT).hexdigest() for name in ("reliability.png", "changed.png")}
    files = {**toy.manifest.files, **listed, "gone.png": "0" * 64}
    return ModelPackage(folder, replace(toy.manifest, files=files))


def name_of(package: ModelPackage) -> tuple[str, str]:
    return package.manifest.id, package.manifest.version


def test_the_forms_of_the_card_and_the_listed_plots_are_served(package: ModelPackage) -> None:
    shelf, name = CardShelf(Registry((package,))), name_of(package)
    assert shelf.text(*name) == "# Toy\n"
    found = {n: shelf.file(*name, n) for n in ("card.json", "card.xml", "reliability.png")}
    assert {n: f and (f.content, f.media_type) for n, f in found.items()} == {
        "card.json": (b"{}", "application/json"),
        "card.xml": (b"<card/>", "application/xml"),
        "reliability.png": (PLOT, "image/png"),
    }
    assert shelf.files(*name)[:2] == ("card.json", "card.xml")


@pytest.mark.parametrize(
    "asked",
    [
        "fp32.onnx",
        "model.toml",
        "CARD.md",
        "unlisted.png",
        "gone.png",
        "changed.png",
        "../secret.json",
        "..",
        "",
        "card.json\x00",
        "/etc/passwd",
        "CARD.JSON",
    ],
)
def test_nothing_else_is_served(package: ModelPackage, asked: str) -> None:
    assert CardShelf(Registry((package,))).file(*name_of(package), asked) is None


def test_a_link_in_a_package_leads_nowhere(package: ModelPackage, tmp_path: Path) -> None:
    card = package.folder / "card.json"
    card.unlink()
    card.symlink_to(tmp_path / "secret.json")
    assert "card.json" not in served_files(package)
    assert CardShelf(Registry((package,))).file(*name_of(package), "card.json") is None


def test_a_model_that_is_not_in_use_has_no_card(package: ModelPackage) -> None:
    shelf = CardShelf(Registry((package,)))
    for other in (("nothing", "1.0.0"), (package.manifest.id, "0")):
        assert shelf.text(*other) is None
        assert shelf.files(*other) == ()
        assert shelf.file(*other, "card.json") is None
