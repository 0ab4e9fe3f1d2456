"""Packages are found, verified, and chosen; what is wrong is never passed over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import DuplicateModel, HashMismatch, ManifestError, UnusableGraph
from models.registry import load_package, load_registry
from tests.unit.models.facts import GRAPH, HEAD_MR, MANIFEST, write_package


def test_packages_are_found_below_the_folders_given(tmp_path: Path) -> None:
    write_package(tmp_path / "a" / "spots-on-something")
    write_package(tmp_path / "b", MANIFEST.replace('"spots"', '"dots"'))
    (tmp_path / "a" / "not-a-package").mkdir()
    registry = load_registry([tmp_path / "b"], bundled=tmp_path / "a")
    assert [package.manifest.id for package in registry.packages] == ["dots", "spots"]


def test_two_versions_of_a_model_may_stand_side_by_side(tmp_path: Path) -> None:
    write_package(tmp_path / "old")
    write_package(tmp_path / "new", MANIFEST.replace('"1.0.0"', '"1.1.0"'))
    versions = [p.manifest.version for p in load_registry(bundled=tmp_path).packages]
    assert versions == ["1.0.0", "1.1.0"]


def test_the_same_version_twice_is_an_error(tmp_path: Path) -> None:
    write_package(tmp_path / "one")
    write_package(tmp_path / "two")
    with pytest.raises(DuplicateModel, match=r"spots version 1\.0\.0"):
        load_registry(bundled=tmp_path)


def test_a_file_that_is_not_the_one_measured_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path / "spots", graph=GRAPH + GRAPH)
    with pytest.raises(HashMismatch, match=r"'fp32.onnx' of spots is not the file"):
        load_registry(bundled=tmp_path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "spots")
    (folder / "fp32.onnx").unlink()
    with pytest.raises(HashMismatch, match="cannot be read"):
        load_registry(bundled=tmp_path)


def test_a_file_changed_after_loading_is_refused_when_it_is_read(tmp_path: Path) -> None:
    package = load_package(write_package(tmp_path / "spots"))
    assert package.read("fp32.onnx") == GRAPH
    (package.folder / "fp32.onnx").write_bytes(b"swapped")
    with pytest.raises(HashMismatch):
        package.read("fp32.onnx")


def test_only_listed_files_can_be_read(tmp_path: Path) -> None:
    package = load_package(write_package(tmp_path / "spots"))
    with pytest.raises(HashMismatch, match="does not list"):
        package.read("model.toml")


def test_the_precisions_are_those_of_the_listed_graphs(tmp_path: Path) -> None:
    assert load_package(write_package(tmp_path / "spots")).precisions == ("fp32",)


def test_a_wrong_package_among_right_ones_stops_the_loading(tmp_path: Path) -> None:
    write_package(tmp_path / "right")
    write_package(tmp_path / "wrong", "schema = 1")
    with pytest.raises(ManifestError):
        load_registry(bundled=tmp_path)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nowhere"):
        load_registry([tmp_path / "nowhere"], bundled=tmp_path)


def test_every_package_is_either_a_candidate_or_refused_with_reasons(tmp_path: Path) -> None:
    write_package(tmp_path / "mr")
    ct = MANIFEST.replace('"spots"', '"ct-spots"').replace('["MR"]', '["CT"]')
    write_package(tmp_path / "ct", ct)
    applicable, refused = load_registry(bundled=tmp_path).candidates(HEAD_MR)
    assert [package.manifest.id for package in applicable] == ["spots"]
    assert [(r.model_id, r.model_version) for r in refused] == [("ct-spots", "1.0.0")]
    assert [reason.kind for reason in refused[0].reasons] == ["modality"]


def test_a_series_that_no_model_reads_has_no_candidates_and_a_reason_each(tmp_path: Path) -> None:
    write_package(tmp_path / "mr")
    applicable, refused = load_registry(bundled=tmp_path).candidates(
        replace(HEAD_MR, description="SCOUT")
    )
    assert applicable == ()
    assert [reason.kind for reason in refused[0].reasons] == ["excluded-series"]


def two_graphs(folder: Path, *, gates_held: bool) -> Path:
    """A package with an int8 graph beside the fp32 one."""
    figures = f"""[precision.int8]
agreement = 0.98
speed_up = 2.0
smaller = 3.6
gates_held = {str(gates_held).lower()}

[attributes]"""
    listed = f'[files]\n"int8.onnx" = "{hashlib.sha256(GRAPH).hexdigest()}"'
    text = MANIFEST.replace("[files]", listed).replace("[attributes]", figures)
    write_package(folder, text)
    (folder / "int8.onnx").write_bytes(GRAPH)
    return folder


def test_a_package_may_hold_two_graphs(tmp_path: Path) -> None:
    package = load_package(two_graphs(tmp_path / "spots", gates_held=True))
    assert package.precisions == ("fp32", "int8")
    assert package.may_serve_int8
    assert not package.faults


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.onnx"])
@pytest.mark.parametrize("content", [None, b"rotten"])
def test_a_wrong_graph_is_noted_while_the_other_may_be_served(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = two_graphs(tmp_path / "spots", gates_held=True)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    (package,) = load_registry(bundled=tmp_path).packages
    assert f"{name!r} of spots" in package.faults[name]
    assert package.precisions == (("int8",) if name == "fp32.onnx" else ("fp32",))


def test_a_wrong_fp32_graph_is_refused_where_int8_did_not_pass_its_gates(tmp_path: Path) -> None:
    folder = two_graphs(tmp_path / "spots", gates_held=False)
    (folder / "fp32.onnx").unlink()
    with pytest.raises(HashMismatch, match=r"'fp32\.onnx'"):
        load_package(folder)


def test_two_wrong_graphs_are_refused(tmp_path: Path) -> None:
    folder = two_graphs(tmp_path / "spots", gates_held=True)
    (folder / "fp32.onnx").unlink()
    (folder / "int8.onnx").unlink()
    with pytest.raises(HashMismatch):
        load_package(folder)


def test_a_wrong_report_is_refused_whatever_the_graphs(tmp_path: Path) -> None:
    folder = two_graphs(tmp_path / "spots", gates_held=True)
    text = (folder / "model.toml").read_text(encoding="utf-8")
    listed = text.replace("[files]", f'[files]\n"report.json" = "{"0" * 64}"')
    (folder / "model.toml").write_text(listed, encoding="utf-8")
    with pytest.raises(HashMismatch, match=r"'report\.json'"):
        load_package(folder)


def test_a_listed_graph_that_is_no_graph_is_refused_by_name(tmp_path: Path) -> None:
    text = MANIFEST.replace(hashlib.sha256(GRAPH).hexdigest(), hashlib.sha256(b"x").hexdigest())
    with pytest.raises(UnusableGraph, match=r"'spots/fp32\.onnx' is not an ONNX graph"):
        load_package(write_package(tmp_path / "spots", text, b"x"))


def test_a_chain_to_a_model_that_is_not_there_stops_the_loading(tmp_path: Path) -> None:
    chain = '[chain]\nafter = "dots"\nwhen = ["dot"]\n\n[input]'
    write_package(tmp_path / "spots", MANIFEST.replace("[input]", chain))
    with pytest.raises(ManifestError, match="spots runs after 'dots', which is not installed"):
        load_registry(bundled=tmp_path)
