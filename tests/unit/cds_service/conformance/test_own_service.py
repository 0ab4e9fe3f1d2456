"""Our own service, served as in production, under the tool as anybody runs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner

from cds_service.cli import group
from cds_service.web import server
from tests.doubles import ehr
from tests.doubles.examined import ORIGIN, prefetched
from tests.doubles.hooking import Site, known, settings
from tests.doubles.listening import running
from tests.peers.process import free_port


@pytest.fixture
def at() -> Iterator[Site]:
    port = free_port()
    web, hook = {"port": port, "threads": 4}, {"cors_origins": (ORIGIN,)}
    site = Site(settings(base_url=f"http://127.0.0.1:{port}", web=web, hook=hook))
    site.now_s = time.time()
    known(site)
    with running(server(site.app, site.settings)):
        yield site


def test_a_caller_that_is_not_registered_sees_a_part_and_is_told_so(at: Site) -> None:
    """As the test plan of `scanhook register` says."""
    result = CliRunner().invoke(group, ["conformance", at.settings.base_url, "--json"])
    verdicts = [finding["verdict"] for finding in json.loads(result.stdout)["findings"]]
    assert result.exit_code == 3
    assert "little was examined" in result.stderr
    assert "broken" not in verdicts
    assert verdicts.count("not examined") > len(verdicts) / 2


def test_our_own_service_keeps_all_that_can_be_seen_from_outside(at: Site, tmp_path: Path) -> None:
    key, chart, token = tmp_path / "key.json", tmp_path / "chart.json", tmp_path / "token"
    private = jwt.algorithms.ECAlgorithm.to_jwk(ehr.KEY, as_dict=True)
    key.write_text(json.dumps({**private, "kid": ehr.KID}))
    chart.write_text(json.dumps(prefetched()))
    token.write_text("a-token")
    options = {
        "--key": key,
        "--issuer": ehr.ISSUER,
        "--jku": ehr.JWKS_URL,
        "--patient": "p1",
        "--encounter": "e1",
        "--prefetch": chart,
        "--fhir": ehr.FHIR_BASE,
        "--fhir-token-file": token,
        "--origin": ORIGIN,
        "--serve-jwks": 0,
    }
    words = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(
        group, ["conformance", at.settings.base_url, *words, "--json", "--strict"]
    )
    report: dict[str, Any] = json.loads(result.stdout)
    broken = [(f["check"], f["said"]) for f in report["findings"] if f["verdict"] == "broken"]
    left = [f["check"] for f in report["findings"] if f["verdict"] == "not examined"]
    assert broken == []
    assert left == ["the-service-is-reached-over-tls"]
    assert result.exit_code == 0
    assert len(report["services"]) == 6
