"""The libraries of evidence are loaded where it is wanted, and asked for where they are missing."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from cds_service.bootstrap import evidence
from cds_service.bootstrap.evidence import keeping, report_extras
from cds_service.errors import UnsafeSettings
from cds_service.reports import no_extras
from cds_service.settings import TenantEvidence


def site(wanted: TenantEvidence) -> SimpleNamespace:
    """As much of a site as is asked before anything is built."""
    tenant = SimpleNamespace(name="north", evidence=wanted)
    return SimpleNamespace(settings=SimpleNamespace(tenants=(tenant,), archives=()))


@pytest.mark.parametrize("door", ["web", "worker"])
def test_neither_door_loads_them_at_its_start(door: str) -> None:
    code = (
        f"import sys, cds_service.bootstrap.{door}\n"
        "print({m.split('.')[0] for m in sys.modules} & {'highdicom', 'reportlab'} or 'none')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "none"


def test_by_default_nothing_is_kept_and_nothing_is_carried() -> None:
    nobody = site(TenantEvidence())

    def then(*_: object) -> None:
        """What comes afterwards."""

    assert keeping(nobody, {}, then) is then  # type: ignore[arg-type]  # a double
    assert report_extras(nobody, nobody.settings.tenants[0]) is no_extras  # type: ignore[arg-type]


def test_a_worker_without_them_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LIBRARIES", ("no_such_library",))
    said = r"no_such_library: install scanhook\[evidence\]"
    where = site(TenantEvidence(objects=("report",)))
    with pytest.raises(UnsafeSettings, match=said):
        keeping(where, {}, lambda *_: None)  # type: ignore[arg-type]  # a double
    where = site(TenantEvidence(pdf=True))
    with pytest.raises(UnsafeSettings, match=said):
        report_extras(where, where.settings.tenants[0])  # type: ignore[arg-type]  # a double
