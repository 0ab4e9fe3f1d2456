"""What our own identity does at an EHR: the scopes of each feature, why, and what is off without.

This is the one place that names scopes of the workers (SMART Backend Services). The token request,
the registration pack, the doctor and the log all go by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cds_service.scopes import granted, parse_scopes
from cds_service.settings import Settings, TenantSettings

May = Callable[[str, str], bool]
"""(resource type, letters of ``cruds``) -> whether our token's scopes grant it."""

BY_SETTINGS = "Asked for by this site's settings."


@dataclass(frozen=True)
class Feature:
    """Something that needs rights at the EHR.

    `scopes` are asked for it, each with its reason; `needs` is the least with which it works, and
    `off` says what is not done without that.
    """

    name: str
    needs: Mapping[str, str]
    off: str
    scopes: Mapping[str, str]

    def may(self, may: May) -> bool:
        """Whether all that it needs is granted."""
        return all(may(resource_type, access) for resource_type, access in self.needs.items())


RESULTS = Feature(
    "results",
    {"DiagnosticReport": "cu", "Observation": "cu"},
    "results are not written to the EHR; cards and pages show them",
    {
        "system/DiagnosticReport.crus": "The report of each analysis, found again by its identifier"
        " and updated.",
        "system/Observation.crus": "One Observation for each result of a model, named in the"
        " report.",
    },
)
DEVICE = Feature(
    "device",
    {"Device": "cu"},
    "reports name their model in words alone, not as a Device",
    {
        "system/Device.crus": "The model and its version, which the Observations name as their"
        " device."
    },
)
PROVENANCE = Feature(
    "provenance",
    {"Provenance": "c"},
    "reports are written without a Provenance",
    {"system/Provenance.crus": "That software made the report, and which."},
)
SEARCH = Feature(
    "search",
    {"ImagingStudy": "rs", "Patient": "r"},
    "studies are found by hooks alone",
    {
        "system/ImagingStudy.rs": "To start an analysis when a study arrives, before a chart is"
        " opened.",
        "system/Patient.rs": "The identifiers, to compare with the images of a study found without"
        " a hook.",
        "system/Endpoint.rs": "To choose the archive of a study that was found without a hook.",
    },
)
SUBSCRIPTION = Feature(
    "subscription",
    {"Subscription": "cu"},
    "no Subscription is made or renewed",
    {"system/Subscription.crus": "To be told of new studies."},
)
AUDIT = Feature(
    "audit",
    {"AuditEvent": "c"},
    "the EHR gets no AuditEvents of ours",
    {"system/AuditEvent.c": "To record what was read and written (IHE BALP)."},
)
FEATURES = (RESULTS, DEVICE, PROVENANCE, SEARCH, SUBSCRIPTION, AUDIT)

_REASONS = {s.partition(".")[0]: why for each in FEATURES for s, why in each.scopes.items()}


def switched_on(settings: Settings, tenant: TenantSettings) -> tuple[Feature, ...]:
    """The features that the settings have switched on for a tenant.

    Whoever sets ``[triggers]`` starts analyses without a hook; that reads charts of every tenant.
    """
    if tenant.backend == "none":
        return ()
    subscribed = any(each.tenant == tenant.name for each in settings.triggers.subscriptions)
    on = {
        RESULTS.name: tenant.write_back,
        DEVICE.name: tenant.write_back,
        PROVENANCE.name: tenant.write_back,
        SEARCH.name: "triggers" in settings.model_fields_set,
        SUBSCRIPTION.name: subscribed,
        AUDIT.name: settings.audit.to == "fhir",
    }
    return tuple(feature for feature in FEATURES if on[feature.name])


def backend_scopes(settings: Settings, tenant: TenantSettings) -> dict[str, str]:
    """The scopes to ask a tenant's token endpoint for, each with its reason.

    Those that the tenant's settings list, or else what is switched on.
    """
    derived = {s: why for each in switched_on(settings, tenant) for s, why in each.scopes.items()}
    listed = {scope: _REASONS.get(scope.partition(".")[0], BY_SETTINGS) for scope in tenant.scopes}
    return listed or derived


def not_covered(settings: Settings, tenant: TenantSettings) -> tuple[Feature, ...]:
    """What is switched on, and needs more than the scopes that are asked for."""
    may = granted(backend_scopes(settings, tenant))
    return tuple(each for each in switched_on(settings, tenant) if not each.may(may))


def covered(settings: Settings, tenant: TenantSettings, feature: Feature) -> bool:
    """Whether we may do it at that tenant without a user, as far as the settings say."""
    if tenant.backend != "smart":
        return tenant.backend == "open"
    asked = backend_scopes(settings, tenant)
    return bool(asked) and feature.may(granted(asked))


def essential(scopes: Iterable[str]) -> tuple[str, ...]:
    """Those without which nothing is left: of results, or, where none are asked for, of search.

    An authorization server may refuse all scopes because it does not know one of the others
    (``invalid_scope``, RFC 6749, 5.2). What we cannot understand may be its own and stays.
    """
    asked = tuple(scopes)
    may = granted(asked)
    core = next((each for each in (RESULTS, SEARCH) if each.may(may)), None)
    if core is None:
        return asked

    def kept(scope: str) -> bool:
        known = parse_scopes(scope)
        return not known or known[0].resource_type in ("*", *core.needs)

    return tuple(filter(kept, asked))


def lost(asked: Iterable[str], got: Iterable[str]) -> tuple[Feature, ...]:
    """The features that the scopes asked for would allow and those granted do not."""
    wanted, there = granted(asked), granted(got)
    return tuple(each for each in FEATURES if each.may(wanted) and not each.may(there))


def in_words(off: Iterable[Feature]) -> str:
    """What is not done, as one sentence."""
    return "; ".join(feature.off for feature in off)
