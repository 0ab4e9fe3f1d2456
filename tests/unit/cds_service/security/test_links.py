from __future__ import annotations

import base64
import random
import string
from urllib.parse import urlsplit

import pytest

from cds_service.security.links import Links

OLD, NEW = "old-secret-of-32-characters-or-more", "new-secret-of-32-characters-or-more"
ID = "0123456789abcdef" * 4
STUDY = "7f" * 16
NOW = 1_795_311_540.25
LIFETIME_S = 900


def links(*secrets: str) -> Links:
    return Links(secrets or (NEW,), "https://ai.example.org/scanhook/", LIFETIME_S)


def token_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


TOKEN = token_of(links().explanation_url(ID, STUDY, NOW))


@pytest.mark.parametrize("digits", [32, 40, 64])
def test_a_link_opens_the_explanation_it_was_made_for(digits: int) -> None:
    site = links()
    url = site.explanation_url(ID[:digits], STUDY, NOW)
    opened = site.open(token_of(url), NOW)
    assert url.startswith("https://ai.example.org/scanhook/e/")
    assert opened is not None
    assert opened.explanation_id == ID[:digits]
    assert site.concerns(opened, STUDY)


def test_a_link_concerns_no_other_study() -> None:
    site = links()
    opened = site.open(TOKEN, NOW)
    assert opened is not None
    others = ("", STUDY[:-1], STUDY.upper(), f"{STUDY}0", "7e" * 16)
    assert [other for other in others if site.concerns(opened, other)] == []


def test_a_link_names_neither_the_study_nor_the_secret() -> None:
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for secret in (STUDY.encode(), bytes.fromhex(STUDY), NEW.encode()):
        assert secret not in raw


@pytest.mark.parametrize(
    ("after_s", "opens"),
    [(-3600, True), (0, True), (LIFETIME_S - 1, True), (LIFETIME_S, False), (10**9, False)],
)
def test_a_link_lives_for_its_time(after_s: int, opens: bool) -> None:
    assert (links().open(TOKEN, NOW + after_s) is not None) is opens


def test_every_flipped_bit_closes_the_link() -> None:
    """All bits of the text, those of the last character included that base64 does not use."""
    site = links()
    flipped = [
        TOKEN[:i] + chr(ord(TOKEN[i]) ^ (1 << bit)) + TOKEN[i + 1 :]
        for i in range(len(TOKEN))
        for bit in range(8)
    ]
    assert len(flipped) == 8 * len(TOKEN)
    assert [token for token in flipped if site.open(token, NOW) is not None] == []


@pytest.mark.parametrize("digits", [32, 34, 36, 64])
def test_every_other_last_character_closes_the_link(digits: int) -> None:
    """Whatever number of bits the last character leaves over."""
    site = links()
    token = token_of(site.explanation_url(ID[:digits], STUDY, NOW))
    alphabet = string.ascii_letters + string.digits + "-_="
    others = [token[:-1] + c for c in alphabet if c != token[-1]]
    assert [other for other in others if site.open(other, NOW) is not None] == []


def test_4000_random_changes_close_the_link() -> None:
    site, rng = links(), random.Random(20)  # noqa: S311 - a test that repeats
    tried: set[str] = set()
    while len(tried) < 4000:
        changed = _changed(TOKEN, rng)
        if changed != TOKEN:
            tried.add(changed)
    assert [token for token in tried if site.open(token, NOW) is not None] == []


def _changed(token: str, rng: random.Random) -> str:
    """Replace, insert, delete, swap, repeat, cut, pad, or change case."""
    i, j = sorted(rng.sample(range(len(token)), 2))
    anything = rng.choice(string.printable + "é\u202e\x00")
    return rng.choice(
        (
            token[:i] + anything + token[i + 1 :],
            token[:i] + anything + token[i:],
            token[:i] + token[j:],
            token[:i] + token[j] + token[i + 1 : j] + token[i] + token[j + 1 :],
            token + token[i:j],
            token[:j],
            token + rng.choice(("=", "==", "\n", " ", "%3D", ".", "A")),
            token[:i] + token[i:j].swapcase() + token[j:],
        )
    )


def test_parts_of_two_links_make_no_third() -> None:
    site = links()
    other = token_of(site.explanation_url("ab" * 32, "study b", NOW + 60))
    spliced = {TOKEN[:i] + other[i:] for i in range(1, len(TOKEN))} - {TOKEN, other}
    assert len(spliced) > 50
    assert [token for token in spliced if site.open(token, NOW) is not None] == []


def test_after_a_rotation_the_old_secret_opens_and_the_new_one_signs() -> None:
    rotated = links(NEW, OLD)
    old = token_of(links(OLD).explanation_url(ID, STUDY, NOW))
    opened = rotated.open(old, NOW)
    assert opened is not None
    assert rotated.concerns(opened, STUDY)
    assert token_of(rotated.explanation_url(ID, STUDY, NOW)) == TOKEN
    assert links(NEW).open(old, NOW) is None


def test_another_site_opens_nothing() -> None:
    assert links("a-third-secret-of-32-characters-00").open(TOKEN, NOW) is None


def test_text_and_bytes_are_the_same_secret() -> None:
    assert Links([NEW.encode()], "https://h.example", 60).open(TOKEN, NOW) is not None


@pytest.mark.parametrize(
    "token", ["", "A", "A" * 100, "A" * 122, "=" * 122, "A" * 10**6, "é" * 110]
)
def test_what_is_no_token_opens_nothing(token: str) -> None:
    assert links().open(token, NOW) is None


@pytest.mark.parametrize("wrong", ["", "abc", "A" * 32, "0" * 33, "0" * 66, "../" * 12, f"{ID}\n"])
def test_an_id_that_is_not_opaque_hex_gets_no_link(wrong: str) -> None:
    with pytest.raises(ValueError, match="hex digits"):
        links().explanation_url(wrong, STUDY, NOW)
    with pytest.raises(ValueError, match="hex digits"):
        links().permanent_url(wrong)


def test_the_permanent_address_is_the_same_for_ever_and_holds_no_secret() -> None:
    expected = f"https://ai.example.org/scanhook/explanations/{ID}"
    assert links(OLD).permanent_url(ID) == links(NEW).permanent_url(ID) == expected


@pytest.mark.parametrize("url", ["", "ai.example.org", "ftp://h", "https://", "https://h/?a=b"])
def test_a_base_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Links([NEW], url, 60)


@pytest.mark.parametrize("secrets", [(), ("",)])
def test_links_without_a_secret_are_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="site secret"):
        Links(secrets, "https://h.example", 60)


def test_the_path_of_the_service_is_known() -> None:
    assert links().base_path == "/scanhook"
    assert Links([NEW], "http://127.0.0.1:8080", 60).base_path == ""
    assert urlsplit(links().model_card_url("m", "1.0")).path == "/scanhook/models/m/1.0"
