"""Write the model folder: graphs, manifest, report, reference cases, card, pictures; whole or not.

Everything is made in a folder beside the target and checked as the registry will check it; then
the target is replaced by one rename. A kill leaves at most that folder, which the next build
removes, and puts an old package back whose renaming was cut in two.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.build import phantom, plots, template
from models.build.card import card_files
from models.build.errors import PackageError, at
from models.build.evaluate.figures import Report
from models.build.export import open_session, run
from models.build.values import values
from models.errors import ModelError
from models.manifest import FP32, HEAD, INT8, MANIFEST_NAME, Manifest, read_manifest
from models.preprocess import prepare
from models.reference import CASES, answers_of, check_references
from models.registry import load_package

_STAGING = ".scanhook-build"
_TOLERANCE = {"fp32": 0.01, "int8": 0.15}
_GRAPHS = (FP32, INT8, HEAD)


@dataclass(frozen=True)
class Parts:
    """What a package is made of. `graphs` are files by the name they get in the package."""

    graphs: dict[str, Path]
    recipe: Path
    template: Path
    report: Report


def write_package(out: Path, parts: Parts) -> Manifest:
    """Fill the folder `out`, which may hold an older package; give the manifest that was written.

    Raises PackageError (or ManifestError, ReferenceMismatch, which name the key or the case) when
    it cannot be written or does not hold what it says; then `out` is as it was.
    """
    try:
        with _staged(out) as folder:
            _fill(folder, parts)
            _check(folder)
        return read_manifest(out)
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise PackageError(f"{out.name}: the package cannot be written: {problem}.") from error


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A new folder that takes the place of `out` when the block ends well.

    It lies one level deeper than packages do, so that no registry finds it half-built.
    """
    staging = out.parent / f"{_STAGING}-{out.name}"
    _recover(staging, out)
    new, old = staging / "new", staging / "old"
    new.mkdir(parents=True)
    try:
        yield new
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        _recover(staging, out)


def _recover(staging: Path, out: Path) -> None:
    """Put back a package that was moved away and not replaced, then remove what is left."""
    old = staging / "old"
    if old.is_dir() and not out.exists():
        old.rename(out)
    shutil.rmtree(staging, ignore_errors=True)


def _fill(folder: Path, parts: Parts) -> None:
    for name, path in parts.graphs.items():
        shutil.copyfile(path, folder / name)
    shutil.copyfile(parts.recipe, folder / "recipe.toml")
    _write_text(folder / "report.json", as_json(parts.report))
    pictures = plots.draw(parts.report)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    listed = [name for name in _GRAPHS if name in parts.graphs]
    names = (*listed, "report.json", *pictures)
    asked = _write_manifest(folder, parts, names)
    manifest = _write_manifest(folder, parts, (*names, *_write_references(folder, asked)))
    for name, content in card_files(manifest, parts.report).items():
        _write_text(folder / name, content)


def _write_manifest(folder: Path, parts: Parts, names: Iterable[str]) -> Manifest:
    """The filled template, which lists these files of the folder."""
    files = {name: _sha256(folder / name) for name in names}
    text = template.fill(parts.template, values(parts.report, files))
    _write_text(folder / MANIFEST_NAME, text)
    return read_manifest(folder)


def as_json(report: Report) -> str:
    """The report as it is kept. Raises PackageError for a figure that is not a number."""
    try:
        return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        problem = f"the figure {_not_a_number(report)} is not a number."
        raise PackageError(at("report.json", None, problem)) from error


def _not_a_number(value: object, where: str = "") -> str:
    """The path of the first such figure."""
    if isinstance(value, dict):
        found = (_not_a_number(item, f"{where}.{name}") for name, item in value.items())
        return next((path for path in found if path), "").lstrip(".")
    if isinstance(value, list | tuple):
        found = (_not_a_number(item, f"{where}[{index}]") for index, item in enumerate(value))
        return next((path for path in found if path), "")
    return where if isinstance(value, float) and not math.isfinite(value) else ""


def _write_references(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Draw the reference pictures, write down what each graph says of them; names of the files."""
    target = (folder / CASES).parent
    target.mkdir()
    names = [name for name in (FP32, INT8) if name in manifest.files]
    sessions = {name.removesuffix(".onnx"): open_session(folder / name) for name in names}
    cases: list[dict[str, Any]] = []
    for name, shows, aspect, picture in phantom.pictures(manifest.applies_to.modalities):
        (target / name).write_bytes(_png(picture))
        image = prepare(picture, manifest.input, aspect)
        given = {
            precision: _answer(manifest, run(session, image))
            for precision, session in sessions.items()
        }
        cases.append({"image": name, "shows": shows, "pixel_aspect": aspect, "answers": given})
    tolerance = {precision: _TOLERANCE[precision] for precision in sessions}
    table = {"tolerance": tolerance, "cases": cases}
    _write_text(folder / CASES, json.dumps(table, indent=1) + "\n")
    written = (CASES.name, *(str(case["image"]) for case in cases))
    return tuple((CASES.parent / name).as_posix() for name in written)


def _answer(manifest: Manifest, outputs: dict[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
    (answer,) = answers_of(manifest, outputs)
    stated = {
        "logits": [round(value, 5) for value in answer.logits] if answer.logits else None,
        "ood_score": answer.ood_score,
        "area_fraction": answer.area_fraction,
        "mean_probability": answer.mean_probability,
    }
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in stated.items()
        if value is not None
    }


def _check(folder: Path) -> None:
    """Load it as the registry does, and ask its own reference cases."""
    try:
        package = load_package(folder)
        for precision in package.precisions:
            session = open_session(package.read(f"{precision}.onnx"))
            check_references(package, partial(run, session), precision)
    except ModelError as error:
        raise PackageError(error.sentence) from error
    if package.faults:
        raise PackageError(" ".join(package.faults.values()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    """Whole and on the disk before the folder gets its name."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _png(picture: npt.NDArray[np.uint16]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()
