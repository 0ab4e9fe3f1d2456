"""Discovery: what is listed, and whether it is what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from cds_service.conformance.examination import Examination, Service, templates_of
from cds_service.conformance.hooks import HOOK_VERSIONS, HOOKS
from cds_service.conformance.requirement import requirement
from cds_service.conformance.shapes import (
    REVERSE_DNS,
    empties,
    is_segment,
    is_text,
    missing,
    objects,
    strange_names,
)
from cds_service.conformance.templates import (
    later_tokens,
    outside_the_subset,
    unknown_tokens,
)

CLAUSE = "CDS Hooks 2.0.1, Discovery"
_MEMBERS = {"hook", "title", "description", "id", "prefetch", "usageRequirements", "extension"}
_BALLOT = {"version", "hookVersion", "potentiallyLongRunning"}
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?([-+][0-9A-Za-z.+-]+)?|STU[1-9]")


def _name(service: Service) -> str:
    return str(service.get("id", "a service without id"))[:60]


@requirement("A01", "SHALL", "Discovery answers 200 with the array services.", CLAUSE)
def discovery_answers(exam: Examination) -> Iterator[str]:
    answer = exam.discovery
    if answer.status != 200:
        yield f"GET /cds-services answers {answer.status}"
        return
    fault = answer.fault_as_json()
    if fault:
        yield fault
    elif not isinstance(answer.members.get("services"), list):
        yield "services is missing or not an array"
    elif len(objects(answer.members["services"])) < len(answer.members["services"]):
        yield "services has an item that is not an object"


@requirement("A02", "SHALL", "Each service has hook, description and id, as strings.", CLAUSE)
def services_are_described(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for sentence in missing(service, "hook", "description", "id"):
            yield f"{_name(service)}: {sentence}"


@requirement(
    "A02", "SHALL", "An id is one segment of the path that the service is called at.", CLAUSE
)
def ids_are_one_segment_of_a_path(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        if is_text(service.get("id")) and not is_segment(service["id"]):
            yield f"{_name(service)}: {{base}}/cds-services/{{id}} is not the URL of a service"


@requirement(
    "A02", "SHALL", "Each service can be called at {base}/cds-services/{id}.", f"{CLAUSE}, Response"
)
def services_can_be_called(exam: Examination) -> Iterator[str]:
    for service in exam.services:
        status = exam.good(service).status
        if status in (404, 405):
            yield f"{_name(service)}: a POST answers {status}"


@requirement("A03", "SHOULD", "Each service has a title.", CLAUSE)
def services_have_titles(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for sentence in missing(service, "title"):
            yield f"{_name(service)}: {sentence}"


@requirement(
    "A04",
    "SHALL",
    "prefetch is an object of strings, title and usageRequirements are strings.",
    CLAUSE,
)
def optional_members_have_their_types(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        listed = service.get("prefetch", {})
        if not isinstance(listed, dict) or not all(is_text(v) for v in listed.values()):
            yield f"{_name(service)}: prefetch is not an object of strings"
        if not is_text(service.get("usageRequirements", "none")):
            yield f"{_name(service)}: usageRequirements is not a string"
        if not is_text(service.get("title", "none")):
            yield f"{_name(service)}: title is not a string"


@requirement(
    "A05",
    "SHOULD",
    "version names the specification that is implemented.",
    "CDS Hooks 3.0 ballot, Discovery",
)
def versions_are_stated(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        version = service.get("version")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            yield f"{_name(service)}: version is missing or not a version"


@requirement(
    "A05",
    "SHALL",
    "hookVersion, where it is stated, is one that the hook has.",
    "CDS Hooks 3.0 ballot, Discovery",
)
def hook_versions_exist(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        published = HOOK_VERSIONS.get(str(service.get("hook")))
        if "hookVersion" in service and service["hookVersion"] != published and published:
            yield f"{_name(service)}: hookVersion is not the published {published}"


@requirement("A06", "SHALL", "No id is listed twice for the same hook.", CLAUSE)
def ids_are_unique_for_a_hook(exam: Examination) -> Iterator[str]:
    pairs = Counter((str(s.get("id")), str(s.get("hook"))) for s in exam.described)
    for (name, hook), count in pairs.items():
        if count > 1:
            yield f"{name[:60]} is listed {count} times for {hook[:60]}"


@requirement(
    "A07",
    "SHALL",
    "Nothing is null or empty but cards and services.",
    "CDS Hooks 2.0.1, Use of JSON",
)
def nothing_is_empty_in_discovery(exam: Examination) -> Iterator[str]:
    for path in empties(exam.discovery.members):
        yield f"{path} is null or empty"


@requirement("A08", "SHOULD", "A service has no member that no specification knows.", CLAUSE)
def members_are_known(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for name in sorted(set(service) - _MEMBERS - _BALLOT):
            yield f"{_name(service)}: {name[:40]} is unknown; extensions belong into extension"


@requirement("A10", "SHALL", "An extension is an object.", "CDS Hooks 2.0.1, Extensions")
def extensions_are_objects(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        if not isinstance(service.get("extension", {}), dict):
            yield f"{_name(service)}: extension is not an object"


@requirement(
    "A10", "SHOULD", "Names in an extension are in reverse DNS.", "CDS Hooks 2.0.1, Extensions"
)
def extension_names_are_in_reverse_dns(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for sentence in strange_names(service.get("extension")):
            yield f"{_name(service)}: {sentence}"


@requirement(
    "a.4",
    "SHALL",
    "A hook is a published one, or has a name in reverse DNS.",
    "CDS Hooks 2.0.1, Hook Definition",
)
def hooks_are_named_by_the_rule(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        hook = service.get("hook")
        if isinstance(hook, str) and hook not in HOOKS and not REVERSE_DNS.fullmatch(hook):
            yield f"{_name(service)}: {hook[:40]} is neither published nor in reverse DNS"


@requirement(
    "A40",
    "SHALL",
    "Tokens are {{context.field}} of the hook's root, or the current user.",
    "CDS Hooks 2.0.1, Prefetch tokens",
)
def tokens_are_known(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for key, template in templates_of(service):
            for sentence in unknown_tokens(template, str(service.get("hook"))):
                yield f"{_name(service)}: the template {key[:40]} {sentence}"


@requirement(
    "A41",
    "SHOULD",
    "Templates stay in the subset of queries that every client can run.",
    "CDS Hooks 2.0.1, Prefetch query restrictions",
)
def queries_are_portable(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for key, template in templates_of(service):
            for sentence in outside_the_subset(template):
                yield f"{_name(service)}: the template {key[:40]} {sentence}"


@requirement(
    "A42",
    "SHOULD",
    "Templates use no token that only the 3.0 ballot has.",
    "CDS Hooks 3.0 ballot, Prefetch tokens",
)
def tokens_are_not_of_the_ballot(exam: Examination) -> Iterator[str]:
    for service in exam.described:
        for key, template in templates_of(service):
            for sentence in later_tokens(template):
                yield f"{_name(service)}: the template {key[:40]} {sentence}"


CHECKS = (
    discovery_answers,
    services_are_described,
    ids_are_one_segment_of_a_path,
    services_can_be_called,
    services_have_titles,
    optional_members_have_their_types,
    versions_are_stated,
    hook_versions_exist,
    ids_are_unique_for_a_hook,
    nothing_is_empty_in_discovery,
    members_are_known,
    extensions_are_objects,
    extension_names_are_in_reverse_dns,
    hooks_are_named_by_the_rule,
    tokens_are_known,
    queries_are_portable,
    tokens_are_not_of_the_ballot,
)
