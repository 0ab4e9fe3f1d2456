"""Which models answer: a kill switch and a tenant's choice, from the settings to the version."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.model_choice import served_models, unfit
from cds_service.queue import web_connection
from cds_service.settings import TenantSettings
from cds_service.switches import DISABLED, ModelSwitches
from models.registry import load_registry
from tests.doubles import ehr

PACKAGES = load_registry().packages
IDS = frozenset(package.manifest.id for package in PACKAGES)
BRAIN = "brain-mri-tumour"


def tenant(**changes: Any) -> TenantSettings:
    return TenantSettings.model_validate({**ehr.tenant().model_dump(), **changes})


def test_a_site_without_choices_has_one_version_for_all() -> None:
    everything = served_models(PACKAGES)
    assert everything.ids == IDS
    assert everything.withheld == frozenset()
    assert served_models(PACKAGES, tenant()).version == everything.version


@pytest.mark.parametrize(
    ("changes", "disabled"),
    [
        ({"models": (BRAIN,)}, ()),
        ({"thresholds": {BRAIN: {"glioma": 0.95}}}, ()),
        ({"thresholds": {BRAIN: {"glioma": 0.96}}}, ()),
        ({}, (BRAIN,)),
        ({"models": (BRAIN,)}, (BRAIN,)),
    ],
)
def test_every_choice_has_a_version_of_its_own(
    changes: dict[str, Any], disabled: tuple[str, ...]
) -> None:
    chosen = served_models(PACKAGES, tenant(**changes), disabled)
    assert chosen.version != served_models(PACKAGES).version
    assert chosen.ids | chosen.withheld == IDS
    assert chosen.ids.isdisjoint(chosen.withheld)


def test_what_is_switched_off_is_told_of_and_what_was_never_chosen_is_not() -> None:
    chosen = served_models(PACKAGES, tenant(models=(BRAIN,)), IDS)
    (told,) = chosen.disabled
    assert told.model_id == BRAIN
    assert told.reasons[0].sentence.endswith("is switched off.")
    assert chosen.withheld == IDS


def test_a_threshold_of_a_model_that_is_off_changes_no_version() -> None:
    strict = tenant(thresholds={BRAIN: {"glioma": 0.95}})
    off = served_models(PACKAGES, strict, {BRAIN}).version
    assert off == served_models(PACKAGES, tenant(), {BRAIN}).version


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ("never-there",)}, "there is no model never-there"),
        ({"thresholds": {"never-there": {"x": 0.9}}}, "there is no model never-there"),
        ({"thresholds": {BRAIN: {"never": 0.9}}}, "has no label never"),
        ({"thresholds": {"chest-xray-lungs": {"lungs": 0.9}}}, "has no label lungs"),
        ({"thresholds": {BRAIN: {"glioma": 0.2}}}, "from which the model was measured"),
    ],
)
def test_a_choice_that_cannot_be_served_is_said_in_a_sentence(
    changes: dict[str, Any], said: str
) -> None:
    (sentence,) = unfit(PACKAGES, tenant(**changes))
    assert said in sentence
    assert sentence.startswith("tenant ehr: ")


def test_a_stricter_threshold_is_fit() -> None:
    assert list(unfit(PACKAGES, tenant(thresholds={BRAIN: {"glioma": 0.95}}))) == []


@pytest.mark.parametrize("threshold", [0, 1, 1.5, -0.1])
def test_a_threshold_is_a_probability_that_can_be_reached(threshold: float) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        tenant(thresholds={BRAIN: {"glioma": threshold}})


@pytest.mark.peer
def test_a_switch_is_thrown_once_and_kept(valkey_server: Any) -> None:
    redis = web_connection(valkey_server.url)
    redis.flushall()
    switches = ModelSwitches(redis)
    assert switches.disabled() == frozenset()
    assert [switches.disable(BRAIN), switches.disable(BRAIN)] == [True, False]
    assert switches.disabled() == {BRAIN}
    assert switches.since()[BRAIN] > 1_700_000_000
    assert redis.ttl(DISABLED) == -1
    assert [switches.enable(BRAIN), switches.enable(BRAIN)] == [True, False]
    assert switches.disabled() == frozenset()


@pytest.mark.peer
def test_a_switch_counts_whatever_is_written_beside_it(valkey_server: Any) -> None:
    redis = web_connection(valkey_server.url)
    redis.flushall()
    redis.hset(DISABLED, mapping={BRAIN: "since ever", b"\xff": "1"})
    assert BRAIN in ModelSwitches(redis).disabled()
