"""An EHR and an archive without sockets, over three tiny studies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from cds_service.sandbox.archive import create_archive_app
from cds_service.sandbox.catalogue import Catalogue, read_catalogue
from cds_service.sandbox.demo_studies import HEADS, head_instances
from cds_service.sandbox.holdings import Holdings
from cds_service.sandbox.phantom import Protocol, Series
from cds_service.sandbox.tokens import Tokens

SLICES = 3


@dataclass
class Clock:
    """Epoch seconds that a test moves."""

    now_s: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Folder:
    """A folder of DICOM files: three patients, one series each."""

    path: Path
    catalogue: Catalogue = field(repr=False)

    @property
    def study_uids(self) -> list[str]:
        """In the order of the folder."""
        return list(self.catalogue.studies)


def write_head(folder: Path, key: str, slices: int = SLICES) -> None:
    """A series of noise in the headers of one of the synthetic heads."""
    pixels = np.random.default_rng(1).integers(0, 900, (slices, 8, 8), np.int16)
    folder.mkdir(parents=True)
    for number, instance in enumerate(head_instances(key, Series(Protocol(size=8), pixels))):
        instance.save_as(folder / f"{number}.dcm", enforce_file_format=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("studies")
    for head in HEADS[:3]:
        write_head(path / head.key, head.key)
    (path / "README.txt").write_text("not DICOM")
    return Folder(path, read_catalogue([path]))


@pytest.fixture
def holdings(folder: Folder, tmp_path: Path) -> Holdings:
    return Holdings([folder.path], tmp_path / "stored")


@pytest.fixture
def archive(holdings: Holdings) -> Iterator[FlaskClient]:
    with create_archive_app(holdings).test_client() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)
