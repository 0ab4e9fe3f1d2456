"""What a vendor registers, as plain values: all of it from the settings and the code that acts.

Each function gives one document of the pack. Nothing here is written down a second time: a value
that is not in the settings is the constant by which the service itself goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cds_service.bootstrap import Site
from cds_service.clients.assertion import ASSERTION_LIFETIME_S
from cds_service.features import BY_SETTINGS, backend_scopes
from cds_service.feedback.ledger import ANSWERS_KEPT_S
from cds_service.hooks.discovery import SERVICES, discovery
from cds_service.queue.connection import WEB_TIMEOUT_S
from cds_service.queue.records import KEEP_S
from cds_service.registration import reasons
from cds_service.registration.errors import NoTenant
from cds_service.scopes import in_version_1
from cds_service.security.egress import parse_url
from cds_service.security.jwks import FRESH_S, WAIT_S
from cds_service.security.jwt import LEEWAY_S, LIFETIME_S
from cds_service.security.keyring import KEPT_S, LEAD_S, LONGEST_TOKEN_S, PUBLISHED_MAX_AGE_S
from cds_service.security.keys import public_jwks
from cds_service.security.links import LAUNCH_PATH
from cds_service.settings import Settings, TenantSettings
from cds_service.smart.routes import CALLBACK_PATH
from cds_service.triggers.routes import FHIR_PATH
from cds_service.web import CHANNEL_TIMEOUT_S

Json = dict[str, Any]

DISCOVERY_PATH = "/cds-services"
KEYS_PATH = "/.well-known/jwks.json"
DAY_S = 86_400

QUEUE_QUESTIONS = 6
"""No call asks the queue more often: token, records, orders, switches, claims, waiting."""


@dataclass(frozen=True)
class Subject:
    """Whom a pack is about: our site, and one EHR that registers it."""

    site: Site
    tenant: TenantSettings

    @property
    def settings(self) -> Settings:
        """The site's settings."""
        return self.site.settings

    def url(self, path: str) -> str:
        """A path of ours as the EHR calls it."""
        return self.settings.base_url.rstrip("/") + path


def subject(site: Site, name: str = "") -> Subject:
    """The pack's subject: the tenant of that name, or the only one.

    Raises:
        NoTenant: there is none of that name, or several and no name.
    """
    tenants = site.settings.tenants
    names = ", ".join(tenant.name for tenant in tenants) or "none"
    only = tenants[0] if len(tenants) == 1 else None
    found = site.settings.tenant(name) if name else only
    if found is None:
        raise NoTenant(f"a pack is for one EHR: name a tenant of the settings ({names})")
    return Subject(site, found)


def services(about: Subject) -> list[Json]:
    """Each service with its addresses, its prefetch and why each template is asked for."""
    return [
        {
            **{k: v for k, v in described.items() if k != "prefetch"},
            "url": about.url(f"{DISCOVERY_PATH}/{described['id']}"),
            "feedback_url": about.url(f"{DISCOVERY_PATH}/{described['id']}/feedback"),
            "priority": SERVICES[described["id"]].priority,
            "prefetch": [
                {"key": key, "template": template, "reason": reasons.PREFETCH[key]}
                for key, template in described["prefetch"].items()
            ],
        }
        for described in discovered(about)["services"]
    ]


def discovered(about: Subject) -> Json:
    """The answer of our discovery address, as it is served."""
    return discovery(about.settings.hook.studies)


def scopes(about: Subject) -> Json:
    """Every scope, in both versions of SMART, with its reason; by whom it is used."""
    tenant = about.tenant
    backend = backend_scopes(about.settings, tenant)
    launch = {s: reasons.LAUNCH_SCOPES.get(s, BY_SETTINGS) for s in tenant.smart_app.scopes}
    return {
        "of the token in a call (fhirAuthorization)": _scope_rows(reasons.HOOK_SCOPES),
        "of the workers (SMART Backend Services)": _scope_rows(backend),
        "of the page (SMART EHR launch)": _scope_rows(launch),
    }


def _scope_rows(by_scope: Mapping[str, str]) -> list[Json]:
    return [
        {"scope": scope, "scope_v1": " ".join(in_version_1(scope)), "reason": reason}
        for scope, reason in by_scope.items()
    ]


def key_set(about: Subject) -> Json:
    """Our public keys for this EHR, as they are published now."""
    return dict(public_jwks(about.site.outside.tenant_keys(about.tenant)))


def backend_client(about: Subject) -> Json:
    """The workers' registration (RFC 7591, 2; SMART Backend Services)."""
    return {
        **_client(about, "workers"),
        "grant_types": ["client_credentials"],
        "response_types": [],
        **_proof(about, confidential=True),
        "scope": " ".join(backend_scopes(about.settings, about.tenant)),
    }


def launch_client(about: Subject) -> Json:
    """The page's registration (RFC 7591, 2; OpenID Registration, ``initiate_login_uri``)."""
    app = about.tenant.smart_app
    return {
        **_client(about, "page"),
        "application_type": "web",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "redirect_uris": [about.url(CALLBACK_PATH)],
        "initiate_login_uri": about.url(LAUNCH_PATH),
        **_proof(about, confidential=app.confidential),
        "scope": " ".join(app.scopes),
    }


def _client(about: Subject, part: str) -> Json:
    contact = about.settings.contact
    return {
        "client_name": f"{about.settings.organisation}: imaging AI ({part})",
        "client_uri": about.settings.base_url,
        **({"contacts": [contact]} if contact else {}),
        "software_id": f"scanhook-{part}",
        "software_version": version("scanhook"),
    }


def _proof(about: Subject, *, confidential: bool) -> Json:
    """How the client proves who it is; a key set stands by its address alone (RFC 7591, 2)."""
    if not confidential:
        return {"token_endpoint_auth_method": "none"}
    keys = key_set(about)["keys"]
    algorithm = {"token_endpoint_auth_signing_alg": keys[0]["alg"]} if keys else {}
    address = about.url(KEYS_PATH)
    return {"token_endpoint_auth_method": "private_key_jwt", **algorithm, "jwks_uri": address}


def network(about: Subject) -> Json:
    """Who connects to whom: hosts and ports, from the bases that the service may call."""
    settings, tenant = about.settings, about.tenant
    inbound = parse_url(settings.base_url).origin
    return {
        "inbound": [
            {"from": "the EHR", "to": str(inbound.host), "port": inbound.port, "for": purpose}
            for purpose in ("hooks, feedback, discovery and our key set", "pages that users open")
        ],
        "outbound": [
            {"to": origin.host, "port": origin.port, "scheme": origin.scheme, "for": purpose}
            for purpose, origin in (
                (purpose, parse_url(url).origin) for purpose, url in _bases(about)
            )
        ],
        "rules": [
            "TLS ends at the proxy in front of the web process.",
            "Nothing else is connected to but our own queue: addresses in documents only select"
            " one of these, names are resolved once, and no redirect is followed.",
            "The token endpoint is on the FHIR server's own origin, or it is listed here.",
        ],
        "token_endpoint": tenant.token_url or "found in .well-known/smart-configuration",
        "notifications": [
            {"about": each.topic or each.criteria, "url": about.url(FHIR_PATH.format(each.tenant))}
            for each in settings.triggers.subscriptions
            if each.tenant == tenant.name
        ],
        "cors_origins": list(settings.hook.cors_origins),
        "frame_ancestors": list(settings.web.frame_ancestors),
    }


def _bases(about: Subject) -> Iterator[tuple[str, str]]:
    settings, tenant = about.settings, about.tenant
    yield "FHIR server", tenant.fhir_base
    if tenant.jwks_url:
        yield "the EHR's public keys", tenant.jwks_url
    if tenant.token_url:
        yield "token endpoint", tenant.token_url
    for name in tenant.archives:
        yield f"image archive {name}", settings.archive(name).base_url
    for base in tenant.smart_app.endpoints:
        yield "login of users", base


def retention(about: Subject) -> list[Json]:
    """What is kept, where and for how long (seconds; 0: not at all; None: not ours to say)."""
    settings = about.settings
    return [
        _kept("the call and its prefetch", "memory of the web process", 0),
        _kept("the EHR's access token", "memory, for one call", 0),
        _kept("our own access token", "memory", LONGEST_TOKEN_S),
        _kept("the patient's name in a launch's banner", "memory, for one answer", 0),
        _kept("images (DICOM)", "memory of one worker, for one analysis", 0),
        _kept("the order of an analysis, sealed", "queue", KEEP_S),
        _kept("state and result of a study, under an opaque id", "queue", KEEP_S),
        _kept("ids of used tokens, hashed", "queue", LIFETIME_S + LEEWAY_S + 1),
        _kept(
            "explanations: pictures and figures, no name",
            "folder of the site",
            settings.keep_explanations_days * DAY_S,
        ),
        _kept("answers to cards, without their free text", "queue", ANSWERS_KEPT_S),
        _kept("results", f"FHIR server, {'written' if _writes(about) else 'not written'}", None),
        _kept(f"DICOM objects of results: {_objects(about)}", "image archive", None),
        _kept("audit trail: ids of resources, patient's and user's too", _audited(about), None),
        _kept("logs and metrics: opaque ids and listed words", "the site's own log", None),
    ]


def _kept(what: str, where: str, for_s: int | None) -> Json:
    return {"what": what, "where": where, "for_s": for_s}


def _objects(about: Subject) -> str:
    return ", ".join(about.tenant.evidence.objects) or "none"


def _audited(about: Subject) -> str:
    """Where AuditEvents go, and how much of them is kept."""
    audit = about.settings.audit
    file = f"a file of the site, {audit.files} of {audit.file_mib} MiB at most"
    to_server = audit.to == "fhir" and about.tenant.backend != "none"
    where = {"none": "not kept", "file": file, "fhir": file}[audit.to]
    return f"FHIR server; what it refuses: {file}" if to_server else where


def _writes(about: Subject) -> bool:
    return about.tenant.write_back and about.tenant.backend != "none"


def timing(about: Subject) -> list[Json]:
    """Each bound of time, in seconds, and what happens when it is reached."""
    hook, worker = about.settings.hook, about.settings.worker
    card = "the answer says that the analysis is not ready; the next call shows the result"
    return [
        _bound("wait for a result that is nearly ready", hook.wait_ms / 1000, card),
        _bound("reading what the prefetch did not bring", hook.fhir_deadline_s, "412"),
        _bound("fetching the EHR's keys, when one is new", WAIT_S, "401"),
        _bound("each question to the queue", WEB_TIMEOUT_S, "a card says: not available"),
        _bound("a client that sends nothing", CHANNEL_TIMEOUT_S, "the connection is closed"),
        _bound("age of a caller's token (exp - iat)", LIFETIME_S, "401"),
        _bound("difference of clocks", LEEWAY_S, "401"),
        _bound("the EHR's key set is kept", FRESH_S, "it is read again, also for an unknown kid"),
        _bound("our key set may be kept", PUBLISHED_MAX_AGE_S, "read it again"),
        _bound("a new key of ours is published before it signs", LEAD_S, "it signs"),
        _bound("an old key of ours is published after it signed", KEPT_S, "it is removed"),
        _bound("our client assertion", ASSERTION_LIFETIME_S, "a new one for each request"),
        _bound("one analysis", worker.job_timeout_s, f"again, {worker.attempts} times at most"),
        _bound("a link on a card", about.settings.link_lifetime_s, "404; the next card has anew"),
    ]


def longest_wait_s(settings: Settings) -> float:
    """The sum of everything that an answer may wait for, if all of it is slow at once."""
    hook = settings.hook
    queue_s = QUEUE_QUESTIONS * WEB_TIMEOUT_S
    return round(WAIT_S + hook.fhir_deadline_s + hook.wait_ms / 1000 + queue_s, 1)


def _bound(what: str, seconds: float, then: str) -> Json:
    return {"what": what, "seconds": seconds, "then": then}


def models(about: Subject) -> list[Json]:
    """The models in use: what they are, and of which studies they may say something."""
    return [
        {
            "id": manifest.id,
            "version": manifest.version,
            "title": manifest.title,
            "stage": str(manifest.stage),
            "intended_use": manifest.intended_use,
            "not_for": list(manifest.not_for),
            "modalities": list(manifest.applies_to.modalities),
            "body_parts": list(manifest.applies_to.body_parts),
            "card_url": about.url(f"/models/{manifest.id}/{manifest.version}"),
        }
        for manifest in (package.manifest for package in about.site.registry.packages)
    ]


def modalities(rows: Iterable[Json]) -> list[str]:
    """The modalities of all models, once each."""
    return sorted({modality for row in rows for modality in row["modalities"]})
