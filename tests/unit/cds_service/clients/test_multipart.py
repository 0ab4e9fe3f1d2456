"""The multipart parser: what RFC 2046 allows, what archives do, and what attackers try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.clients.errors import BadAnswer, TooLarge, Truncated, UpstreamError
from cds_service.clients.multipart import boundary_of, media_type, parts

TYPE = 'multipart/related; type="application/dicom"; boundary=bnd'
MIB = 1024 * 1024


def bodies(body: bytes, *, size: int = 7, content_type: str = TYPE, cap: int = MIB) -> list[bytes]:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found = parts(pieces, content_type, part_cap_bytes=cap, peer="the archive")
    return [part.body for part in found]


CASES = {
    "plain": b"--bnd\r\nContent-Type: application/dicom\r\n\r\nAB\r\n--bnd--\r\n",
    "no line after the end": b"--bnd\r\n\r\nAB\r\n--bnd--",
    "folded header": b"--bnd\r\nContent-Type: a/b;\r\n c=d:e\r\n\tx\r\n\r\nAB\r\n--bnd--\r\n",
    "line feeds only": b"--bnd\nContent-Type: x\n\nAB\n--bnd--\n",
    "preamble and epilogue": b"hello --bnd?\r\n--bnd\r\n\r\nAB\r\n--bnd--\r\nbye --bnd\r\n",
    "leading empty line": b"\r\n--bnd\r\n\r\nAB\r\n--bnd--",
    "spaces after the boundary": b"--bnd \t\r\n\r\nAB\r\n--bnd--  \r\n",
    "true length": b"--bnd\r\nContent-Length: 2\r\n\r\nAB\r\n--bnd--",
    "true length, line feeds": b"--bnd\ncontent-length:2\n\nAB\n--bnd--",
    "length too short": b"--bnd\r\nContent-Length: 1\r\n\r\nAB\r\n--bnd--",
    "length too long": b"--bnd\r\nContent-Length: 900\r\n\r\nAB\r\n--bnd--",
    "length is no number": b"--bnd\r\nContent-Length: two\r\n\r\nAB\r\n--bnd--",
    "negative length": b"--bnd\r\nContent-Length: -5\r\n\r\nAB\r\n--bnd--",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_one_part_is_found_in_all_these_spellings(case: str, size: int) -> None:
    assert bodies(CASES[case], size=size) == [b"AB"]


def test_a_folded_header_is_read_as_one_line() -> None:
    body = b"--bnd\r\nContent-Type: a/b;\r\n c=d\r\n\r\nAB\r\n--bnd--"
    (part,) = parts([body], TYPE, part_cap_bytes=MIB, peer="the archive")
    assert media_type(part.headers["content-type"]) == ("a/b", {"c": "d"})


@pytest.mark.parametrize("lengths", [True, False])
def test_bodies_come_bit_for_bit_even_if_they_hold_the_boundary(lengths: bool) -> None:
    sent = [b"", b"\r\n", b"--bnd", b"x\r\n--bn", b"\r\n\r\n", os.urandom(100_000)]
    if lengths:
        sent.append(b"a\r\n--bnd--\r\nb")
    body = b""
    for data in sent:
        length = b"Content-Length: %d\r\n" % len(data) if lengths else b""
        body += b"--bnd\r\n" + length + b"\r\n" + data + b"\r\n"
    assert bodies(body + b"--bnd--", size=4096) == sent


def test_an_answer_without_parts_is_empty() -> None:
    assert bodies(b"--bnd--\r\n") == []


def test_each_part_is_given_before_the_next_one_has_come() -> None:
    given_so_far: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        yield b"--bnd\r\nContent-Length: 2\r\n\r\nAB\r\n--bnd"
        assert given_so_far == [b"AB"]
        yield b"\r\nContent-Length: 2\r\n\r\nCD\r\n--bnd--"

    for part in parts(chunks(), TYPE, part_cap_bytes=MIB, peer="the archive"):
        given_so_far.append(part.body)
    assert given_so_far == [b"AB", b"CD"]


@pytest.mark.parametrize("lengths", [True, False])
def test_every_cut_before_the_end_is_truncated(lengths: bool) -> None:
    length = b"Content-Length: 5\r\n" if lengths else b""
    body = (b"--bnd\r\n" + length + b"\r\nABCDE\r\n") * 2 + b"--bnd--"
    for cut in range(len(body)):
        with pytest.raises(Truncated):
            bodies(body[:cut])
    assert bodies(body) == [b"ABCDE"] * 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"x" * 200_000, TooLarge),
        (b"--bnd\r\n" + b"A: b\r\n" * 10_000, TooLarge),
        (b"--bnd\r\nA: " + b"b" * 100_000, TooLarge),
        (b"--bnd\r\n\r\n" + b"x" * 3_000_000, TooLarge),
        (b"--bnd\r\nContent-Length: 99999999999999\r\n\r\n", TooLarge),
        (b"--bnd\r\nnot a header\r\n\r\nAB\r\n--bnd--", BadAnswer),
        (b"--bndX\r\n\r\nAB\r\n--bnd--", BadAnswer),
    ],
)
def test_what_is_too_large_or_broken_is_refused(body: bytes, error: type[UpstreamError]) -> None:
    with pytest.raises(error):
        bodies(body, size=4096)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/related; boundary=abc", b"abc"),
        ('Multipart/Related;type="application/dicom";boundary="a b:c/=?"', b"a b:c/=?"),
        ('multipart/related; boundary="q\\"x"; type=application/dicom', b'q"x'),
        ("multipart/related; type=application/dicom; BOUNDARY=A; start=x", b"A"),
        ('multipart/mixed; type="application/dicom; boundary=no"; boundary=yes', b"yes"),
    ],
)
def test_the_boundary_is_read_in_all_these_spellings(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type, "the archive") == boundary


@pytest.mark.parametrize(
    "content_type",
    ["", "text/html", "multipart/related", "multipart/related; boundary=", "application/dicom",
     "multipart/related; boundary=" + "x" * 71, "multipart/related; boundary=ä"],
)  # fmt: skip
def test_what_is_no_multipart_is_a_bad_answer(content_type: str) -> None:
    with pytest.raises(BadAnswer):
        bodies(b"--bnd--", content_type=content_type)


def test_a_media_type_is_taken_apart() -> None:
    assert media_type('Application/DICOM; Transfer-Syntax="*"') == (
        "application/dicom",
        {"transfer-syntax": "*"},
    )


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans(), st.integers(1, 64))
def test_what_is_written_is_what_is_read(sent: list[bytes], lengths: bool, size: int) -> None:
    sent = [data.replace(b"\n--bnd", b"") for data in sent]
    body = b""
    for data in sent:
        length = b"Content-Length: %d\r\n" % len(data) if lengths else b""
        body += b"--bnd\r\n" + length + b"\r\n" + data + b"\r\n"
    assert bodies(body + b"--bnd--", size=size) == sent


@given(st.binary(max_size=300))
def test_any_bytes_at_all_give_parts_or_an_error_of_ours(junk: bytes) -> None:
    with suppress(Truncated, TooLarge, BadAnswer):
        bodies(b"--bnd\r\n" + junk)
