"""Which model packages there are, and which of them may read a series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from models.applicability import reasons_against
from models.chains import check_chains
from models.contract import Reason, SeriesFacts
from models.errors import DuplicateModel, HashMismatch, ManifestError, ModelError, UnusableGraph
from models.graph import check_graph
from models.manifest import FP32, INT8, MANIFEST_NAME, Manifest, read_manifest

BUNDLED = Path(__file__).parent


@dataclass(frozen=True)
class ModelPackage:
    """One folder that holds a model: its manifest and the files the manifest vouches for.

    `faults` says of a graph that cannot be used why not, by file name; another graph can be.
    """

    folder: Path
    manifest: Manifest
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions there is a usable graph for: "fp32", "int8"."""
        names = (FP32, INT8)
        usable = (name for name in names if name in self.manifest.files and name not in self.faults)
        return tuple(name.removesuffix(".onnx") for name in usable)

    @property
    def may_serve_int8(self) -> bool:
        """Whether every gate of the build held for the int8 graph."""
        figures = self.manifest.precision.int8
        return figures is not None and figures.gates_held

    def sha256(self, name: str) -> str:
        """The SHA-256 (hexadecimal) of one of the package's files, as the manifest states it.

        Raises HashMismatch when the manifest does not list the file.
        """
        if name not in self.manifest.files:
            raise HashMismatch(f"The manifest of {self.manifest.id} does not list {name!r}.")
        return self.manifest.files[name]

    def read(self, name: str) -> bytes:
        """The bytes of one of the package's files. Raises HashMismatch unless they are the ones."""
        expected = self.sha256(name)
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise HashMismatch(f"{name!r} of {self.manifest.id} cannot be read.") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise HashMismatch(f"{name!r} of {self.manifest.id} is not the file that was measured.")
        return content


@dataclass(frozen=True)
class Refusal:
    """A model that may not read a series, with at least one reason."""

    model_id: str
    model_version: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Registry:
    """The packages to choose from, ordered by id and version."""

    packages: tuple[ModelPackage, ...]

    def candidates(
        self, series: SeriesFacts
    ) -> tuple[tuple[ModelPackage, ...], tuple[Refusal, ...]]:
        """The packages that may read the series, and why each of the others may not."""
        judged = [(p, reasons_against(p.manifest.applies_to, series)) for p in self.packages]
        refusals = tuple(
            Refusal(package.manifest.id, package.manifest.version, reasons)
            for package, reasons in judged
            if reasons
        )
        return tuple(package for package, reasons in judged if not reasons), refusals


def load_registry(extra: Iterable[Path] = (), *, bundled: Path = BUNDLED) -> Registry:
    """Find and verify the bundled packages and those below the `extra` folders.

    A package is a folder with a `model.toml`, either given itself or directly below a given one.
    Every listed file is hashed here and again when it is read. Raises ManifestError, HashMismatch,
    UnusableGraph, DuplicateModel: a package that is wrong is never passed over in silence.
    """
    found = [load_package(folder) for root in (bundled, *extra) for folder in _folders(root)]
    found.sort(key=lambda package: (package.manifest.id, package.manifest.version))
    names = [(package.manifest.id, package.manifest.version) for package in found]
    for name in names:
        if names.count(name) > 1:
            raise DuplicateModel(f"Two packages claim to be {name[0]} version {name[1]}.")
    check_chains([package.manifest for package in found])
    return Registry(tuple(found))


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise ManifestError(f"There is no folder of models at {root.name!r}.")
    if (root / MANIFEST_NAME).exists():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST_NAME}"))


def load_package(folder: Path) -> ModelPackage:
    """Read one package and verify its files.

    A graph that cannot be used is tolerated, and noted in `faults`, while another one may be
    served: fp32 always, int8 where its gates held. Raises ManifestError, HashMismatch,
    UnusableGraph.
    """
    package = ModelPackage(folder, read_manifest(folder))
    faults: dict[str, ModelError] = {}
    for name in package.manifest.files:
        try:
            _verify(package, name)
        except (HashMismatch, UnusableGraph) as error:
            if name not in (FP32, INT8):
                raise
            faults[name] = error
    if FP32 in faults and not (package.may_serve_int8 and INT8 not in faults):
        raise faults[FP32]
    told = MappingProxyType({name: error.sentence for name, error in faults.items()})
    return ModelPackage(folder, package.manifest, told)


def _verify(package: ModelPackage, name: str) -> None:
    content = package.read(name)
    if name.endswith(".onnx"):
        check_graph(content, f"{package.folder.name}/{name}")
