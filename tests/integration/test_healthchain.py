"""healthchain's CDS Hooks client, with its own models, calls us and accepts every card.

It signs nothing, and of a context it sends the user and the patient alone, so a gateway stands
between, as in a hospital: it adds the token and the rest of the context. Its model of a link
requires a member that is not in the specification, hence `states_auto_launch`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.queue.state import State
from tests.doubles import ehr
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer
from tests.doubles.hooking import CALLS, Site, known, settings
from tests.doubles.listening import listening
from tests.peers.process import PEERS_BIN

PYTHON = PEERS_BIN / "python"
INSTALLED = any(Path(PEERS_BIN).parent.glob("lib/python3*/site-packages/healthchain"))
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not INSTALLED, reason="healthchain is not installed (tests/peers.txt)"),
]

HOOKS = ("patient-view", "order-select", "order-sign", "encounter-discharge")
"""Those that it knows."""

CLIENT = """
import json, sys
from healthchain.models import CDSResponse
from healthchain.sandbox import SandboxClient
from healthchain.sandbox.requestconstructors import CdsRequestConstructor

given = json.load(sys.stdin)
client = SandboxClient(url=given["url"], workflow=given["hook"])
request = CdsRequestConstructor().construct_request(
    given["prefetch"], client.workflow, given["context"])
client.requests.append(request)
(answer,) = client.send_requests()
# an answer that its models refuse is handed on raw, so it is asked once more
print(json.dumps(CDSResponse.model_validate(answer).model_dump(mode="json", exclude_none=True)))
"""


def called(at: Site, path: str) -> list[dict[str, Any]]:
    """The cards that healthchain's client saw."""
    call = CALLS[path]()
    with listening(at.app) as service:

        def signed(seen: Seen) -> Reply:
            sent = json.loads(seen.body)
            sent["context"] = {**call["context"], **sent["context"]}
            got = requests.post(
                service + seen.target, json=sent, headers=at.ehr.bearer(seen.path), timeout=20
            )
            return answer(got.status_code, got.content, {"Content-Type": "application/json"})

        with FaultyServer(signed) as gateway:
            given = {
                "url": gateway.base_url + path,
                **{name: call[name] for name in ("hook", "prefetch", "context")},
            }
            done = subprocess.run(
                [PYTHON, "-c", CLIENT],
                input=json.dumps(given),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
    assert done.returncode == 0, done.stderr[-3000:]
    cards: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["cards"]
    return cards


@pytest.mark.parametrize("path", [path for path in CALLS if CALLS[path]()["hook"] in HOOKS])
def test_its_client_accepts_the_card_of_a_finding(path: str) -> None:
    at = Site(settings(tenants=(ehr.tenant(states_auto_launch=True),)))
    known(at)
    (card,) = called(at, path)
    assert card["uuid"]
    assert card["links"]


@pytest.mark.parametrize("state", [State.RECEIVED, State.ABSTAINED, State.FAILED])
def test_its_client_accepts_a_card_of_every_other_state(state: State) -> None:
    at = Site(settings(tenants=(ehr.tenant(states_auto_launch=True),)))
    known(at, state)
    cards = called(at, next(iter(CALLS)))
    assert len(cards) == 1
