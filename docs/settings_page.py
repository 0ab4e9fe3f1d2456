"""Writes ``docs/settings.md`` from the settings' own words: ``python -m docs.settings_page``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cds_service.settings import (
    ArchiveSettings,
    AuditSettings,
    HookSettings,
    ModelsSettings,
    MutualTlsSettings,
    OpsSettings,
    PagesSettings,
    Settings,
    SmartApp,
    TenantCards,
    TenantEvidence,
    TenantSettings,
    WebSettings,
    WorkerSettings,
)
from cds_service.settings.triggers import SubscriptionSettings, TriggerSettings

INTRODUCTION = """# Settings

Every setting can stand in a TOML file (`--config FILE`, or `SCANHOOK_CONFIG`) or in the
environment, which wins: the name in upper case after `SCANHOOK_`, with `__` between levels, and
JSON for lists (`SCANHOOK_WORKER__JOB_TIMEOUT_S=60`, `SCANHOOK_SITE_SECRETS='["..."]'`).
This page is made from `cds_service/settings`; a test keeps the two equal.
"""

GROUPS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Top level", "", Settings),
    ("How the hook answers", "[hook]", HookSettings),
    ("How jobs run", "[worker]", WorkerSettings),
    ("How models run", "[models]", ModelsSettings),
    ("Where the web process listens", "[web]", WebSettings),
    ("What pages keep and hold", "[pages]", PagesSettings),
    ("The operations page", "[ops]", OpsSettings),
    ("Certificates of EHRs", "[mutual_tls]", MutualTlsSettings),
    ("The audit trail", "[audit]", AuditSettings),
    ("What starts an analysis before a hook", "[triggers]", TriggerSettings),
    ("Each subscription", "[[triggers.subscriptions]]", SubscriptionSettings),
    ("Each archive", "[[archives]]", ArchiveSettings),
    ("Each tenant (an EHR)", "[[tenants]]", TenantSettings),
    ("What a tenant's cards show", "[tenants.cards]", TenantCards),
    ("What is kept of a tenant's results", "[tenants.evidence]", TenantEvidence),
    ("The page as a tenant's SMART app", "[tenants.smart_app]", SmartApp),
)


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([INTRODUCTION, *(line for group in GROUPS for line in _group(*group))])


def _group(title: str, table: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"## {title}" + (f" `{table}`" if table else "")
    yield ""
    yield "| name | default | meaning |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        meaning = " ".join((field.description or "").split())
        yield f"| `{name}` | {_default(field)} | {meaning} |"
    yield ""


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "" or value == () or str(value) == "":
        return "none"
    return f"`{value}`"


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(page(), encoding="utf-8")
