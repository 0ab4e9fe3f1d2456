"""The archive client against tiny-pacs: bearer tokens, 204, 406, no metadata."""

from __future__ import annotations

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import Incomplete, Refused
from cds_service.clients.policy import RetrievalPolicy
from cds_service.clients.quirks import QUIRKS
from cds_service.security.egress import Allowance
from tests.doubles.faulty_archive import Series, make_instance
from tests.peers.tiny_pacs import TinyPacs

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def held(tiny_pacs: TinyPacs) -> Series:
    series = Series.of(7, side=128, accession="A77")
    tiny_pacs.stow(series.instances.values())
    return series


def client(peer: TinyPacs, quirk: str = "standard", **options: int) -> Archive:
    return Archive(
        Allowance("tiny-pacs", peer.base_url, http_ok=True),
        credential=FixedHeaders.bearer(peer.token or ""),
        retrieval=RetrievalPolicy(**options),
        quirk=QUIRKS[quirk],
    )


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("quirk", ["standard", "tiny-pacs"])
def test_a_series_comes_back_bit_for_bit(
    tiny_pacs: TinyPacs, held: Series, quirk: str, in_flight: int
) -> None:
    """Told of its quirk or not: an Accept that it answers with 406 is not sent twice."""
    one = client(tiny_pacs, quirk, requests_in_flight=in_flight)
    got = list(one.retrieve(held.study_uid, held.series_uid))
    assert sorted(got) == sorted(held.instances.values())


def test_the_facts_of_a_series_are_completed_from_its_instances(
    tiny_pacs: TinyPacs, held: Series
) -> None:
    (facts,) = client(tiny_pacs).series(held.study_uid)
    assert (facts.series_uid, facts.modality, facts.instances) == (held.series_uid, "MR", 7)


def test_a_study_is_found_by_its_accession_number(tiny_pacs: TinyPacs, held: Series) -> None:
    (study,) = client(tiny_pacs).find_study(accession="A77")
    assert study.study_uid == held.study_uid


def test_an_empty_list_is_204_and_means_that_there_is_nothing(tiny_pacs: TinyPacs) -> None:
    one = client(tiny_pacs)
    one.ping()
    assert one.find_study(accession="none") == ()
    with pytest.raises(Incomplete):
        list(one.retrieve("1.2.3.4", "1.2.3.5"))


def test_implicit_vr_comes_as_it_is_stored(tiny_pacs: TinyPacs) -> None:
    series = Series()
    data = make_instance(series.study_uid, series.series_uid, syntax=ImplicitVRLittleEndian)
    tiny_pacs.stow([data])
    assert list(client(tiny_pacs).retrieve(series.study_uid, series.series_uid)) == [data]


def test_without_its_token_it_refuses(tiny_pacs: TinyPacs) -> None:
    with pytest.raises(Refused):
        Archive(Allowance("tiny-pacs", tiny_pacs.base_url, http_ok=True)).ping()
