"""``scanhook conformance`` against services on real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jwt
import pytest
from click.testing import CliRunner, Result

from cds_service.cli import group
from cds_service.conformance.catalogue import CHECKS
from cds_service.conformance.identity import Identity
from cds_service.security.keys import load_signing_key
from tests.doubles import ehr
from tests.doubles.examined import KEY, ORIGIN
from tests.doubles.listening import listening
from tests.doubles.planted_service import PlantedService


@pytest.fixture
def planted() -> Iterator[PlantedService]:
    """A planted service that listens; its faults may be set at any time before it is asked."""
    service = PlantedService(clock=time.time)

    def application(environ: Any, start: Any) -> Any:
        return service.app(environ, start)

    with listening(application) as url:
        service.base_url = url
        yield service


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The key that the planted service knows, as a file."""
    path = tmp_path / "known.json"
    private = {**jwt.algorithms.ECAlgorithm.to_jwk(ehr.KEY, as_dict=True), "kid": ehr.KID}
    path.write_text(json.dumps(private))
    return path


def run(planted: PlantedService, *options: str | Path) -> Result:
    words = ["conformance", planted.base_url, "--issuer", ehr.ISSUER, *map(str, options)]
    return CliRunner().invoke(group, words)


def test_a_good_service_is_kept_throughout(planted: PlantedService, key: Path) -> None:
    result = run(planted, "--key", key, "--origin", ORIGIN, "--jku", ehr.JWKS_URL, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["broken"] == {"SHALL": 0, "SHOULD": 0}
    assert report["services"] == ["greeter", "helper"]
    assert len(report["findings"]) == len(CHECKS)
    assert report["requests"] < 130


def test_a_broken_shall_is_exit_1_and_stands_in_each_report(
    planted: PlantedService, key: Path, tmp_path: Path
) -> None:
    planted.faults |= {"long-summary", "no-title"}
    junit = tmp_path / "junit.xml"
    result = run(planted, "--key", key, "--only", "a62", "--only", "A03", "--junit", junit)
    assert result.exit_code == 1
    assert "summary has 140 characters" in result.stdout
    suite = ElementTree.parse(junit).getroot()[0]  # noqa: S314  our own report
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "SHALL"
    output = suite.find("testcase/system-out")
    assert output is not None
    assert "title is missing" in (output.text or "")


def test_a_broken_should_is_exit_1_when_it_is_asked_for(planted: PlantedService, key: Path) -> None:
    planted.faults |= {"no-title"}
    assert run(planted, "--key", key, "--only", "A03").exit_code == 0
    assert run(planted, "--key", key, "--only", "A03", "--strict").exit_code == 1


def test_a_service_that_does_not_know_our_key_is_exit_3_with_what_to_do(
    planted: PlantedService, tmp_path: Path
) -> None:
    made, published = tmp_path / "key.json", tmp_path / "jwks.json"
    result = run(planted, "--key", made, "--jwks-out", published, "--only", "A01")
    assert result.exit_code == 3
    assert "register the issuer https://ehr.example.org" in result.stderr
    key_set = json.loads(published.read_text())
    assert [k["kid"] for k in key_set["keys"]] == [load_signing_key(made).kid]
    assert '"d"' not in published.read_text()
    assert made.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("id_", "code", "said"),
    [
        (None, 3, "no service is known that could be called"),
        ("greet/er", 1, "greet/er: {base}/cds-services/{id}"),
        ("../x y", 1, "../x y: {base}/cds-services/{id}"),
    ],
)
def test_services_that_cannot_be_called_are_never_a_success(
    planted: PlantedService,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    id_: str | None,
    code: int,
    said: str,
) -> None:
    services = [{"id": id_, "hook": "patient-view", "description": "Greets."}] if id_ else []
    monkeypatch.setattr(PlantedService, "discover", lambda _: {"services": services})
    result = run(planted, "--key", key)
    assert result.exit_code == code
    assert said in result.output


def test_the_same_key_is_used_again(planted: PlantedService, tmp_path: Path) -> None:
    made = tmp_path / "key.json"
    run(planted, "--key", made, "--only", "A01")
    text = made.read_text()
    run(planted, "--key", made, "--only", "A01")
    assert made.read_text() == text


def test_who_listens_sees_what_the_service_fetches(planted: PlantedService, key: Path) -> None:
    planted.faults |= {"asks-any-server", "fetches-jku", "any-jku"}
    only = ("--only", "A27", "--only", "A95", "--key", key, "--json")
    report = json.loads(run(planted, *only, "--serve-jwks", "0", "--jku", ehr.JWKS_URL).stdout)
    said = {f["requirement"]: f["said"] for f in report["findings"]}
    assert "connected to a fhirServer" in said["A27"][0]
    assert "fetched the jku" in said["A95"][-1]


def test_a_prefetch_of_ones_own_and_a_fhir_server_are_sent(
    planted: PlantedService, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[Any] = []
    look_at = PlantedService.look_at

    def note(self: PlantedService, prefetch: Any, body: Any) -> None:
        bodies.append(body)
        look_at(self, prefetch, body)

    monkeypatch.setattr(PlantedService, "look_at", note)
    own, token = tmp_path / "prefetch.json", tmp_path / "token"
    own.write_text(json.dumps({"patient": {"resourceType": "Patient", "id": "p7"}}))
    token.write_text("an-access-token\n")
    chart = ("--fhir", "https://fhir.example.org/r4", "--fhir-token-file", token)
    result = run(
        planted, "--key", key, "--patient", "p7", "--prefetch", own, *chart, "--only", "A02"
    )
    assert result.exit_code == 0
    assert "an-access-token" not in result.output
    assert bodies[0]["prefetch"] == {"patient": {"resourceType": "Patient", "id": "p7"}}
    assert bodies[0]["fhirServer"] == "https://fhir.example.org/r4"
    assert bodies[0]["fhirAuthorization"]["access_token"] == "an-access-token"
    assert bodies[0]["context"]["patientId"] == "p7"


def test_nobody_there_is_exit_3() -> None:
    result = CliRunner().invoke(group, ["conformance", "http://127.0.0.1:1"])
    assert result.exit_code == 3
    assert "http://127.0.0.1:1 cannot be reached: Connection refused." in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["ftp://example.org"],
        ["https://user:secret@example.org"],
        ["https://example.org?x=1"],
        ["http://[::1"],
        ["https://example.org", "--only", "Z99"],
        ["https://example.org", "--call", "patient-view"],
        [],
    ],
)
def test_wrong_use_is_exit_2(words: list[str]) -> None:
    result = CliRunner().invoke(group, ["conformance", *words])
    assert result.exit_code == 2
    assert "secret" not in result.output


@pytest.mark.parametrize("suffix", ["", "/", "/cds-services", "/cds-services/"])
def test_the_address_may_be_that_of_discovery(
    planted: PlantedService, key: Path, suffix: str
) -> None:
    words = ["conformance", planted.base_url + suffix, "--issuer", ehr.ISSUER, "--key", str(key)]
    assert CliRunner().invoke(group, [*words, "--only", "A01"]).exit_code == 0


def test_what_a_service_says_moves_no_cursor(planted: PlantedService, key: Path) -> None:
    planted.faults |= {"control-characters"}
    result = run(planted, "--key", key, "--only", "A06", "--only", "a.4", "--quiet")
    assert "\x1b" not in result.stdout
    assert "[bold]" in result.stdout


def test_a_service_that_is_not_listed_can_be_called(planted: PlantedService, key: Path) -> None:
    planted.faults |= {"services-is-an-object"}
    only = ("--key", key, "--only", "A60", "--json")
    assert json.loads(run(planted, *only).stdout)["kept"] == 0
    report = json.loads(run(planted, *only, "--call", "patient-view=greeter").stdout)
    assert (report["services"], report["kept"]) == (["greeter"], 1)


def test_what_was_not_examined_stands_below_with_its_reason(
    planted: PlantedService, key: Path
) -> None:
    result = run(planted, "--key", key, "--only", "A49", "--only", "A90", "--quiet")
    assert "not examined, because give it --fhir: A49" in result.stdout


def test_tokens_are_not_printed_and_are_good_for_minutes() -> None:
    claims = Identity(ehr.ISSUER, KEY).claims("https://example.org")
    assert claims["exp"] - claims["iat"] == 300
    assert "private" not in repr(KEY)
