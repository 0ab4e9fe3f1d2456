"""Orders in Redis can be neither read nor changed."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.queue.errors import PayloadTooLarge, TamperedPayload
from cds_service.queue.payload import PAYLOAD_BYTES, Sealer, job_key

OLD, NEW = b"an older site secret, 32 bytes..", b"a newer site secret, 32 bytes..."
ORDER = {"study_uid": "1.2.840.113619.2.55.3", "patient": "Patient/DOE-JANE"}


@pytest.fixture
def sealer() -> Sealer:
    """A sealer with one secret."""
    return Sealer([OLD])


def test_what_was_sealed_is_opened(sealer: Sealer) -> None:
    opened = sealer.open(sealer.seal("s1", ORDER))
    assert (opened.study, opened.order) == ("s1", ORDER)


def test_nothing_of_the_order_can_be_read(sealer: Sealer) -> None:
    payload = sealer.seal("s1", ORDER)
    raw = base64.urlsafe_b64decode(json.loads(payload)["sealed"])
    for canary in (b"1.2.840", b"DOE", b"patient"):
        assert canary not in payload.encode()
        assert canary not in raw


def test_the_same_order_is_sealed_differently_each_time(sealer: Sealer) -> None:
    assert sealer.seal("s1", ORDER) != sealer.seal("s1", ORDER)


@given(st.data())
def test_no_changed_character_is_accepted(data: st.DataObject) -> None:
    sealer = Sealer([OLD])
    payload = sealer.seal("s1", ORDER)
    at = data.draw(st.integers(0, len(payload) - 1))
    other = data.draw(st.characters(codec="ascii"))
    changed = payload[:at] + other + payload[at + 1 :]
    if json_or_text(changed) != json_or_text(payload):
        with pytest.raises(TamperedPayload):
            sealer.open(changed)


def json_or_text(text: str) -> object:
    """What a payload says; blanks between tokens say nothing."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def part_of(payload: str, **changes: object) -> str:
    """The payload with parts replaced or, for None, removed."""
    body = {**json.loads(payload), **changes}
    return json.dumps({name: value for name, value in body.items() if value is not None})


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "s2"},
        {"v": 2},
        {"v": True},
        {"v": 1.0},
        {"mac": ""},
        {"mac": "ü" * 64},
        {"mac": None},
        {"mac": ["0"]},
        {"sealed": ""},
        {"sealed": "AAAA"},
        {"study": ["s1"]},
        {"callback": "os.system"},
    ],
)
def test_a_changed_part_is_refused(sealer: Sealer, changes: dict[str, object]) -> None:
    with pytest.raises(TamperedPayload):
        sealer.open(part_of(sealer.seal("s1", ORDER), **changes))


@pytest.mark.parametrize(
    "payload",
    ["", "null", "[]", "{}", "1", "[" * 100_000, "{" * 5000, '"x"', "x" * (PAYLOAD_BYTES + 1)],
)
def test_what_is_no_envelope_is_refused(sealer: Sealer, payload: str) -> None:
    with pytest.raises(TamperedPayload):
        sealer.open(payload)


def test_a_sealed_order_does_not_open_under_another_study(sealer: Sealer) -> None:
    one, other = (json.loads(sealer.seal(study, ORDER)) for study in ("s1", "s2"))
    with pytest.raises(TamperedPayload):
        sealer.open(json.dumps({**one, "sealed": other["sealed"]}))


def test_the_first_secret_seals_and_all_open() -> None:
    before = Sealer([OLD]).seal("s1", ORDER)
    rotated = Sealer([NEW, OLD])
    assert rotated.open(before).order == ORDER
    assert Sealer([NEW]).open(rotated.seal("s1", ORDER)).order == ORDER
    with pytest.raises(TamperedPayload):
        Sealer([NEW]).open(before)


def test_an_order_with_more_than_identifiers_is_refused(sealer: Sealer) -> None:
    with pytest.raises(PayloadTooLarge):
        sealer.seal("s1", {"pixels": "x" * PAYLOAD_BYTES})


def test_opaque_ids_depend_on_tenant_patient_study_and_secret() -> None:
    ids = {
        Sealer([secret]).study_key(tenant, patient, uid)
        for secret in (OLD, NEW)
        for tenant, patient, uid in (
            ("a", "Patient/1", "1.2"),
            ("b", "Patient/1", "1.2"),
            ("a", "Patient/2", "1.2"),
            ("a", "Patient/1", "1.3"),
            ("aP", "atient/1", "1.2"),
            ("a", "Patient/11", ".2"),
        )
    }
    assert len(ids) == 12
    assert all(each.isalnum() and len(each) == 32 for each in ids)


def test_a_job_id_names_the_content_and_the_models() -> None:
    ids = {job_key(*parts) for parts in (("s", "c", "m"), ("s", "c2", "m"), ("s", "c", "m2"))}
    assert len(ids) == 3
    assert job_key("s", "c", "m") in ids


@pytest.mark.parametrize("secrets", [[], [b"short"], [OLD, b""]])
def test_a_sealer_without_a_real_secret_is_refused(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="secret"):
        Sealer(secrets)


def test_a_record_is_verified_with_every_secret() -> None:
    mac = Sealer([OLD]).sign(b"record")
    assert Sealer([NEW, OLD]).verify(b"record", mac)
    assert not Sealer([NEW]).verify(b"record", mac)
    assert not Sealer([OLD]).verify(b"another", mac)
    assert not Sealer([OLD]).verify(b"record", "ü")
