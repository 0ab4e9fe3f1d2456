"""The sandbox over real sockets: our own clients on one side, a strange one on the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.credentials import FixedHeaders
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import Refused, UpstreamError
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import HttpClient
from cds_service.clients.part10 import instance_facts
from cds_service.clients.policy import HttpPolicy
from cds_service.clients.stow import Said, StowService, ToStore
from cds_service.sandbox import Sandbox, SandboxPlan, serve, walk
from cds_service.sandbox.demo_studies import HEADS, uid
from cds_service.sandbox.walk import SandboxUnreachable
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.keys import SigningKey, generate_signing_key, public_jwks
from tests.doubles.cds_service import CdsServiceDouble
from tests.unit.cds_service.sandbox.conftest import write_head

TOKEN = "the archive's own token"
SCOPES = ("system/DiagnosticReport.crus", "system/Observation.crus", "system/Patient.rs")
STATES = ("received", "inferring", "final")


class Analysing:
    """Answers each patient's hooks with one state after another, then with a result for good."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        patient = body["prefetch"]["patient"]
        calls = self.seen[patient["id"]] = self.seen.get(patient["id"], -1) + 1
        state = STATES[min(calls, len(STATES) - 1)]
        given = " ".join(patient["name"][0]["given"])
        outcome, label = ("finding", "meningioma") if "Ben" in given else ("indeterminate", None)
        return {"cards": [_card(state, outcome, label)]}


def _card(state: str, outcome: str, label: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"state": state}
    if state == "final":
        said |= {"outcome": outcome, "model": "m", "version": "1", "steps_ms": {"infer": 1.5}}
        said |= {"label": label, "probability": 0.97} if label else {}
    return {
        "uuid": f"card-{state}",
        "summary": f"{state} {outcome}",
        "indicator": "info",
        "source": {"label": "double"},
        "links": [{"label": "Why", "url": "https://scanhook.test/e", "type": "absolute"}],
        "overrideReasons": [{"system": "urn:r", "code": "disagree", "display": "I disagree"}],
        "extension": {"org.scanhook.result": said},
    }


@pytest.fixture(scope="module")
def own_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return generate_signing_key(tmp_path_factory.mktemp("keys") / "scanhook.json")


@pytest.fixture
def service(own_key: SigningKey) -> Iterator[CdsServiceDouble]:
    with CdsServiceDouble(own_key) as double:
        yield double


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the demo writes, with noise instead of drawings: drawing has its own tests."""
    folder = tmp_path_factory.mktemp("state") / "studies"
    for head in HEADS:
        write_head(folder / head.key, head.key)
    return folder


@pytest.fixture
def sandbox(service: CdsServiceDouble, heads: Path, tmp_path: Path) -> Iterator[Sandbox]:
    shutil.copytree(heads, tmp_path / "studies")
    plan = SandboxPlan(service.base_url, tmp_path, archive_token=TOKEN)
    with serve(plan) as running:
        service.caller_keys = lambda: requests.get(running.jwks_url, timeout=5).json()
        yield running


def archive_of(sandbox: Sandbox, token: str = TOKEN) -> Archive:
    allowance = Allowance("sandbox", sandbox.archive_url, http_ok=True)
    return Archive(allowance, credential=FixedHeaders({"Authorization": f"Bearer {token}"}))


def fhir_of(sandbox: Sandbox, key: SigningKey) -> FhirServer:
    base = Allowance("sandbox", sandbox.fhir_url, http_ok=True)
    found_at = Allowance("sandbox token", f"{sandbox.ehr_url}/auth", http_ok=True)
    allowed = AllowList((base, found_at))
    return FhirServer(
        base, credential=BackendServices(base, allowed, "scanhook", lambda: key, SCOPES)
    )


def test_our_archive_client_fetches_a_whole_series(sandbox: Sandbox) -> None:
    archive = archive_of(sandbox)
    study_uid = uid("head-plain", "study")
    (series,) = archive.series(study_uid)
    instances = list(archive.retrieve(study_uid, series.series_uid))
    assert len(instances) == series.instances == 3
    stored = {path.read_bytes() for study in sandbox.demo for path in study.files}
    assert set(instances) <= stored
    archive.close()


def test_the_archive_asks_for_its_token(sandbox: Sandbox) -> None:
    with pytest.raises(Refused):
        archive_of(sandbox, "wrong").series(uid("head-plain", "study"))


def test_a_strange_dicomweb_client_finds_and_fetches(sandbox: Sandbox) -> None:
    dicomweb = pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
    client = dicomweb.DICOMwebClient(
        url=sandbox.archive_url, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    (study,) = client.search_for_studies(search_filters={"PatientID": "SANDBOX-004"})
    study_uid = study["0020000D"]["Value"][0]
    assert study_uid == uid("head-plain", "study")
    (series,) = client.search_for_series(study_uid)
    fetched = client.retrieve_series(study_uid, series["0020000E"]["Value"][0])
    assert [int(one.InstanceNumber) for one in fetched] == [1, 2, 3]
    assert len(client.retrieve_study_metadata(study_uid)) == 3


def test_our_fhir_client_reads_and_writes_with_a_signed_assertion(
    sandbox: Sandbox, own_key: SigningKey
) -> None:
    fhir = fhir_of(sandbox, own_key)
    patients = list(fhir.search("Patient", {"_count": "2"}))
    assert len(patients) >= len(HEADS)
    report = {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "identifier": [{"system": "urn:scanhook", "value": "r1"}],
        "code": {"text": "report"},
        "subject": {"reference": f"Patient/{patients[0]['id']}"},
    }
    entry = {
        "fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
        "resource": report,
        "request": {"method": "PUT", "url": "DiagnosticReport?identifier=urn:scanhook|r1"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    first, second = (fhir.transact(bundle).entries[0] for _ in range(2))
    assert (first.created, second.created) == (True, False)
    assert first.reference == second.reference
    (found,) = fhir.search("DiagnosticReport", {"identifier": "urn:scanhook|r1"})
    assert found["meta"]["versionId"] == "1"
    with pytest.raises(UpstreamError):
        list(fhir.search("ImagingStudy", {}))
    fhir.close()


def test_another_key_gets_no_token(sandbox: Sandbox, tmp_path: Path) -> None:
    stranger = generate_signing_key(tmp_path / "stranger.json")
    with pytest.raises(UpstreamError):
        fhir_of(sandbox, stranger).read("Patient/x")


def test_a_key_may_be_rotated_while_the_sandbox_runs(
    sandbox: Sandbox, service: CdsServiceDouble, own_key: SigningKey, tmp_path: Path
) -> None:
    new = generate_signing_key(tmp_path / "new.json")
    published = requests.get(f"{service.base_url}/.well-known/jwks.json", timeout=5).json()
    assert published == public_jwks([own_key])
    service.own_key = new
    assert list(fhir_of(sandbox, new).search("Patient", {}))


def test_a_walk_waits_for_every_study_and_knows_what_is_right(
    sandbox: Sandbox, service: CdsServiceDouble
) -> None:
    service.answer = Analysing()
    rows = {row.study: row for row in walk(sandbox.ehr_url, 60, pause_s=0.01).rows}
    assert len(rows) == len(sandbox.demo)
    meningioma = rows["head-meningioma"]
    assert (meningioma.state, meningioma.outcome) == ("final", "finding")
    assert (meningioma.label, meningioma.probability) == ("meningioma", 0.97)
    assert meningioma.steps_ms == {"infer": 1.5}
    assert meningioma.links == {"Why": "https://scanhook.test/e"}
    assert meningioma.as_expected
    assert rows["head-plain"].as_expected
    assert not rows["ct-small"].as_expected  # a model that answers on a CT image is wrong


@pytest.mark.parametrize(
    ("label", "right"), [("meningioma", True), ("glioma", False), ("pituitary", False)]
)
def test_a_finding_of_another_kind_is_not_as_expected(
    sandbox: Sandbox, service: CdsServiceDouble, label: str, right: bool
) -> None:
    service.answer = lambda _: {"cards": [_card("final", "finding", label)]}
    rows = {row.study: row for row in walk(sandbox.ehr_url, 60, pause_s=0.01).rows}
    assert rows["head-meningioma"].as_expected is right
    assert not rows["head-plain"].as_expected


def test_a_walk_ends_when_its_time_is_over(sandbox: Sandbox, service: CdsServiceDouble) -> None:
    service.answer = lambda _: {"cards": [_card("inferring", "", None)]}
    walked = walk(sandbox.ehr_url, 0.2, pause_s=0.05)
    assert {row.state for row in walked.rows} == {"inferring"}
    assert not walked.all_as_expected


def test_a_walk_tells_silence_from_an_answer(sandbox: Sandbox, service: CdsServiceDouble) -> None:
    service.answer = lambda _: ("", 500)
    assert {row.outcome for row in walk(sandbox.ehr_url, 5).rows} == {"unreachable"}
    service.answer = lambda _: {"cards": []}
    assert {row.outcome for row in walk(sandbox.ehr_url, 5).rows} == {"no-card"}


def test_a_walk_through_a_sandbox_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SandboxUnreachable):
        walk("http://127.0.0.1:1", 1)


def test_ones_own_studies_become_patients_and_keep_the_ehrs_key(
    service: CdsServiceDouble, heads: Path, tmp_path: Path
) -> None:
    plan = SandboxPlan(service.base_url, tmp_path / "state", heads, with_demo=False)
    with serve(plan) as first:
        keys = requests.get(first.jwks_url, timeout=5).json()
        studies = requests.get(f"{first.ehr_url}/sandbox/studies", timeout=5).json()
    assert {study["description"] for study in studies} == {"MR head with contrast (synthetic)"}
    assert all("expected" not in study for study in studies)
    with serve(plan) as second:
        assert requests.get(second.jwks_url, timeout=5).json() == keys


def test_the_archive_keeps_what_our_client_stores(sandbox: Sandbox, tmp_path: Path) -> None:
    write_head(tmp_path / "new", "head-plain", slices=1)
    data = next((tmp_path / "new").iterdir()).read_bytes()
    name = instance_facts(data).sop_instance_uid
    changed = data[:-1] + bytes([data[-1] ^ 1])
    allowance = Allowance("sandbox", sandbox.archive_url, http_ok=True)
    bearer = FixedHeaders.bearer(TOKEN)
    stow = StowService(HttpClient(allowance, credential=bearer, policy=HttpPolicy()))
    study = uid("head-plain", "study")
    known = stow.store(study, [ToStore(name, data)])
    other = stow.store(study, [ToStore(name, changed)])
    stow.close()
    assert {known[name].said, other[name].said} <= {Said.STORED, Said.DUPLICATE}
    assert other[name].said is Said.DUPLICATE


def test_the_charts_may_be_those_of_another_archive(
    sandbox: Sandbox, service: CdsServiceDouble, tmp_path: Path
) -> None:
    """The first sandbox is the other one: its archive is read over HTTP."""
    plan = SandboxPlan(
        service.base_url,
        tmp_path / "second",
        with_demo=False,
        archive_token=TOKEN,
        other_archive=sandbox.archive_url,
    )
    service.caller_keys = None
    with serve(plan) as second:
        assert second.archive_url == sandbox.archive_url
        studies = _studies(second)
        assert studies == {(s["name"], s["description"]) for s in _asked(sandbox)}
        patient = _asked(second)[0]["patient"]
        opened = requests.post(f"{second.ehr_url}/sandbox/open/{patient}", timeout=20).json()
        assert opened["status"] == 200


def _asked(sandbox: Sandbox) -> list[dict[str, Any]]:
    found = requests.get(f"{sandbox.ehr_url}/sandbox/studies", timeout=20)
    assert found.status_code == 200
    rows: list[dict[str, Any]] = found.json()
    return rows


def _studies(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(row["name"], row["description"]) for row in _asked(sandbox)}
