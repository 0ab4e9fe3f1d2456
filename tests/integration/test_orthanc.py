"""The archive client against Orthanc."""

from __future__ import annotations

import signal
import tarfile
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.dicomjson import is_uid
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import Incomplete, Refused
from cds_service.clients.part10 import NotDicom, NotWhole, instance_facts
from cds_service.clients.policy import HttpPolicy, RetrievalPolicy
from cds_service.security.egress import Allowance
from tests.doubles.faulty_archive import Series, make_instance
from tests.peers.orthanc import RESTART_S, Orthanc

pytestmark = pytest.mark.peer

FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom.tar"


def client(peer: Orthanc, **options: int) -> Archive:
    return Archive(
        Allowance("Orthanc", peer.base_url, http_ok=True),
        policy=HttpPolicy(silence_s=3, connect_s=1),
        retrieval=RetrievalPolicy(deadline_s=60, attempts=30, **options),
    )


@pytest.fixture(scope="module")
def held(orthanc: Orthanc) -> Series:
    """A series of 12 slices, stored."""
    series = Series.of(12, side=256, accession="A-7/2")
    orthanc.stow(series.instances.values())
    return series


@pytest.fixture
def archive(orthanc: Orthanc) -> Iterator[Archive]:
    one = client(orthanc)
    yield one
    one.close()


def test_it_answers_a_ping(archive: Archive) -> None:
    archive.ping()


def test_a_study_is_found_by_its_accession_number_and_by_its_uid(
    archive: Archive, held: Series
) -> None:
    by_number = archive.find_study(accession="A-7/2")
    by_uid = archive.find_study(study_uid=held.study_uid)
    assert [study.study_uid for study in by_number] == [held.study_uid]
    assert by_uid == by_number
    assert (by_uid[0].patient_id, by_uid[0].modalities, by_uid[0].instances) == ("P1", ("MR",), 12)


def test_what_is_not_there_is_not_found(archive: Archive) -> None:
    assert archive.find_study(accession="no such number") == ()
    assert archive.series("1.2.3.4") == ()
    with pytest.raises(Incomplete):
        list(archive.retrieve("1.2.3.4", "1.2.3.5"))


def test_the_facts_of_a_series_are_those_that_choose_a_model(
    archive: Archive, held: Series
) -> None:
    (facts,) = archive.series(held.study_uid)
    assert facts.series_uid == held.series_uid
    assert (facts.modality, facts.series_number, facts.body_part) == ("MR", 3, "BRAIN")
    assert (facts.description, facts.instances) == ("T1, ax/obl *", 12)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_series_comes_back_bit_for_bit(orthanc: Orthanc, held: Series, in_flight: int) -> None:
    one = client(orthanc, requests_in_flight=in_flight)
    got = list(one.retrieve(held.study_uid, held.series_uid))
    assert sorted(got) == sorted(held.instances.values())


def test_the_headers_of_a_series_can_be_read_alone(archive: Archive, held: Series) -> None:
    headers = archive.metadata(held.study_uid, held.series_uid)
    assert len(headers) == 12
    assert all("7FE00010" not in h or "Value" not in h["7FE00010"] for h in headers)


def test_implicit_vr_is_not_transcoded(orthanc: Orthanc, archive: Archive) -> None:
    """PS3.18 8.7.3.5.2: ``transfer-syntax=*`` asks for what is stored."""
    series = Series()
    data = make_instance(series.study_uid, series.series_uid, syntax=ImplicitVRLittleEndian)
    series.add(data)
    orthanc.stow([data])
    assert list(archive.retrieve(series.study_uid, series.series_uid)) == [data]


@pytest.mark.data
def test_real_files_of_every_transfer_syntax_come_back_whole(
    orthanc: Orthanc, archive: Archive
) -> None:
    """Compressed, deflated, multi-frame and odd files of the shared table."""
    if not FILES.exists():
        pytest.skip("the shared folder with real DICOM files is not here")
    stored = unreadable = 0
    for data in _real_files(1_000_000):
        try:
            facts = instance_facts(data)
        except NotDicom:
            continue  # no SOP Instance UID: a directory, or a fragment
        except NotWhole:
            unreadable += 1
            continue
        if not (is_uid(facts.study_uid) and is_uid(facts.series_uid)):
            continue
        try:
            orthanc.stow([data])
        except (AssertionError, urllib.error.HTTPError):
            continue  # not every odd file is stored
        stored += 1
        # files of one series may be among them
        assert data in list(archive.retrieve(facts.study_uid, facts.series_uid))
    assert stored > 100
    assert unreadable <= 1  # a file with an unclosed sequence; pydicom cannot read it either


def _real_files(cap_bytes: int) -> Iterator[bytes]:
    with tarfile.open(FILES) as files:
        for member in files:
            if member.isfile() and member.size <= cap_bytes:
                data = files.extractfile(member).read()  # type: ignore[union-attr]  # it is a file
                if data[128:132] == b"DICM" and "no_preamble" not in member.name:
                    yield data


def test_wrong_credentials_are_refused_and_right_ones_work(
    orthanc_factory: Callable[..., Orthanc],
) -> None:
    peer = orthanc_factory(users={"scanhook": "a-password"})
    base = Allowance("Orthanc", peer.base_url, http_ok=True)
    Archive(base, credential=FixedHeaders.basic("scanhook", "a-password")).ping()
    for credential in (None, FixedHeaders.basic("scanhook", "another")):
        with pytest.raises(Refused):
            Archive(base, credential=credential).ping()


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_an_archive_that_stops_in_mid_retrieval_and_comes_back_loses_nothing(
    orthanc_factory: Callable[..., Orthanc], how: signal.Signals
) -> None:
    """What came stays, what is missing is asked for again; the bytes are the same."""
    peer = orthanc_factory()
    series = Series.of(24, side=512)
    peer.stow(series.instances.values())
    retrieval = client(peer).retrieve(series.study_uid, series.series_uid)
    got = [next(retrieval) for _ in range(5)]
    back = threading.Thread(target=lambda: _stop_and_return(peer, how))
    back.start()
    time.sleep(0.2)
    got += retrieval
    back.join()
    assert sorted(got) == sorted(series.instances.values())


def _stop_and_return(peer: Orthanc, how: signal.Signals) -> None:
    if how == signal.SIGSTOP:
        peer.process.send(signal.SIGSTOP)
        time.sleep(4)  # longer than the client bears silence
        peer.process.send(signal.SIGCONT)
        return
    (peer.process.kill if how == signal.SIGKILL else peer.process.stop)()
    time.sleep(RESTART_S)
    peer.process.start()
