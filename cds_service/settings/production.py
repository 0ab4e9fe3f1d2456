"""What production refuses, with what to set instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cds_service.settings.site import Settings

SANDBOX_ISSUERS = ("https://sandbox.cds-hooks.org",)
"""Issuers whose private keys are public: fine to try, never in production."""


def refuse_unsafe(settings: Settings) -> None:
    """Raise ValueError with a sentence for each value that is only fit for a laptop."""
    problems = []
    if not settings.site_secrets:
        problems.append("site_secrets is empty: set one made by `scanhook keys new-secret`")
    if any(len(secret.get_secret_value()) < 32 for secret in settings.site_secrets):
        problems.append("a site secret is shorter than 32 characters")
    urls = [("base_url", settings.base_url)]
    urls += [(f"tenant {t.name} fhir_base", t.fhir_base) for t in settings.tenants]
    urls += [(f"tenant {t.name} jwks_url", t.jwks_url) for t in settings.tenants if t.jwks_url]
    problems += [f"{name} must be https" for name, url in urls if not url.startswith("https://")]
    problems += [
        f"tenant {t.name}: backend open is for sandboxes, use smart"
        for t in settings.tenants
        if t.backend == "open"
    ]
    problems += [
        f"tenant {t.name}: the private key of {t.issuer} is public, remove it"
        for t in settings.tenants
        if t.issuer in SANDBOX_ISSUERS
    ]
    if settings.redis_url.startswith("redis://") and "127.0.0.1" not in settings.redis_url:
        problems.append("redis_url crosses the network in clear: use rediss:// or unix://")
    if problems:
        raise ValueError("; ".join(problems))
