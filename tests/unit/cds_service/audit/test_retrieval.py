"""What was fetched from an archive for a study is one AuditEvent, whole or failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from cds_service.audit.retrieval import WatchedArchive
from cds_service.clients.errors import Truncated, UpstreamError
from fhir_mapping.audit_event import Audited, Interaction, audit_event
from fhir_mapping.study import StudyRef
from fhir_mapping.validation import require_valid
from models.contract import SeriesFacts

REF = StudyRef("1.2.3", "pacs", "Patient/p1", imaging_study_reference="ImagingStudy/s1")
WHO = Audited("scanhook 1", "North Hospital", "archive pacs", "pacs.example.org")


class Archive:
    """Two instances, and then perhaps the end of the connection."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks

    def series(self, study_uid: str) -> Sequence[SeriesFacts]:
        return (SeriesFacts("1.2.3.4"),)

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        yield b"1"
        if self.breaks:
            raise Truncated("The answer of pacs broke off.")
        yield b"2"


@pytest.mark.parametrize(
    ("fetches", "breaks", "code", "failed"),
    [(0, False, "query", ""), (2, False, "retrieve", ""), (1, True, "retrieve", "truncated")],
)
def test_a_study_is_one_event_however_much_of_it_is_fetched(
    fetches: int, breaks: bool, code: str, failed: str
) -> None:
    heard: list[Interaction] = []
    archive = WatchedArchive(Archive(breaks=breaks))
    archive.series("1.2.3")
    with suppress(UpstreamError):
        for _ in range(fetches):
            assert list(archive.retrieve("1.2.3", "1.2.3.4")) == [b"1", b"2"]
    archive.tell(REF, heard.append)
    about = (("ImagingStudy/s1",), "Patient/p1")
    assert heard == [Interaction(code, "ImagingStudy", *about, failed=failed)]


def test_nothing_is_told_where_nothing_was_asked() -> None:
    heard: list[Interaction] = []
    WatchedArchive(Archive()).tell(REF, heard.append)
    assert heard == []


@pytest.mark.parametrize(
    ("code", "kind", "transaction", "ours"),
    [("retrieve", "110104", "RAD-107", "110152"), ("query", "110112", "RAD-129", "110153")],
)
@pytest.mark.parametrize("failed", ["", "truncated"])
def test_the_event_has_the_codes_and_roles_of_dicom_and_is_valid_r4(
    code: str, kind: str, transaction: str, ours: str, failed: str
) -> None:
    done = Interaction(code, "ImagingStudy", ("ImagingStudy/s1",), "Patient/p1", failed=failed)
    event = audit_event(done, WHO, datetime(2026, 1, 2, tzinfo=UTC))
    require_valid({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": event}]})
    assert event["type"]["code"] == kind  # type: ignore[index]  # plain JSON
    assert event["subtype"][0]["code"] == transaction  # type: ignore[index]  # plain JSON
    assert event["outcome"] == ("8" if failed else "0")
    us = next(agent for agent in event["agent"] if agent["requestor"])  # type: ignore[attr-defined]
    assert us["type"]["coding"][0]["code"] == ours
    whom, what = event["entity"]  # type: ignore[misc]  # plain JSON
    assert (whom["what"], what["what"]) == (
        {"reference": "Patient/p1"},
        {"reference": "ImagingStudy/s1"},
    )
    assert "1.2.3" not in str(event)
