"""Calls over HTTP: bounded in time and bytes, no redirects, nothing taken from the environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

from cds_service.conformance.exchange import Answer, Call, NoAnswer, Sender
from cds_service.errors import reason_of
from inference.limits import MIB

ANSWER_BYTES = 4 * MIB
LONGEST_PAUSE_S = 10.0
CHUNK_BYTES = 65_536


class HttpSender:
    """A session with one service.

    Args:
        base_url: what paths are added to, without a trailing slash.
        timeout_s: for one whole exchange.
        authorities: a file of certificates to trust instead of the usual ones.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float = 15.0,
        authorities: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["User-Agent"] = "scanhook-conformance"
        if authorities:
            self._session.verify = authorities

    def send(self, call: Call) -> Answer:
        """One exchange; who asks for a pause (429) gets it, once.

        Raises:
            NoAnswer: no connection, no end within the time, or too many bytes.
        """
        answer = self._exchanged(call)
        pause = answer.headers.get("retry-after", "1")
        if answer.status != 429 or not pause.isdigit():
            return answer
        self._sleep(min(float(pause), LONGEST_PAUSE_S))
        return self._exchanged(call)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _exchanged(self, call: Call) -> Answer:
        since = time.perf_counter()
        try:
            with self._session.request(
                call.method,
                f"{self._base_url}{call.path}",
                data=call.body,
                headers=dict(call.headers),
                timeout=self._timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._read(response, since)
                headers = {name.lower(): value for name, value in response.headers.items()}
                took_ms = (time.perf_counter() - since) * 1e3
                return Answer(response.status_code, headers, body, took_ms)
        except requests.exceptions.SSLError:
            raise NoAnswer("The certificate of the service is not trusted.") from None
        except requests.Timeout:
            raise NoAnswer(f"The service did not answer within {self._timeout_s:g} s.") from None
        except (requests.RequestException, ValueError) as error:
            sentence = f"{self._base_url} cannot be reached: {reason_of(error)}."
            raise NoAnswer(sentence) from None

    def _read(self, response: requests.Response, since: float) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(CHUNK_BYTES):
            size += len(part)
            if size > ANSWER_BYTES:
                raise NoAnswer("The answer is larger than is read.")
            if time.perf_counter() - since > self._timeout_s:
                raise NoAnswer(f"The answer had no end within {self._timeout_s:g} s.")
            parts.append(part)
        return b"".join(parts)


def fhir_reader(sender: Sender, access_token: str = "") -> Callable[[str], Any]:
    """A function that asks a FHIR server for one query, as a client fills a prefetch template.

    Its answer is the resource, None where there is nothing, and an OperationOutcome for a failure.
    """
    headers = {"Accept": "application/fhir+json"}
    if access_token:
        headers["Authorization"] = f"Bearer {access_token}"

    def read(query: str) -> Any:
        try:
            answer = sender.send(Call("GET", f"/{query}", headers))
        except NoAnswer:
            return _FAILED
        if answer.status in (404, 410):
            return None
        return answer.members or _FAILED

    return read


_FAILED = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "transient"}],
}
