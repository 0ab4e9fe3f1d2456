"""What was found, for machines: one JSON object, or JUnit XML for a build server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree  # nosec: written, never parsed

from cds_service.conformance.examination import Examination, NotApplicable
from cds_service.conformance.findings import Finding, Verdict

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, production 2: no other characters may stand in a document."""


def fails(findings: Sequence[Finding], *, strict: bool = False) -> bool:
    """Whether a SHALL is broken; `strict` counts a SHOULD as well."""
    return any(f.fails or (strict and f.verdict is Verdict.BROKEN) for f in findings)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many checks were kept, broken by level, and not examined."""
    counted = Counter(_word(finding) for finding in findings)
    return {word: counted[word] for word in ("kept", "SHALL", "SHOULD", "not examined")}


def _word(finding: Finding) -> str:
    broken = finding.verdict is Verdict.BROKEN
    return finding.check.level if broken else str(finding.verdict)


def as_json(exam: Examination, findings: Sequence[Finding]) -> dict[str, Any]:
    """The whole report as JSON values."""
    counted = counts(findings)
    return {
        "service": exam.base_url,
        "services": _services(exam),
        "requests": exam.requests,
        "kept": counted["kept"],
        "broken": {level: counted[level] for level in ("SHALL", "SHOULD")},
        "not_examined": counted["not examined"],
        "findings": [
            {
                "requirement": finding.check.id,
                "check": finding.check.name,
                "level": finding.check.level,
                "sentence": finding.check.sentence,
                "clause": finding.check.clause,
                "verdict": str(finding.verdict),
                "said": list(finding.sentences),
                "took_ms": round(finding.took_ms, 1),
            }
            for finding in findings
        ],
    }


def _services(exam: Examination) -> list[str]:
    try:
        return [str(service["id"]) for service in exam.services]
    except NotApplicable:
        return []


def as_junit(exam: Examination, findings: Sequence[Finding], *, strict: bool = False) -> bytes:
    """One test case for each check; what does not fail the run is said as output of its case."""
    failing = [finding for finding in findings if fails([finding], strict=strict)]
    skipped = [f for f in findings if f.verdict is Verdict.NOT_EXAMINED]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(f"CDS Hooks conformance of {exam.base_url}"),
        tests=str(len(findings)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len(skipped)),
        time=f"{sum(f.took_ms for f in findings) / 1e3:.3f}",
    )
    for finding in findings:
        _case(suite, finding, failed=finding in failing)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _case(suite: ElementTree.Element, finding: Finding, *, failed: bool) -> None:
    check, said = finding.check, _xml("\n".join(finding.sentences))
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_xml(f"cds-hooks.{check.id}"),
        name=_xml(f"{check.name}: {check.sentence}"),
        time=f"{finding.took_ms / 1e3:.3f}",
    )
    if failed:
        failure = ElementTree.SubElement(case, "failure", message=said, type=check.level)
        failure.text = f"{said}\n{check.clause}"
    elif finding.verdict is Verdict.NOT_EXAMINED:
        ElementTree.SubElement(case, "skipped", message=said)
    elif said:
        ElementTree.SubElement(case, "system-out").text = f"{check.level}: {said}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
