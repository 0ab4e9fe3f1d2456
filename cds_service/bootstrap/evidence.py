"""What keeps evidence, for those tenants that want it; its libraries are loaded for no other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cds_service.bootstrap.site import Site
from cds_service.errors import UnsafeSettings
from cds_service.queue.state import StudyRecord
from cds_service.settings import TenantSettings
from cds_service.tasks import Ended
from inference.analysis import Analysis
from inference.evidence.objects import Kind

if TYPE_CHECKING:
    from cds_service.evidence.keeping import EvidenceKeeper

LIBRARIES = ("highdicom", "reportlab")
"""Of the extra ``scanhook[evidence]``."""


def refuse_without_libraries(site: Site) -> None:
    """Raise UnsafeSettings if a tenant wants evidence and its libraries are not installed."""
    wanting = [t.name for t in site.settings.tenants if t.evidence.objects or t.evidence.pdf]
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if wanting and missing:
        said = f"tenant {wanting[0]}: evidence needs {' and '.join(missing)}"
        raise UnsafeSettings([f"{said}, install scanhook[evidence]"])


def keeping(site: Site, then: Ended) -> Ended:
    """What is done when a study has ended: its evidence is kept, then `then`."""
    refuse_without_libraries(site)
    wanting = [tenant for tenant in site.settings.tenants if tenant.evidence.objects]
    if not wanting:
        return then
    keeper = _keeper(site, wanting)

    def ended(order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
        keeper.keep(order, record, analysis)
        then(order, record, analysis)

    return ended


def _keeper(site: Site, wanting: list[TenantSettings]) -> EvidenceKeeper:
    from cds_service.evidence.keeping import EvidenceKeeper, Shelf  # half a second: highdicom

    archives = {archive.name: archive for archive in site.settings.archives}
    return EvidenceKeeper(
        shelves={
            tenant.name: Shelf(
                kinds=frozenset(Kind(name) for name in tenant.evidence.objects),
                archives={name: site.archive(each) for name, each in archives.items()},
                stores={
                    name: site.stow(each, tenant.evidence.deadline_s)
                    for name, each in archives.items()
                },
            )
            for tenant in wanting
        },
        manifests={package.manifest.id: package.manifest for package in site.registry.packages},
        ledger=site.evidence_ledger(patient=True),
        now=lambda: datetime.now().astimezone(),  # the zone of the site: DICOM times are local
    )
