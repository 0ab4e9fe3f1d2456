"""Another archive than the sandbox's: what it holds becomes the charts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset

from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import UpstreamError
from cds_service.clients.http import HttpClient, Request
from cds_service.sandbox.catalogue import Catalogue, StoredInstance, catalogue_of
from cds_service.sandbox.holdings import StoredObject

MOST_STUDIES = 20
_SERIES_NAME = "AI "
"""How the series of our evidence begin: what else is in the archive is nobody's business here."""


class OtherArchive:
    """An archive by its DICOMweb base, read through QIDO-RS."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._archive = Archive(client.allowance, client=client)

    @property
    def catalogue(self) -> Catalogue:
        """Its first studies, headers alone.

        Raises:
            UpstreamError: it does not answer, or not with DICOM JSON.
        """
        studies = list(self._rows("studies", f"limit={MOST_STUDIES}"))[:MOST_STUDIES]
        return catalogue_of(one for study in studies for one in self._instances(study))

    def stored(self, study_uid: str) -> list[StoredObject]:
        """The evidence that it lists for a study; nothing while it does not answer."""
        try:
            listed = self._archive.series(study_uid) if study_uid else ()
        except UpstreamError:
            return []
        return [
            StoredObject(study_uid, s.series_uid, s.modality or "", s.description, s.instances or 0)
            for s in listed
            if s.description and s.description.startswith(_SERIES_NAME)
        ]

    def _instances(self, study: Dataset) -> Iterator[StoredInstance]:
        path = f"studies/{study.StudyInstanceUID}"
        series = {str(s.SeriesInstanceUID): s for s in self._rows(f"{path}/series")}
        for instance in self._rows(f"{path}/instances"):
            header = Dataset(study)
            header.update(series.get(str(instance.get("SeriesInstanceUID")), {}))
            header.update(instance)
            if header.get("SeriesInstanceUID") and header.get("SOPInstanceUID"):
                yield StoredInstance(Path(), 0, "", header)

    def _rows(self, path: str, query: str = "") -> Iterator[Dataset]:
        answer = self._client.send(
            Request("GET", path, query, headers={"Accept": "application/dicom+json"})
        )
        for row in answer.json(self._client.peer) if answer.body else ():
            yield Dataset.from_json(json.dumps(row))
