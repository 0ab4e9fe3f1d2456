"""The certificate that a caller presented to the proxy, where a tenant is asked for one.

Mutual TLS may join the token (CDS Hooks 2.0.1, Mutual TLS). TLS ends at a proxy, which hands the
certificate on in a header; from any other address that header says nothing.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote

from cds_service.security.errors import InvalidToken, Refusal
from cds_service.settings import MutualTlsSettings, TenantSettings, fingerprint

Header = Callable[[str], str | None]

HEADER_CHARACTERS = 16_384

_WHOLE = re.compile(r":(?P<der>[A-Za-z0-9+/]+={0,2}):")  # RFC 9440, 2.1
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----(?P<der>[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*"
)


@dataclass(frozen=True)
class ClientCertificates:
    """Compares what a proxy hands on with what the tenants are known by."""

    settings: MutualTlsSettings

    def check(self, tenant: TenantSettings, address: str | None, header: Header) -> None:
        """Refuse a call of a tenant that is known by certificates, unless it came with one.

        Args:
            tenant: whose token it is.
            address: of the connection itself; a header cannot change it.
            header: the value of one of the request, by its name.

        Raises:
            InvalidToken: another certificate, none, or not from a proxy that is believed.
        """
        if not tenant.client_certificates:
            return
        name = self._handed_on(address, header).encode()
        matches = [hmac.compare_digest(name, each.encode()) for each in tenant.client_certificates]
        if not name or not any(matches):
            raise InvalidToken(Refusal.CERTIFICATE)

    def _handed_on(self, address: str | None, header: Header) -> str:
        written = header(self.settings.header) or ""
        if not self._believed(address) or len(written) > HEADER_CHARACTERS:
            return ""
        return certificate_name(written)

    def _believed(self, address: str | None) -> bool:
        try:
            ip = ipaddress.ip_address((address or "").split("%", 1)[0])
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self.settings.proxies)


def certificate_name(written: str) -> str:
    """The SHA-256 of the certificate in small hex, or its subject, as a header writes either.

    A header that came twice is joined by a comma, and names nothing that is listed.
    """
    whole = _WHOLE.fullmatch(written) or _PEM.fullmatch(unquote(written))
    if whole is None:
        return fingerprint(written) or written
    try:
        return sha256(base64.b64decode("".join(whole["der"].split()), validate=True)).hexdigest()
    except ValueError:
        return ""
