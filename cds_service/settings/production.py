"""What production refuses, with what to set instead, and what is borne with a warning."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from redis.connection import parse_url

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
    urls += [(f"tenant {t.name} login", e) for t in settings.tenants for e in t.smart_app.endpoints]
    urls += [(f"tenant {t.name} fhir_base", t.fhir_base) for t in settings.tenants]
    urls += [(f"tenant {t.name} jwks_url", t.jwks_url) for t in settings.tenants if t.jwks_url]
    problems += [f"{name} must be https" for name, url in urls if not url.startswith("https://")]
    urls = [(f"archive {a.name} base_url", a.base_url) for a in settings.archives]
    urls += [(f"tenant {t.name} token_url", t.token_url) for t in settings.tenants if t.token_url]
    problems += [
        f"{name} must be https, or a proxy on this machine"
        for name, url in urls
        if not url.startswith("https://") and not on_this_machine(url)
    ]
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
    if _in_clear(settings.redis_url):
        problems.append("redis_url crosses the network in clear: use rediss:// or unix://")
    if problems:
        raise ValueError("; ".join(problems))


def warnings(settings: Settings) -> tuple[str, ...]:
    """A sentence for each lock that is open because a site said so."""
    return tuple(
        f"tenant {t.name}: tokens for {len(t.accepted_audiences)} other audience(s) are accepted; "
        "mend the aud in the EHR, then empty accepted_audiences"
        for t in settings.tenants
        if t.accepted_audiences
    )


def on_this_machine(url: str) -> bool:
    """Whether the host of `url` is loopback: an address (127.0.0.0/8, ::1) or ``localhost``."""
    return _is_loopback(urlsplit(url).hostname or "")


def _in_clear(redis_url: str) -> bool:
    """Whether the queue is spoken to over a network without TLS, as redis-py reads the address."""
    if not redis_url.startswith("redis://"):
        return False
    return not _is_loopback(str(queue_address(redis_url).get("host", "localhost")))


def queue_address(redis_url: str) -> dict[str, object]:
    """What redis-py makes of the address of the queue; ValueError if it can make nothing of it."""
    taken_apart: dict[str, object] = parse_url(redis_url)  # type: ignore[no-untyped-call]  # redis
    return taken_apart


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
