"""Who hears what is asked of FHIR servers and archives: the audit trail of each tenant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from cds_service.audit import FileTrail, ServerTrail, Trail, Watcher
from cds_service.clients.fhir import FhirServer
from cds_service.clients.interactions import Watch, nobody
from cds_service.security.egress import Allowance
from cds_service.settings import ArchiveSettings, Settings, TenantSettings
from fhir_mapping.audit_event import Audited
from inference.limits import MIB


@dataclass(frozen=True)
class Audits:
    """One trail for each tenant and process: a trail has a thread or a lock of its own.

    `fhir` and `archive` give the bases of servers, `unwatched` a FHIR server of whose use no trail
    is kept, for the trail itself.
    """

    settings: Settings
    fhir: Callable[[TenantSettings], Allowance]
    archive: Callable[[ArchiveSettings], Allowance]
    unwatched: Callable[[TenantSettings], FhirServer]
    _trails: dict[str, Trail] = field(default_factory=dict, repr=False)

    def watch(self, tenant: TenantSettings) -> Watch:
        """What keeps an audit trail of a tenant's FHIR server; it begins to work when used."""
        return self._watched(tenant, f"FHIR server of {tenant.name}", self.fhir(tenant))

    def watch_retrievals(self, tenant_name: str, archive_name: str) -> Watch:
        """The same for what is retrieved for a tenant from an archive."""
        tenant = next(each for each in self.settings.tenants if each.name == tenant_name)
        base = self.archive(self.settings.archive(archive_name))
        return self._watched(tenant, f"archive {archive_name}", base)

    def _watched(self, tenant: TenantSettings, server: str, base: Allowance) -> Watch:
        if self.settings.audit.to == "none":
            return nobody
        who = Audited(
            program=f"scanhook {version('scanhook')}",
            organisation=self.settings.organisation,
            server=server,
            host=base.origin.host,
        )
        return Watcher(self._trail(tenant), who)

    def _trail(self, tenant: TenantSettings) -> Trail:
        if tenant.name not in self._trails:
            audit = self.settings.audit
            path = audit.file or self.settings.state_dir / "audit.jsonl"
            trail: Trail = FileTrail(path, audit.file_mib * MIB, audit.files)
            if audit.to == "fhir" and tenant.backend != "none":
                trail = ServerTrail(partial(self.unwatched, tenant), trail)
            self._trails[tenant.name] = trail
        return self._trails[tenant.name]
