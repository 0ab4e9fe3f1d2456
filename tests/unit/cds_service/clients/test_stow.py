"""What an archive says of what it was given, answer by answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cds_service.clients.errors import Refused, ServerError, Throttled, TooLarge, UpstreamError
from cds_service.clients.http import HttpClient
from cds_service.clients.policy import HttpPolicy
from cds_service.clients.stow import PIECE_BYTES, MultipartBody, Receipt, Said, StowService, ToStore
from cds_service.security.egress import Allowance
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer, hang_up, in_turn

ONE, TWO = ToStore("1.2.1", b"first"), ToStore("1.2.2", b"second")
JSON = {"Content-Type": "application/dicom+json"}


def said(status: int, **items: list[tuple[str, int | None]]) -> Reply:
    """An answer that names objects: stored=…, failed=…, other=… of (UID, reason)."""
    tags = {"stored": ("00081199", "00081196"), "failed": ("00081198", "00081197")}
    tags["other"] = ("0008119A", "00081197")
    body: dict[str, Any] = {}
    for name, found in items.items():
        sequence, reason_tag = tags[name]
        body[sequence] = {"vr": "SQ", "Value": [_item(uid, reason_tag, r) for uid, r in found]}
    return answer(status, json.dumps(body).encode(), JSON)


def _item(uid: str, tag: str, reason: int | None) -> dict[str, Any]:
    made: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return made | ({tag: {"vr": "US", "Value": [reason]}} if reason is not None else {})


def stored(respond: Callable[[Seen], Reply], *objects: ToStore) -> Mapping[str, Receipt]:
    """What a client makes of the answers of a server."""
    with FaultyServer(respond) as server:
        base = Allowance("archive", server.base_url, http_ok=True)
        policy = HttpPolicy(deadline_s=5, attempts=3, backoff_s=0, bytes_cap=1_000_000)
        client = HttpClient(base, policy=policy, sleep=lambda _: None)
        return StowService(client).store("1.2", objects or (ONE, TWO))


@pytest.mark.parametrize(
    ("reply", "receipts"),
    [
        (said(200, stored=[("1.2.1", None), ("1.2.2", None)]), (Receipt(Said.STORED),) * 2),
        (
            said(200, stored=[("1.2.1", 0xB000), ("1.2.2", 0)]),
            (Receipt(Said.WARNED, 0xB000), Receipt(Said.STORED, 0)),
        ),
        (
            said(202, stored=[("1.2.1", None)], failed=[("1.2.2", 0x0122)]),
            (Receipt(Said.STORED), Receipt(Said.FAILED, 0x0122)),
        ),
        (
            said(409, failed=[("1.2.1", 0x0111), ("1.2.2", 0xA700)]),
            (Receipt(Said.DUPLICATE, 0x0111), Receipt(Said.BUSY, 0xA700)),
        ),
        (
            said(202, other=[("1.2.1", 0xC000)]),
            (Receipt(Said.FAILED, 0xC000), Receipt(Said.NOTHING)),
        ),
        (answer(409), (Receipt(Said.FAILED),) * 2),
        (answer(200), (Receipt(Said.NOTHING),) * 2),
        (answer(204), (Receipt(Said.NOTHING),) * 2),
        (
            answer(200, b"<NativeDicomModel/>", {"Content-Type": "application/dicom+xml"}),
            (Receipt(Said.NOTHING),) * 2,
        ),
        (answer(200, b"[]", JSON), (Receipt(Said.NOTHING),) * 2),
        (answer(200, b'["odd"]', JSON), (Receipt(Said.NOTHING),) * 2),
        (answer(200, b'{"00081199": 3}', JSON), (Receipt(Said.NOTHING),) * 2),
    ],
    ids=[
        "200", "200 with a warning", "202 in part", "409 duplicate and busy", "202 other failures",
        "409 without a body", "200 without a body", "204", "200 in XML", "an empty list",
        "a list of odd things", "a sequence that is none",
    ],
)  # fmt: skip
def test_each_answer_is_believed_as_far_as_it_goes(
    reply: Reply, receipts: tuple[Receipt, Receipt]
) -> None:
    assert tuple(stored(lambda _: reply).values()) == receipts


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ((answer(401),), Refused),
        ((answer(403),), Refused),
        ((answer(500),) * 3, ServerError),
        ((answer(503, b"", {"Retry-After": "9999"}),), Throttled),
    ],
)
def test_an_answer_that_says_nothing_of_any_object_is_an_error(
    replies: tuple[Reply, ...], error: type[UpstreamError]
) -> None:
    with pytest.raises(error):
        stored(in_turn(*replies))


@pytest.mark.parametrize("first", [answer(503, b"", {"Retry-After": "0"}), answer(502), hang_up()])
def test_what_may_pass_is_tried_again(first: Reply) -> None:
    good = said(200, stored=[("1.2.1", None), ("1.2.2", None)])
    receipts = stored(in_turn(first, good))
    assert {receipt.said for receipt in receipts.values()} == {Said.STORED}


def test_what_is_too_large_together_is_sent_one_by_one() -> None:
    bodies: list[int] = []

    def respond(seen: Seen) -> Reply:
        bodies.append(len(seen.body))
        if b"first" in seen.body and b"second" in seen.body:
            return answer(413)
        return answer(413) if b"second" in seen.body else said(200, stored=[("1.2.1", None)])

    receipts = stored(respond)
    assert receipts == {"1.2.1": Receipt(Said.STORED), "1.2.2": Receipt(Said.TOO_LARGE)}
    assert len(bodies) == 3


def test_an_endless_answer_is_refused() -> None:
    huge = answer(200, b" " * 2_000_000, JSON)
    with pytest.raises(TooLarge):
        stored(lambda _: huge)


def test_the_body_is_multipart_related_and_never_joined() -> None:
    large = ToStore("1.2.3", bytes(3 * PIECE_BYTES + 1))
    body = MultipartBody([ONE, large])
    pieces = list(body)
    assert max(map(len, pieces)) == PIECE_BYTES
    assert sum(map(len, pieces)) == len(body)
    assert b"".join(pieces) == b"".join(body), "it can be read again for another attempt"
    assert body.content_type.startswith('multipart/related; type="application/dicom"; boundary=')
    assert pieces[-1].endswith(b"--\r\n")


def test_the_request_says_how_long_it_is() -> None:
    seen: list[Seen] = []

    def respond(request: Seen) -> Reply:
        seen.append(request)
        return said(200, stored=[("1.2.1", None)])

    stored(respond, ONE)
    assert seen[0].target.endswith("/studies/1.2")
    assert "transfer-encoding" not in seen[0].headers
    assert int(seen[0].headers["content-length"]) == len(seen[0].body)
