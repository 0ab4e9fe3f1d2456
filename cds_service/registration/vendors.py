"""What each vendor asks for in words of its own, with where that is known from.

Only what is documented; what is not public stands among the unknowns, and is to be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cds_service.registration import facts, reasons
from cds_service.registration.facts import Subject
from cds_service.scopes import parse_scopes
from cds_service.security.jwt import LIFETIME_S
from cds_service.security.links import LAUNCH_PATH
from cds_service.smart.routes import CALLBACK_PATH

Vendor = Literal["epic", "oracle", "generic"]

SPECIFICATION = "CDS Hooks 2.0.1"
EPIC_NOTICE = "notice on fhir.epic.com"
EPIC_COPY = "copy of the vendor's page on trusting CDS clients (the original needs a login)"
EPIC_PROCESS = "App Creation & Request Process, fhir.epic.com"
EPIC_OAUTH = "OAuth 2.0 Specification, fhir.epic.com"
ORACLE_DRAFT = "draft page of 2021, pull request 707 of cerner/fhir.cerner.com, never merged"
ORACLE_GUIDES = "integrators' guides to the code Console (secondary)"
ORACLE_HELP = "Oracle Help Center, Millennium Platform APIs"

BY_HAND = "to be filled in: the settings do not say it"


@dataclass(frozen=True)
class Field:
    """One field of a vendor's form: our value, and where the field is known from."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class Difference:
    """One thing that this vendor does in its own way, and what that means here."""

    fact: str
    here: str
    source: str


@dataclass(frozen=True)
class VendorSheet:
    """What a vendor's form asks for, how the vendor differs, and what nobody could find out."""

    title: str
    fields: tuple[Field, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]


def sheet(vendor: Vendor, about: Subject) -> VendorSheet:
    """The sheet of one vendor, filled in."""
    return {"epic": _epic, "oracle": _oracle, "generic": _generic}[vendor](about)


def as_values(found: VendorSheet) -> Mapping[str, Any]:
    """The sheet for machines."""
    return {
        "title": found.title,
        "fields": [vars(field) for field in found.fields],
        "differences": [vars(each) for each in found.differences],
        "unknown": list(found.unknown),
    }


def _generic(about: Subject) -> VendorSheet:
    return VendorSheet(
        "Any client of CDS Hooks 2.0.1",
        (
            Field("Discovery", about.url(facts.DISCOVERY_PATH), SPECIFICATION),
            Field("Services", [row["url"] for row in facts.services(about)], SPECIFICATION),
            *_identity(about, SPECIFICATION),
        ),
        (
            _algorithms(about, "ES384 and RS384 are the specification's own", SPECIFICATION),
            Difference(
                "aud is the exact URL that is called",
                "it is compared letter for letter; each service has a URL of its own",
                SPECIFICATION,
            ),
        ),
        ("Which hooks and which prefetch the client supports.", "The client's time limit."),
    )


def _identity(about: Subject, source: str) -> tuple[Field, ...]:
    return (
        Field("iss of the calls", about.tenant.issuer, source),
        Field(
            "The caller's keys", about.tenant.jwks_url or "a file, see tenants.jwks_file", source
        ),
        Field("FHIR server", about.tenant.fhir_base, source),
    )


def _algorithms(about: Subject, fact: str, source: str) -> Difference:
    return Difference(fact, f"accepted here: {', '.join(about.tenant.algorithms)}", source)


def _place_of_keys(about: Subject) -> str:
    url = about.tenant.jwks_url
    return f"configured is {url}; another jku is refused" if url else "keys are a file; passed over"


def _epic(about: Subject) -> VendorSheet:
    return VendorSheet(
        "Epic: Build Apps at fhir.epic.com, then the health system's own build",
        (
            Field("App name", about.settings.organisation, EPIC_PROCESS),
            Field("App consumer type", "backend systems; clinicians for the page", EPIC_PROCESS),
            Field("Necessary APIs", _types(about), EPIC_PROCESS),
            Field("Default FHIR version", "R4 (4.0.1)", EPIC_PROCESS),
            Field("Redirect URI of the page", about.url(CALLBACK_PATH), EPIC_PROCESS),
            Field("Refresh tokens", "none", EPIC_PROCESS),
            Field("JWK Set URL of the workers", about.url(facts.KEYS_PATH), EPIC_NOTICE),
            Field("aud, set for each service", _service_urls(about), EPIC_COPY),
            *_identity(about, EPIC_COPY),
        ),
        (
            Difference(
                "Since 23 February 2026 a new backend application needs a JWK Set URL",
                "ours is in the fields above; a static key is not offered",
                EPIC_NOTICE,
            ),
            Difference(
                "an app record cannot be changed once it is marked ready for production",
                "addresses are made from base_url: settle it before",
                EPIC_PROCESS,
            ),
            Difference(
                "production takes redirect URIs in https without a fragment",
                f"ours is {about.url(CALLBACK_PATH)}",
                EPIC_OAUTH,
            ),
            _algorithms(about, "calls are signed with RS384 by default", EPIC_COPY),
            Difference(
                "aud, iss and sub are typed in by the health system",
                "iss must be tenants.issuer and aud the URL of each service; sub is not looked at",
                EPIC_COPY,
            ),
            Difference(
                "jku is {base}/api/epic/2019/Security/Open/PublicKeys/{environment}/{environment}",
                _place_of_keys(about),
                EPIC_COPY,
            ),
            Difference(
                "the example's token lives for 900 s, with nbf five minutes before iat",
                f"up to {LIFETIME_S} s are accepted, and an nbf in the past",
                EPIC_COPY,
            ),
        ),
        (
            "Which hooks are supported, and under which versions of Epic.",
            "The time limit of a call, and what is shown when it is over.",
            "Which members of a card are shown, and whether feedback is sent.",
            "Whether prefetch templates are filled as they are written, or typed in at build time.",
            f"Where the page's launch address is entered: it is {about.url(LAUNCH_PATH)}.",
            "The record inside Epic in which a health system enters a service, and its fields: that"
            " documentation needs the vendor's login; ask the health system's analyst.",
        ),
    )


def _types(about: Subject) -> list[str]:
    """The types of resource that any of our scopes is for."""
    rows = [row for group in facts.scopes(about).values() for row in group]
    parsed = [scope for row in rows for scope in parse_scopes(row["scope"])]
    return sorted({scope.resource_type for scope in parsed})


def _service_urls(about: Subject) -> list[str]:
    return [row["url"] for row in facts.services(about)]


def _oracle(about: Subject) -> VendorSheet:
    return VendorSheet(
        "Oracle Health: the CDS service with the vendor, the applications in the code Console",
        (*_oracle_service(about), *_oracle_console(about)),
        _oracle_differences(about),
        (
            "Whether the draft of 2021 is how CDS services are registered today.",
            "The time limit of a call, and which members of a card are shown.",
            "Whether discovery is read, or the fields above are typed in.",
            "Whether feedback is sent.",
        ),
    )


def _oracle_console(about: Subject) -> tuple[Field, ...]:
    """The two applications in the code Console."""
    keys = about.url(facts.KEYS_PATH)
    return (
        Field("Application Name", about.settings.organisation, ORACLE_GUIDES),
        Field("Application Owner", about.settings.organisation, ORACLE_GUIDES),
        Field("Application Type", "System (the workers); Provider (the page)", ORACLE_GUIDES),
        Field("Type of Access", "Online: no refresh token is asked for", ORACLE_GUIDES),
        Field("Redirect address (Provider)", about.url(CALLBACK_PATH), ORACLE_GUIDES),
        Field("JWKS (System; registered in Cerner Central)", keys, ORACLE_GUIDES),
    )


def _oracle_service(about: Subject) -> tuple[Field, ...]:
    """The service as the vendor's form asks for it."""
    shown = next(row for row in facts.services(about) if row["hook"] == "patient-view")
    kinds = ", ".join(facts.modalities(facts.models(about))) or "none"
    return (
        Field("hook", shown["hook"], ORACLE_DRAFT),
        Field("title", shown["title"], ORACLE_DRAFT),
        Field("description", shown["description"], ORACLE_DRAFT),
        Field(
            "trigger condition",
            f"a chart is opened that has an imaging study of modality {kinds}",
            ORACLE_DRAFT,
        ),
        Field("service url", shown["url"], ORACLE_DRAFT),
        Field("fhir server", about.tenant.fhir_base, ORACLE_DRAFT),
        Field("owner email", about.settings.contact or BY_HAND, ORACLE_DRAFT),
        Field("tenants", BY_HAND, ORACLE_DRAFT),
        Field("fhir scopes", list(reasons.HOOK_SCOPES), ORACLE_DRAFT),
        Field("allowed links", [about.settings.base_url], ORACLE_DRAFT),
        Field("smart apps launch urls", [about.url(LAUNCH_PATH)], ORACLE_DRAFT),
    )


def _oracle_differences(about: Subject) -> tuple[Difference, ...]:
    """How the vendor's documents differ from what the service does."""
    return (
        Difference(
            "patient-view is the only hook that was documented",
            "the other services are there, and may be left out",
            ORACLE_DRAFT,
        ),
        Difference(
            "iss is https://cds-hooks.cerner.com, and the jku is in the list at"
            " https://authorization.cerner.com/jwk",
            f"configured are {about.tenant.issuer} and {about.tenant.jwks_url or 'a file'}",
            ORACLE_DRAFT,
        ),
        _algorithms(about, "the algorithm of the calls is not stated", ORACLE_DRAFT),
        Difference(
            "critical is a pop-up, the others stand in a side bar",
            f"a finding is {about.settings.hook.finding_indicator} here",
            ORACLE_DRAFT,
        ),
        Difference("appContext is not supported", "no card of ours needs one", ORACLE_DRAFT),
        Difference(
            "the vendor validates each application, and each customer switches it on by domain",
            "nothing to set here",
            ORACLE_HELP,
        ),
    )
