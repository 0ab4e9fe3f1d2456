"""What proves who we are: held by the client of one base, and sent to that base alone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cds_service.clients.errors import Refused
from cds_service.security.egress import Allowance, NotAllowed, Origin


class NoCredential:
    """The archive asks for none."""

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """There is nothing to renew."""
        return False


class FixedHeaders:
    """Headers that stay the same: basic, bearer, or an API key. Never shown in a repr."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    @classmethod
    def basic(cls, username: str, password: str) -> FixedHeaders:
        """HTTP Basic authentication (RFC 7617, UTF-8)."""
        token = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        return cls({"Authorization": f"Basic {token}"})

    @classmethod
    def bearer(cls, token: str) -> FixedHeaders:
        """A bearer token (RFC 6750)."""
        return cls({"Authorization": f"Bearer {token}"})

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """The configured headers."""
        return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        """They would be the same again."""
        return False


class MountedSecret:
    """Headers made of a secret in a file, which may be replaced while we run: a short-lived token.

    It is read with every call; while it cannot be, or is empty, the last one counts.
    """

    def __init__(self, file: Path, headers: Callable[[str], FixedHeaders]) -> None:
        self._file = file
        self._headers = headers
        self._last = ""

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """The headers with the secret that is in the file now.

        Raises:
            Refused: there was none yet.
        """
        if not self._read():
            raise Refused(f"The file with the secret for {allowance.name} cannot be read.")
        return self._headers(self._last).headers(allowance, deadline_s)

    def _read(self) -> str:
        with suppress(OSError, UnicodeError):
            self._last = self._file.read_text(encoding="utf-8").strip() or self._last
        return self._last

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether another secret has been put there meanwhile."""
        secret = self._read()
        return bool(secret) and self._headers(secret)._headers != dict(refused)


class ForwardedToken:
    """The EHR's access token of one hook call (CDS Hooks 2.0.1, ``fhirAuthorization``).

    It lives as long as this object, which lives as long as the request; it is bound to the origin
    of ``fhirServer`` and raises `NotAllowed` anywhere else.
    """

    def __init__(self, token: str, origin: Origin) -> None:
        self._token = token
        self._origin = origin

    def headers(self, allowance: Allowance, deadline_s: float) -> Mapping[str, str]:
        """The token, if `allowance` has the origin for which it was issued."""
        if allowance.origin != self._origin:
            raise NotAllowed(f"The token of the EHR is not for {allowance.name}.")
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """It is not ours to renew."""
        return False
