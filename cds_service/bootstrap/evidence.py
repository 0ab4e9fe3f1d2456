"""What keeps evidence, for those tenants that want it; its libraries are loaded for no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cds_service.bootstrap.site import Site
from cds_service.errors import UnsafeSettings
from cds_service.evidence.again import EvidenceAgain
from cds_service.evidence.lane import EvidenceLane
from cds_service.queue.state import StudyRecord
from cds_service.reports import Extras, no_extras
from cds_service.settings import TenantSettings
from cds_service.tasks import Ended, ReportWriter, StudyTask
from inference.analysis import Analysis
from inference.evidence.objects import Kind

if TYPE_CHECKING:
    from cds_service.evidence.keeping import EvidenceKeeper

LIBRARIES = ("highdicom", "reportlab")
"""Of the extra ``scanhook[evidence]``."""


def refuse_without_libraries(site: Site) -> None:
    """Raise UnsafeSettings if the libraries that a tenant's evidence needs are not installed."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        names = ", ".join(t.name for t in site.settings.tenants if t.evidence)
        said = f"evidence of {names} needs {' and '.join(missing)}: install scanhook[evidence]"
        raise UnsafeSettings([said])


def report_extras(site: Site, tenant: TenantSettings) -> Extras:
    """What a tenant's reports carry beside their statements: the PDF, the key image."""
    wanted = tenant.evidence
    if not (wanted.pdf or wanted.key_image):
        return no_extras
    refuse_without_libraries(site)
    from cds_service.evidence.extras import ReportExtras  # reportlab, for whom it is wanted

    manifests = {package.manifest.id: package.manifest for package in site.registry.packages}
    return ReportExtras(manifests, pdf=wanted.pdf, key_image=wanted.key_image)


def keeping(site: Site, writers: Mapping[str, ReportWriter], then: Ended) -> Ended:
    """What is done when a study has ended: its evidence is kept, or queued again, then `then`."""
    if not any(tenant.evidence.objects for tenant in site.settings.tenants):
        return then
    refuse_without_libraries(site)
    keeper, lane = _keeper(site, writers), EvidenceLane(site.dispatcher(patient=True))

    def ended(order: Mapping[str, Any], record: StudyRecord, analysis: Analysis) -> None:
        if keeper.keep(order, record, analysis):
            lane.offer(order, record, analysis.instance_digest)
        then(order, record, analysis)

    return ended


def keeping_again(site: Site, task: Callable[[], StudyTask]) -> EvidenceAgain:
    """What takes up evidence that was not stored when its study ended."""
    refuse_without_libraries(site)
    return EvidenceAgain(task, _keeper(site, task().writers))


def _keeper(site: Site, writers: Mapping[str, ReportWriter]) -> EvidenceKeeper:
    from cds_service.evidence.keeping import EvidenceKeeper, Shelf  # half a second: highdicom
    from cds_service.evidence.mentioning import Mentioning

    archives = {archive.name: archive for archive in site.settings.archives}
    wanting = [tenant for tenant in site.settings.tenants if tenant.evidence.objects]
    return EvidenceKeeper(
        shelves={
            tenant.name: Shelf(
                kinds=frozenset(Kind(name) for name in tenant.evidence.objects),
                archives={name: site.outside.archive(each) for name, each in archives.items()},
                stores={
                    name: site.outside.stow(each, tenant.evidence.deadline_s)
                    for name, each in archives.items()
                },
            )
            for tenant in wanting
        },
        manifests={package.manifest.id: package.manifest for package in site.registry.packages},
        ledger=site.evidence_ledger(patient=True),
        now=lambda: datetime.now().astimezone(),  # the zone of the site: DICOM times are local
        verified=Mentioning(writers, lambda: datetime.now(UTC)),
    )
