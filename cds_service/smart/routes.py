"""The addresses of a launch (SMART App Launch 2.2, EHR launch): leave, come back, be shown.

No cookie and no session. The way back is a page that posts what it was given together with the
verifier that this window kept, so that a code which somebody else put into an address is worth
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from cds_service.security.links import LAUNCH_PATH, Links
from cds_service.smart.configuration import Configurations
from cds_service.smart.errors import BadLaunch, Denied, ForeignState, LaunchError, UnknownServer
from cds_service.smart.exchange import Exchange, Redemption
from cds_service.smart.identity import UserTokens
from cds_service.smart.pages import SCRIPT, LaunchPages
from cds_service.smart.registration import Registration, launched_by
from cds_service.smart.state import Departure, States
from cds_service.smart.studies import Explained, Launched
from fhir_mapping.banner import PatientBanner

_log = logging.getLogger(__name__)

CALLBACK_PATH, SCRIPT_PATH = "/smart/callback", "/smart/launch.js"
_CHARACTERS = 8192


@dataclass(frozen=True)
class Arrival:
    """What a launch shows; `banner` is the patient's where the EHR asks for it, and lives as long
    as the request."""

    studies: Sequence[Explained]
    banner: PatientBanner | None = None


@dataclass(frozen=True)
class LaunchDoor:
    """What a launch needs: the EHRs that may launch, and what their users may be shown.

    `clock_s` is epoch seconds.
    """

    base_url: str
    registrations: Sequence[Registration]
    states: States
    launched: Launched
    links: Links
    clock_s: Callable[[], float]
    configurations: Configurations = field(default_factory=Configurations)
    exchange: Exchange = field(default_factory=lambda: Exchange(UserTokens()))

    @property
    def redirect_uri(self) -> str:
        """Where the EHR sends the browser back: exactly this, as it is registered."""
        return f"{self.base_url.rstrip('/')}{CALLBACK_PATH}"

    def depart(self, iss: str, launch: str) -> tuple[Departure, str]:
        """A new state, and the address of the EHR's login with it.

        Raises:
            UnknownServer, ServerSilent: `iss` is not configured, or says nothing of its login.
        """
        at = launched_by(iss, self.registrations)
        if at is None:
            raise UnknownServer
        login_url = self.configurations.of(at).authorize_url
        departure = self.states.depart(at.tenant.name)
        asked = {
            "response_type": "code",
            "client_id": at.tenant.smart_app.client_id,
            "redirect_uri": self.redirect_uri,
            "launch": launch,
            "scope": " ".join(at.tenant.smart_app.scopes),
            "state": departure.state,
            "aud": iss,
            "code_challenge": departure.challenge,
            "code_challenge_method": "S256",
            "nonce": _nonce(departure.state),
        }
        mark = "&" if "?" in login_url else "?"
        return departure, f"{login_url}{mark}{urlencode(asked)}"

    def arrive(self, code: str, state: str, verifier: str) -> Arrival:
        """What the user who came back may be shown; one study, if the launch names it.

        Raises:
            LaunchError: any of them.
        """
        tenant = self.states.arrive(state, verifier)
        at = next((each for each in self.registrations if each.tenant.name == tenant), None)
        if at is None:
            raise UnknownServer
        brought = Redemption(code, verifier, self.redirect_uri, _nonce(state))
        grant = self.exchange.redeem(at, self.configurations.of(at), brought)
        _log.info("smart launch granted", extra={"tenant": tenant})
        studies = self.launched.studies(grant, at.tenant)
        whose = self.launched.whose(grant, at.tenant) if grant.needs_banner else None
        return Arrival(studies, whose)

    def address(self, study: Explained) -> str:
        """A short-lived address of the study's page."""
        record = study.record
        return self.links.explanation_url(record.explanation_id, record.id, self.clock_s())


def _nonce(state: str) -> str:
    """Binds the id_token to this launch without anything to remember."""
    return sha256(state.encode()).hexdigest()


def smart_blueprint(door: LaunchDoor, frame_ancestors: Sequence[str] = ()) -> Blueprint:
    """The three addresses of a launch; `frame_ancestors` as for the viewer."""
    blueprint, pages = Blueprint("smart", __name__), LaunchPages(door.links.base_path)
    policy = _policy(frame_ancestors)

    @blueprint.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        return response

    @blueprint.errorhandler(LaunchError)
    def ended(error: LaunchError) -> Response:
        _log.warning("launch ended", extra={"kind": error.kind, "status": error.status})
        return Response(pages.ended(error), status=error.status)

    @blueprint.get(LAUNCH_PATH)
    def launch() -> Response:
        departure, login_url = door.depart(*_each(request.args, "iss", "launch"))
        return Response(pages.leave(departure, login_url))

    @blueprint.get(CALLBACK_PATH)
    def back() -> Response:
        (state,) = _each(request.args, "state")
        door.states.tenant_of(state)
        if "error" in request.args:
            raise Denied
        (code,) = _each(request.args, "code")
        return Response(pages.arrive(code, state))

    @blueprint.post(CALLBACK_PATH)
    def show() -> Response:
        arrival = door.arrive(*_each(request.form, "code", "state", "verifier"))
        addresses = [(study.name, door.address(study)) for study in arrival.studies]
        if arrival.banner is not None:
            return Response(pages.under(arrival.banner, addresses))
        if len(addresses) > 1:
            return Response(pages.choose(addresses))
        return Response(status=303, headers={"Location": addresses[0][1]})

    @blueprint.get(SCRIPT_PATH)
    def script() -> Response:
        return Response(SCRIPT.read_bytes(), mimetype="text/javascript")

    return blueprint


def _each(sent: MultiDict[str, str], *names: str) -> list[str]:
    """Each parameter, there exactly once (RFC 6749, 3.1).

    Raises:
        ForeignState: the verifier is empty: this window did not begin the launch.
        BadLaunch: any other is missing, empty, there twice or too long.
    """
    found = [sent.getlist(name) for name in names]
    if "verifier" in names and found[names.index("verifier")] == [""]:
        raise ForeignState
    if any(len(values) != 1 or not 0 < len(values[0]) <= _CHARACTERS for values in found):
        raise BadLaunch
    return [value for (value,) in found]


def _policy(frame_ancestors: Sequence[str]) -> str:
    ancestors = " ".join(frame_ancestors) or "'none'"
    return (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        f"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    )
