"""The demo EHR's FHIR R4 interface over HTTP (R4 http.html)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, request

from cds_service.sandbox.fhir_errors import FhirRefusal, Forbidden, NotFound, operation_outcome
from cds_service.sandbox.fhir_search import TYPES, Page, Resource, matches, parameters
from cds_service.sandbox.fhir_store import FhirStore, Query, Written
from cds_service.sandbox.fhir_transaction import entries_of, response_bundle, transact
from cds_service.sandbox.tokens import Grant, Tokens
from cds_service.strict_json import InvalidJson, load_json

FHIR_JSON = "application/fhir+json"
_log = logging.getLogger(__name__)
_JSON_TYPES = frozenset({FHIR_JSON, "application/json"})
_LETTERS = {"POST": "c", "PUT": "u", "DELETE": "d"}


def fhir_routes(store: FhirStore, tokens: Tokens, base_url: Callable[[], str]) -> Blueprint:
    """Read, search, create, update and transact; each call needs a bearer token with the scope.

    `base_url` is the address under which the blueprint is mounted. ``metadata`` and
    ``.well-known/smart-configuration`` are open.
    """
    blueprint = Blueprint("fhir", __name__)
    _add_open_routes(blueprint, base_url)
    _add_reading(blueprint, store, tokens, base_url)
    _add_writing(blueprint, store, tokens, base_url)

    @blueprint.errorhandler(FhirRefusal)
    def refuse(refusal: FhirRefusal) -> Response:
        _log.warning("a FHIR request was refused", extra={"status": refusal.status})
        return _json(refusal.outcome(), refusal.status)

    return blueprint


def _add_open_routes(blueprint: Blueprint, base_url: Callable[[], str]) -> None:
    @blueprint.get("/metadata")
    def metadata() -> Response:
        return _json(_capabilities(base_url()))

    @blueprint.get("/.well-known/smart-configuration")
    def smart_configuration() -> Response:
        body = {
            "token_endpoint": base_url().removesuffix("/fhir") + "/auth/token",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": ["system/*.cruds"],
            "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        }
        return Response(json.dumps(body), mimetype="application/json")


def _add_reading(
    blueprint: Blueprint, store: FhirStore, tokens: Tokens, base_url: Callable[[], str]
) -> None:
    @blueprint.get("/<kind>/<logical_id>")
    def read(kind: str, logical_id: str) -> Response:
        grant = _authorised(tokens, kind, "r")
        resource = store.read(kind, logical_id)
        if not _visible(resource, grant):
            raise NotFound("There is no such resource.")
        return _resource(resource)

    @blueprint.get("/<kind>/<logical_id>/_history/<version>")
    def vread(kind: str, logical_id: str, version: str) -> Response:
        grant = _authorised(tokens, kind, "r")
        for resource in store.history(kind, logical_id):
            if resource["meta"]["versionId"] == version and _visible(resource, grant):
                return _resource(resource)
        raise NotFound("There is no such version.")

    def found(kind: str, query: Query) -> Response:
        grant = _authorised(tokens, kind, "s")
        if kind not in TYPES:
            raise NotFound("This server does not keep resources of that type.")
        page = store.search(kind, query)
        return _json(searchset(page, kind, query, base_url(), grant))

    @blueprint.get("/<kind>")
    def search(kind: str) -> Response:
        return found(kind, list(request.args.items(multi=True)))

    @blueprint.post("/<kind>/_search")
    def search_by_post(kind: str) -> Response:
        return found(kind, list(request.form.items(multi=True)))


def _add_writing(
    blueprint: Blueprint, store: FhirStore, tokens: Tokens, base_url: Callable[[], str]
) -> None:
    def written(result: Written) -> Response:
        answer = _resource(result.resource, 201 if result.created else 200)
        answer.headers["Location"] = f"{base_url()}/{result.location}"
        return answer

    @blueprint.post("/<kind>")
    def create(kind: str) -> Response:
        _authorised(tokens, kind, "c")
        condition = request.headers.get("If-None-Exist")
        query = parse_qsl(condition.lstrip("?")) if condition is not None else None
        with store.change() as draft:
            return written(draft.create(_body(kind), query))

    @blueprint.put("/<kind>/<logical_id>")
    def update(kind: str, logical_id: str) -> Response:
        _authorised(tokens, kind, "u")
        with store.change() as draft:
            if_match = request.headers.get("If-Match")
            return written(draft.update(_body(kind), logical_id, if_match))

    @blueprint.delete("/<kind>/<logical_id>")
    def delete(kind: str, logical_id: str) -> Response:
        _authorised(tokens, kind, "d")
        with store.change() as draft:
            draft.delete(kind, logical_id)
        return Response(status=204)

    @blueprint.put("/<kind>")
    def update_where(kind: str) -> Response:
        _authorised(tokens, kind, "u")
        query = list(request.args.items(multi=True))
        with store.change() as draft:
            return written(draft.update_where(_body(kind), query, request.headers.get("If-Match")))

    @blueprint.post("/")
    @blueprint.post("")
    def transaction() -> Response:
        grant = _grant(tokens)
        bundle = _body("Bundle")
        for entry in entries_of(bundle):
            _require(grant, entry.kind, _LETTERS[entry.method])
        return _json(response_bundle(transact(store, bundle)))


def searchset(
    page: Page, kind: str, query: Query, base_url: str, grant: Grant | None = None
) -> Resource:
    """A searchset Bundle, without a total, with a link to the next page if there is one."""
    links = [{"relation": "self", "url": f"{base_url}/{kind}?{urlencode(query)}"}]
    if page.following is not None:
        rest = [(name, value) for name, value in query if name != "_offset"]
        following = urlencode([*rest, ("_offset", str(page.following))])
        links.append({"relation": "next", "url": f"{base_url}/{kind}?{following}"})
    entries = [
        {
            "fullUrl": f"{base_url}/{kind}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match"},
        }
        for resource in page.resources
        if grant is None or _visible(resource, grant)
    ]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
    return bundle | ({"entry": entries} if entries else {})


def _visible(resource: Resource, grant: Grant) -> bool:
    """A token for one patient shows what is of that patient, or of no patient at all."""
    if grant.patient_id is None:
        return True
    if resource["resourceType"] == "Patient":
        return bool(resource["id"] == grant.patient_id)
    subject = resource.get("subject") or resource.get("patient")
    mine = [("subject", f"Patient/{grant.patient_id}")]
    return subject is None or (
        "subject" in parameters(resource["resourceType"])
        and matches(resource, resource["resourceType"], mine)
    )


class _NoToken(FhirRefusal):
    status = 401
    code = "login"


def _grant(tokens: Tokens) -> Grant:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    grant = tokens.grant(token.strip()) if kind.lower() == "bearer" else None
    if grant is None:
        raise _NoToken("A good access token is needed.")
    return grant


def _authorised(tokens: Tokens, kind: str, interaction: str) -> Grant:
    grant = _grant(tokens)
    _require(grant, kind, interaction)
    return grant


def _require(grant: Grant, kind: str, interaction: str) -> None:
    if not grant.allows(kind, interaction):
        raise Forbidden("The token's scopes do not cover this.")


def _body(kind: str) -> dict[str, Any]:
    if request.mimetype not in _JSON_TYPES:
        raise _NotJson("The body has to be application/fhir+json.")
    try:
        body = load_json(request.get_data())
    except InvalidJson as error:
        raise FhirRefusal(error.sentence) from None
    if body.get("resourceType") != kind:
        raise FhirRefusal("The resource is of another type than the address.")
    return body


class _NotJson(FhirRefusal):
    status = 415
    code = "not-supported"


def _resource(resource: Resource, status: int = 200) -> Response:
    answer = _json(resource, status)
    answer.headers["ETag"] = f'W/"{resource["meta"]["versionId"]}"'
    return answer


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    text = json.dumps(body, ensure_ascii=False)
    answer = Response(text, status, content_type=f"{FHIR_JSON}; charset=utf-8")
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="sandbox EHR"'
    return answer


def outcome(status: int) -> Response:
    """For requests that are no FHIR interaction at all: another address, method or size."""
    code = {404: "not-found", 405: "not-supported", 413: "too-long"}.get(status, "invalid")
    return _json(operation_outcome(code, "This is no interaction of this server."), status)


def _capabilities(base_url: str) -> Resource:
    interactions = ["read", "vread", "search-type", "create", "update", "delete"]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "implementation": {"description": "scanhook sandbox EHR", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {"service": [{"coding": [{"code": "SMART-on-FHIR"}]}]},
                "interaction": [{"code": "transaction"}],
                "resource": [
                    {
                        "type": kind,
                        "interaction": [{"code": code} for code in interactions],
                        "versioning": "versioned",
                        "updateCreate": True,
                        "conditionalCreate": True,
                        "conditionalUpdate": True,
                        "searchParam": [
                            {"name": name, "type": _kind_of(name)} for name in parameters(kind)
                        ],
                    }
                    for kind in TYPES
                ],
            }
        ],
    }


def _kind_of(parameter: str) -> str:
    tokens = {
        "_id",
        "_security",
        "_tag",
        "identifier",
        "status",
        "category",
        "code",
        "type",
        "class",
    }
    tokens |= {"intent", "modality", "connection-type"}
    dates = {"_lastUpdated", "date", "issued", "started", "recorded"}
    return "token" if parameter in tokens else "date" if parameter in dates else "reference"
