"""Who is let in, and which forms are the page's own."""

from __future__ import annotations

import base64

import pytest

from cds_service.ops.credential import FORM_S, Credential

SECRET = "a secret of the page: with a colon"
CREDENTIAL = Credential(SECRET)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        (f"Bearer {SECRET}", True),
        (f"bearer {SECRET}", True),
        (basic(f"ops:{SECRET}"), True),
        (basic(f":{SECRET}"), True),
        (basic(f"somebody:{SECRET}"), True),
        ("", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic ", False),
        (f"Bearer {SECRET}x", False),
        (f"Bearer {SECRET[:-1]}", False),
        (f"Digest {SECRET}", False),
        (SECRET, False),
        (basic(SECRET), False),
        (basic(f"{SECRET}:ops"), False),
        ("Basic not base64!", False),
        ("Basic \u00e9\u00e9\u00e9", False),
        ("Bearer \udcff\udcfe", False),
        ("Bearer " + "A" * 100_000, False),
    ],
)
def test_only_the_whole_secret_is_admitted(header: str, admitted: bool) -> None:
    assert CREDENTIAL.admits(header) is admitted


def test_a_credential_does_not_show_its_secret() -> None:
    assert SECRET not in repr(CREDENTIAL)


def test_a_form_is_good_for_what_it_asks_and_for_an_hour() -> None:
    token = CREDENTIAL.form("study:a", 1000.0)
    assert CREDENTIAL.made(token, "study:a", 1000.0 + FORM_S)
    assert not CREDENTIAL.made(token, "study:a", 1001.0 + FORM_S)
    assert not CREDENTIAL.made(token, "study:b", 1000.0)
    assert not Credential(SECRET + "x").made(token, "study:a", 1000.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: ".",
        lambda token: token.partition(".")[2],
        lambda token: "9" + token,
        lambda token: token[:-1],
        lambda token: token.replace(".", ".."),
        lambda token: "٣" + token[1:],
        lambda token: token[:-1] + "é",
        lambda token: "9" * 5000 + ".x",
    ],
)
def test_a_form_that_was_changed_is_not_the_pages(spoil: object) -> None:
    token = CREDENTIAL.form("study:a", 1000.0)
    assert callable(spoil)
    assert not CREDENTIAL.made(spoil(token), "study:a", 1000.0)
