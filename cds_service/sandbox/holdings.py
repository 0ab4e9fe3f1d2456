"""What the demo archive holds: the files it was given, and what is stored into it meanwhile."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cds_service.sandbox.catalogue import Catalogue, catalogue_of, read_catalogue, stored_instance


@dataclass(frozen=True)
class StoredObject:
    """One series that was stored into an archive; what an archive does not tell is empty or 0.

    `at_s` is epoch seconds, `size_bytes` of all its instances.
    """

    study_uid: str
    series_uid: str
    modality: str
    description: str
    instances: int
    at_s: float = 0
    size_bytes: int = 0


class Holdings:
    """The archive's instances. Safe to use from several threads.

    Args:
        folders: what is held from the beginning; nothing is ever written there.
        own: where stored instances are kept. A folder with some already is taken up again.
    """

    def __init__(self, folders: Sequence[Path], own: Path) -> None:
        own.mkdir(parents=True, exist_ok=True)
        self._own = own
        self._catalogue = read_catalogue([*folders, own])
        self._lock = threading.Lock()

    @property
    def catalogue(self) -> Catalogue:
        """What is held now."""
        with self._lock:
            return self._catalogue

    def put(self, sop_instance_uid: str, data: bytes) -> bool:
        """Keep a whole Part 10 file; ``False`` if other bytes are held under the same UID.

        The same bytes again change nothing.
        """
        with self._lock:
            held = list(chain.from_iterable(s.instances for s in self._catalogue.studies.values()))
            for instance in held:
                if instance.sop_instance_uid == sop_instance_uid:
                    return instance.path.read_bytes() == data
            name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
            half, path = self._own / f".{name}", self._own / f"{name}.dcm"
            half.write_bytes(data)
            half.replace(path)
            new = stored_instance(path)
            self._catalogue = catalogue_of([*held, *([new] if new is not None else [])])
            return new is not None

    def stored(self, study_uid: str) -> list[StoredObject]:
        """The series of a study that were stored, as opposed to held from the beginning."""
        study = self.catalogue.studies.get(study_uid)
        found = []
        for series in study.series if study else ():
            own = [one for one in series.instances if one.path.parent == self._own]
            if own:
                found.append(
                    StoredObject(
                        study_uid,
                        series.series_uid,
                        str(own[0].header.get("Modality", "")),
                        str(own[0].header.get("SeriesDescription", "")),
                        len(own),
                        max(one.path.stat().st_mtime for one in own),
                        sum(one.size_bytes for one in own),
                    )
                )
        return found
