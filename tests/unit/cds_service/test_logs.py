"""What is not on the list is not written, whoever logs it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from cds_service.logs import configure
from tests.doubles.hooking import PATIENT_VIEW, Site, authorization, bundle, imaging_study, site
from tests.doubles.hooking import patient_view as call_body

CANARY = "Canary-7391"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = list(root.handlers), root.level, logging.raiseExceptions
    written = io.StringIO()
    configure("DEBUG", written)
    yield written
    logging.captureWarnings(capture=False)
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("name", ["rq.worker", "waitress", "urllib3.connectionpool", "werkzeug"])
def test_of_other_peoples_loggers_only_the_kind_is_kept(name: str, stream: io.StringIO) -> None:
    logger = logging.getLogger(name)
    logger.addHandler(logging.StreamHandler(stream))
    configure("DEBUG", stream)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("job %s failed: %s", CANARY, CANARY, extra={"study": CANARY})
    (line,) = lines(stream)
    assert set(line) == {"time", "level", "logger", "exception"}
    assert line["exception"] == "ValueError"


def test_of_ours_the_sentence_and_the_fields_of_the_list_are_kept(stream: io.StringIO) -> None:
    extra = {"kind": "timeout", "study": "5d5d", "duration_ms": 1.5, "patient": CANARY}
    logging.getLogger("cds_service.x").info("study left out: %s", CANARY, extra=extra)
    (line,) = lines(stream)
    assert line["event"] == "study left out: %s"
    assert (line["kind"], line["study"], line["duration_ms"]) == ("timeout", "5d5d", 1.5)
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize(
    "value", [f"<{CANARY}>", f"{CANARY}^JANE", {"a": CANARY}, [f"{CANARY}^X"], "x" * 500, "a\nb"]
)
def test_a_value_that_is_no_word_is_not_written(value: Any, stream: io.StringIO) -> None:
    logging.getLogger("cds_service.x").info("x", extra={"kind": value})
    (line,) = lines(stream)
    assert CANARY not in str(line.get("kind"))


def test_a_sentence_with_something_odd_in_it_is_not_written(stream: io.StringIO) -> None:
    for sentence in (f"read ^{CANARY}", f"{CANARY}\n{{}}", 7, "x" * 200):
        logging.getLogger("cds_service.x").info(sentence)
    assert [line["event"] for line in lines(stream)] == ["?"] * 4


def test_warnings_are_lines_too(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, stacklevel=1)
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]
    assert CANARY not in stream.getvalue()


def canary_body() -> dict[str, Any]:
    study = imaging_study(
        patient=CANARY, description=CANARY, identifier=[{"system": CANARY, "value": CANARY}]
    )
    named = {"resourceType": "Patient", "id": CANARY, "name": [{"family": CANARY}]}
    body = call_body(
        prefetch={"patient": named, "studies": bundle(study, imaging_study(patient=CANARY))},
        fhirServer="https://ehr.example.org/fhir",
        fhirAuthorization=authorization(access_token=CANARY, subject=CANARY, patient=CANARY),
    )
    body["context"] = {"userId": f"Practitioner/{CANARY}", "patientId": CANARY}
    return body


def test_a_call_leaves_no_trace_of_its_patient_or_token(stream: io.StringIO) -> None:
    at: Site = site()
    client = at.client()
    answers = [
        client.post(PATIENT_VIEW, json=body, headers=headers)
        for body in (canary_body(), canary_body() | {"hookInstance": CANARY}, {"hook": CANARY})
        for headers in (at.ehr.bearer(PATIENT_VIEW), {"Authorization": f"Bearer {CANARY}"})
    ]
    assert {answer.status_code for answer in answers} == {200, 400, 401}
    assert lines(stream)
    assert CANARY not in stream.getvalue()
    assert CANARY not in str(at.redis.values) + str(at.queue.records)
    assert CANARY not in "".join(answer.get_data(as_text=True) for answer in answers)
    assert CANARY not in client.get("/metrics").get_data(as_text=True)


def test_each_call_has_one_line_by_which_it_can_be_settled(stream: io.StringIO) -> None:
    at = site()
    answer = at.client().post(PATIENT_VIEW, json=call_body(), headers=at.ehr.bearer(PATIENT_VIEW))
    (line,) = [line for line in lines(stream) if line.get("event") == "hook answered"]
    assert line["hook_instance"] == call_body()["hookInstance"]
    assert line["cards"] == answer.get_json()["cards"][0]["uuid"]
    assert (line["tenant"], line["state"]) == ("ehr", "received")
