"""The one frozen object of settings, from the environment and a TOML file.

This package is the only reader of the environment. A name in the environment is the field's name
with the prefix ``SCANHOOK_`` and ``__`` between levels (``SCANHOOK_WORKER__JOB_TIMEOUT_S=60``); it
wins over the same field in the TOML file that ``SCANHOOK_CONFIG`` or ``--config`` names.
"""

from cds_service.settings.audit import AuditSettings
from cds_service.settings.cards import TenantCards
from cds_service.settings.environment import (
    SandboxSecrets,
    environment_without_settings,
    forget_secrets,
)
from cds_service.settings.evidence import TenantEvidence
from cds_service.settings.ops import OpsSettings
from cds_service.settings.pages import PagesSettings
from cds_service.settings.parts import (
    ArchiveSettings,
    HookSettings,
    ModelsSettings,
    MutualTlsSettings,
    TenantSettings,
    WebSettings,
    WorkerSettings,
    fingerprint,
)
from cds_service.settings.production import on_this_machine
from cds_service.settings.site import Settings, load
from cds_service.settings.smart import SmartApp

__all__ = [
    "ArchiveSettings",
    "AuditSettings",
    "HookSettings",
    "ModelsSettings",
    "MutualTlsSettings",
    "OpsSettings",
    "PagesSettings",
    "SandboxSecrets",
    "Settings",
    "SmartApp",
    "TenantCards",
    "TenantEvidence",
    "TenantSettings",
    "WebSettings",
    "WorkerSettings",
    "environment_without_settings",
    "fingerprint",
    "forget_secrets",
    "load",
    "on_this_machine",
]
