"""What we are at one EHR, and which of its addresses we may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cds_service.security.egress import Allowance, AllowList, NotAllowed, parse_url
from cds_service.security.keys import SigningKey
from cds_service.settings import TenantSettings


@dataclass(frozen=True)
class Registration:
    """One EHR's app; `key` gives the key that signs for us, None makes us a public client.

    `others` are bases beside `fhir` below which the EHR's login and token addresses may lie.
    """

    tenant: TenantSettings
    fhir: Allowance
    others: AllowList = field(default_factory=AllowList)
    key: Callable[[], SigningKey] | None = None

    def launches(self, iss: str) -> bool:
        """Whether `iss` is this EHR's FHIR base: scheme, host, port and path, as parsed."""
        try:
            return parse_url(iss) == self.fhir.location
        except NotAllowed:
            return False

    def endpoint(self, url: str, what: str) -> Allowance:
        """Leave to call exactly `url`, an address that the EHR's configuration names.

        Raises:
            NotAllowed: neither on the origin of the FHIR base nor below a configured base.
        """
        return replace(self._base(url), name=f"{self.tenant.name}-{what}", base_url=url)

    def leads(self, url: str) -> str:
        """`url` again, if a browser may be sent there with a launch.

        Raises:
            NotAllowed: as for `endpoint`.
        """
        self._base(url)
        return url

    def _base(self, url: str) -> Allowance:
        near = parse_url(url).origin == self.fhir.origin
        return self.fhir if near else self.others.select(url)


def launched_by(iss: str, registrations: Sequence[Registration]) -> Registration | None:
    """The one EHR whose FHIR base is `iss`."""
    return next((each for each in registrations if each.launches(iss)), None)
