"""Whatever is sent, the hook answers with an error of its own or with cards, never with a crash."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.strict_json import DEPTH, InvalidJson, load_json
from tests.doubles.hooking import (
    ORDER_SELECT,
    PATIENT_VIEW,
    Site,
    authorization,
    order_select,
    patient_view,
    site,
)

ABUSE: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "number": b"7",
    "nested-open": b"[" * 200_000,
    "nested-objects-open": b'{"a":' * 100_000,
    "nested-balanced": b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "too-deep-by-one": b'{"a":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "long-integer": b'{"a": ' + b"9" * 100_000 + b"}",
    "integer-of-21-digits": b'{"a": 100000000000000000000}',
    "name-twice": b'{"a": 1, "a": 2}',
    "name-twice-inside": b'{"a": [{"b": 1, "\\u0062": 2}]}',
    "lone-surrogate": b'{"a": "\\ud800"}',
    "lone-low-surrogate": b'{"a": "\\udc00x"}',
    "lone-surrogate-in-a-name": b'{"\\ud800": 1}',
    "surrogates-turned-round": b'{"a": "\\udc00\\ud800"}',
    "bad-utf8": b'{"a": "\xff"}',
    "utf16": '{"a": 1}'.encode("utf-16"),
    "bom": b'\xef\xbb\xbf{"a": 1}',
    "trailing-comma": b'{"a": 1,}',
    "comment": b'{"a": 1} // x',
    "two-objects": b'{"a": 1}{"b": 2}',
    "control-character": b'{"a": "\x00"}',
    "single-quotes": b"{'a': 1}",
    "unfinished-string": b'{"a": "' + b'\\"' * 100_000,
    "quotes": b'{"a' + b'"' * 100_001,
    "backslashes": b'{"a": "' + b"\\" * 100_001,
}


@pytest.mark.parametrize("kind", ABUSE)
def test_json_abuse_is_one_error_and_quick(kind: str) -> None:
    started = time.thread_time()
    with pytest.raises(InvalidJson):
        load_json(ABUSE[kind])
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("kind", ["nested-open", "nan", "lone-surrogate", "empty", "null"])
def test_json_abuse_is_400(kind: str) -> None:
    at = site()
    headers = at.ehr.bearer(PATIENT_VIEW) | {"Content-Type": "application/json"}
    answer = at.client().post(PATIENT_VIEW, data=ABUSE[kind], headers=headers)
    assert answer.status_code == 400
    assert answer.get_json()["resourceType"] == "OperationOutcome"


def test_a_megabyte_of_json_is_read_in_well_under_a_second() -> None:
    body = json.dumps({"a": [{"b": 'x"y\\', "c": [1, 2]}] * 20_000}).encode()
    started = time.thread_time()
    load_json(body)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "value", [{"a": "\U0001f600"}, {"a": [[["x"]]], "b": {"": None}}, {"a": 1.5e300, "b": -0.0}]
)
def test_good_json_is_read_as_it_is(value: Any) -> None:
    assert load_json(json.dumps(value).encode()) == value


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)

GATES = ("https://evil.example", "ImagingStudy", "Bundle", "Patient/p1", "1.2.3", "available", "")


def bodies() -> tuple[dict[str, Any], dict[str, Any]]:
    full = patient_view(
        fhirServer="https://ehr.example.org/fhir", fhirAuthorization=authorization()
    )
    study = full["prefetch"]["studies"]["entry"][0]["resource"]
    study |= {
        "endpoint": [{"reference": "Endpoint/e1"}, {"reference": "#c"}],
        "contained": [{"resourceType": "Endpoint", "id": "c", "status": "active"}],
        "series": [{"uid": "1.2.3.4", "modality": {"code": "MR"}, "numberOfInstances": 24}],
        "basedOn": [{"reference": "ServiceRequest/1", "identifier": {"value": "A1"}}],
    }
    return full, order_select(prefetch=full["prefetch"])


def paths_of(value: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [()]
    for path in found:
        inner = value
        for name in path:
            inner = inner[name]
        if isinstance(inner, dict | list):
            names = list(inner) if isinstance(inner, dict) else range(len(inner))
            found += [(*path, name) for name in names]
    return found[1:]


def mutant(body: dict[str, Any], draw: random.Random, value: Any) -> dict[str, Any]:
    """The body with one to three places removed or replaced.

    Each place gets a copy of its own: a value planted into itself would have no end.
    """
    changed = copy.deepcopy(body)
    for _ in range(draw.randint(1, 3)):
        path = draw.choice(paths_of(changed) or [("x",)])
        holder = changed
        for name in path[:-1]:
            holder = holder[name]
        if draw.random() < 0.3:
            holder.pop(path[-1], None) if isinstance(holder, dict) else holder.clear()
        else:
            holder[path[-1]] = copy.deepcopy(draw.choice([value, *GATES]))
    return changed


def send(at: Site, client: Any, path: str, body: Any) -> int:
    answer = client.post(path, json=body, headers=at.ehr.bearer(path))
    assert answer.mimetype == "application/json"
    assert "Traceback" not in answer.get_data(as_text=True)
    return int(answer.status_code)


AT = site()
CLIENT = AT.client()


@given(st.randoms(use_true_random=False), json_values, st.sampled_from([0, 1]))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_mutant_of_a_call_is_answered_with_a_server_error(
    draw: random.Random, value: Any, which: int
) -> None:
    path = (PATIENT_VIEW, ORDER_SELECT)[which]
    assert send(AT, CLIENT, path, mutant(bodies()[which], draw, value)) < 500


@given(json_values)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_feedback_is_answered_with_a_server_error(value: Any) -> None:
    path = f"{PATIENT_VIEW}/feedback"
    for body in (value, {"feedback": value}, {"feedback": [value]}):
        assert send(AT, CLIENT, path, body) < 500
