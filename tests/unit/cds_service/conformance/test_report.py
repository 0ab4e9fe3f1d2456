"""Reports for machines: whatever a service says, they can be read."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from cds_service.conformance.catalogue import CHECKS
from cds_service.conformance.findings import Finding, Verdict
from cds_service.conformance.report import as_json, as_junit, counts, fails
from tests.doubles.examined import examination
from tests.doubles.hooking import site

SHALL = next(check for check in CHECKS if check.level == "SHALL")
SHOULD = next(check for check in CHECKS if check.level == "SHOULD")


@pytest.mark.parametrize("said", ["\x00\x1b[2J", "]]>&<\"'", "\ud800", "\uffff", "\n\t"])
def test_whatever_was_said_is_xml_and_json(said: str) -> None:
    findings = [
        Finding(SHALL, Verdict.BROKEN, (said,)),
        Finding(SHOULD, Verdict.BROKEN, (said,)),
        Finding(SHALL, Verdict.NOT_EXAMINED, (said,)),
    ]
    exam = examination(site())
    suite = ElementTree.fromstring(as_junit(exam, findings))[0]  # noqa: S314  our own report
    assert [len(case) for case in suite] == [1, 1, 1]
    assert [case[0].tag for case in suite] == ["failure", "system-out", "skipped"]
    assert json.loads(json.dumps(as_json(exam, findings)))["broken"] == {"SHALL": 1, "SHOULD": 1}


def test_a_should_fails_only_where_it_is_asked_for() -> None:
    findings = [Finding(SHOULD, Verdict.BROKEN, ("x",)), Finding(SHALL, Verdict.KEPT)]
    assert (fails(findings), fails(findings, strict=True)) == (False, True)
    assert counts(findings) == {"kept": 1, "SHALL": 0, "SHOULD": 1, "not examined": 0}
