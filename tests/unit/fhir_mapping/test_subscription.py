"""The Subscription that we ask for, plain and of a topic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.subscription import Subscription

from fhir_mapping.subscription import Wanted, is_ours, still_good, subscription

PLAIN = Wanted(
    endpoint="https://ai.test/notifications/fhir/north",
    header="Authorization: Bearer secret",
    criteria="ImagingStudy?status=available",
    end="2026-12-31T00:00:00Z",
)
TOPICAL = replace(
    PLAIN, criteria="https://ehr.test/topic", topic=True, filters=("ImagingStudy?status=available",)
)


@pytest.mark.parametrize("wanted", [PLAIN, TOPICAL, replace(TOPICAL, heartbeat_s=60, filters=())])
def test_it_is_a_subscription_of_r4(wanted: Wanted) -> None:
    made = subscription(wanted)
    assert Subscription.model_validate(made)
    assert "secret" not in str(made["channel"]["endpoint"])  # type: ignore[index]  # a channel


@pytest.mark.parametrize(("payload", "asked"), [("empty", False), ("full-resource", True)])
def test_a_plain_one_has_a_payload_only_if_it_is_wanted(payload: str, asked: bool) -> None:
    channel: Any = subscription(replace(PLAIN, payload=payload))["channel"]
    assert ("payload" in channel) is asked


@pytest.mark.parametrize("wanted", [PLAIN, TOPICAL])
def test_one_that_works_is_left_as_it_is_until_it_ends_soon(wanted: Wanted) -> None:
    made = {**subscription(wanted, "active"), "id": "7"}
    assert is_ours(made, wanted.endpoint)
    assert not is_ours(made, wanted.endpoint + "2")
    assert still_good(made, wanted, "2026-12-01T00:00:00Z")
    assert not still_good(made, wanted, wanted.end)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "error"},
        {"status": "off"},
        {"criteria": "Patient?"},
        {"channel": {"type": "rest-hook"}},
        {"end": None},
        {"_criteria": {"extension": []}},
    ],
    ids=str,
)
def test_one_that_is_another_is_written_again(changed: dict[str, Any]) -> None:
    made = {**subscription(TOPICAL, "active"), **changed}
    assert not still_good(made, TOPICAL, "2026-12-01T00:00:00Z")
