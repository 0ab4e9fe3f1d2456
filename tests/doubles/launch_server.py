"""An EHR that launches apps: its login, its token endpoint, its keys and a chart behind the token.

It is as strict as SMART App Launch 2.2 lets a server be, so that a launch which ends well has kept
the rules; `Faults` makes it break them in turn.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.doubles.ehr import jwk
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer, json_answer

CLIENT_ID = "scanhook-page"
KEY_ID = "login-1"
_PAGE = """<!doctype html><title>Login</title><h1>Login</h1>
<a id="allow" href="{allow}">Allow</a> <a id="deny" href="{deny}">Deny</a>"""


@dataclass
class Faults:
    """What the server does wrong; each is off by default."""

    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Members put on top of the configuration; one that is None is left out."""

    token: Mapping[str, Any] = field(default_factory=dict)
    """The same for the answer of the token endpoint."""

    user: Mapping[str, Any] = field(default_factory=dict)
    """The same for the claims of the id_token."""

    signs_with: Any = None
    """Another key for the id_token."""

    replies: Mapping[str, Reply] = field(default_factory=dict)
    """A reply for a path, in place of the right one."""


@dataclass
class Launching:
    """What one launch is about: given to the EHR's login by its opaque token."""

    patient_id: str
    app_context: str = ""
    fhir_context: tuple[Any, ...] = ()


@dataclass
class LaunchServer:
    """The EHR. `redirect_uri` is the one that is registered; `client_key` makes the client one that
    proves itself; `resources` are the studies that its chart holds, `patients` the people."""

    redirect_uri: str
    client_key: Any = None
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    patients: list[Mapping[str, Any]] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    launches: dict[str, Launching] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))
    access_token: str = "canary-of-the-users-token"

    def __post_init__(self) -> None:
        self.server = FaultyServer(self._respond)

    def __enter__(self) -> LaunchServer:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)

    @property
    def fhir_base(self) -> str:
        """The ``iss`` of its launches."""
        return f"{self.server.base_url}/fhir"

    def launch_url(self, app: str, launching: Launching, **changes: str) -> str:
        """The address to which this EHR opens a window: the app's, with ``iss`` and ``launch``."""
        token = secrets.token_urlsafe(12)
        self.launches[token] = launching
        return f"{app}?{urlencode({'iss': self.fhir_base, 'launch': token, **changes})}"

    def _respond(self, seen: Seen) -> Reply:
        routes: dict[str, Callable[[Seen], Reply]] = {
            "/fhir/.well-known/smart-configuration": self._configuration,
            "/auth/login": self._login,
            "/auth/token": self._token,
            "/auth/keys": lambda _: self._json({"keys": [jwk(self.key, KEY_ID)]}),
            "/fhir/ImagingStudy": self._search,
            **{f"/fhir/Patient/{each['id']}": self._patient for each in self.patients},
            "/favicon.ico": lambda _: answer(204),
        }
        if seen.path in self.faults.replies:
            return self.faults.replies[seen.path]
        return routes.get(seen.path, lambda _: answer(404))(seen)

    def _json(self, value: Any, status: int = 200) -> Reply:
        return json_answer(json.dumps(value), status=status)

    def _configuration(self, _: Seen) -> Reply:
        base = self.server.base_url
        said = {
            "issuer": self.fhir_base,
            "jwks_uri": f"{base}/auth/keys",
            "authorization_endpoint": f"{base}/auth/login",
            "token_endpoint": f"{base}/auth/token",
            "capabilities": ["launch-ehr", "client-public", "sso-openid-connect"],
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code"],
        }
        return self._json(_with(said, self.faults.configuration))

    def _login(self, seen: Seen) -> Reply:
        """The login page: the user may allow or deny. What is wrong is never redirected."""
        asked = _once(seen.query)
        self.asked.append(asked)
        right = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "aud": self.fhir_base,
            "code_challenge_method": "S256",
        }
        if any(asked.get(name) != value for name, value in right.items()):
            return answer(400, b"wrong request")
        if asked.get("launch") not in self.launches or len(asked.get("code_challenge", "")) != 43:
            return answer(400, b"wrong launch")
        code, back = secrets.token_urlsafe(16), self.redirect_uri
        self.codes[code] = asked
        allow = f"{back}?{urlencode({'code': code, 'state': asked['state']})}"
        deny = f"{back}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
        page = _PAGE.format(allow=allow.replace("&", "&amp;"), deny=deny.replace("&", "&amp;"))
        return answer(200, page.encode(), {"Content-Type": "text/html"})

    def _token(self, seen: Seen) -> Reply:
        form = _once(seen.body.decode())
        asked = self.codes.pop(form.get("code", ""), None)  # a code is good once
        challenge = _challenge(form.get("code_verifier", ""))
        right = asked is not None and (
            form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == asked["redirect_uri"]
            and challenge == asked["code_challenge"]
            and self._is_client(form)
        )
        if asked is None or not right:
            return self._json({"error": "invalid_grant"}, 400)
        about = self.launches.pop(asked["launch"])
        said: dict[str, Any] = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": asked["scope"],
            "patient": about.patient_id,
            "id_token": self._user(asked),
            "need_patient_banner": False,
        }
        if about.app_context:
            said["appContext"] = about.app_context
        if about.fhir_context:
            said["fhirContext"] = list(about.fhir_context)
        return self._json(_with(said, self.faults.token))

    def _is_client(self, form: Mapping[str, str]) -> bool:
        if self.client_key is None:
            return form.get("client_id") == CLIENT_ID and "client_assertion" not in form
        try:
            claims = jwt.decode(
                form.get("client_assertion", ""),
                self.client_key,
                algorithms=["ES384", "RS384"],
                audience=f"{self.server.base_url}/auth/token",
                issuer=CLIENT_ID,
                options={"require": ["exp", "jti", "sub"]},
            )
        except jwt.PyJWTError:
            return False
        return bool(claims["sub"] == CLIENT_ID and claims["exp"] <= time.time() + 300)

    def _user(self, asked: Mapping[str, str]) -> str:
        now_s = int(time.time())
        claims = {
            "iss": self.fhir_base,
            "sub": "user-1",
            "aud": CLIENT_ID,
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": asked.get("nonce"),
            "fhirUser": f"{self.fhir_base}/Practitioner/1",
        }
        key = self.faults.signs_with or self.key
        claims = _with(claims, self.faults.user)
        return jwt.encode(claims, key, algorithm="ES384", headers={"kid": KEY_ID})

    def _patient(self, seen: Seen) -> Reply:
        if seen.headers.get("authorization") != f"Bearer {self.access_token}":
            return answer(401)
        (found,) = (each for each in self.patients if seen.path.endswith(f"/{each['id']}"))
        return json_answer(json.dumps(found), media="application/fhir+json")

    def _search(self, seen: Seen) -> Reply:
        if seen.headers.get("authorization") != f"Bearer {self.access_token}":
            return answer(401)
        patient = f"Patient/{_once(seen.query).get('patient', '').removeprefix('Patient/')}"
        found = [r for r in self.resources if r["subject"]["reference"] == patient]
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": each, "search": {"mode": "match"}} for each in found],
        }
        return json_answer(json.dumps(bundle), media="application/fhir+json")


def _with(said: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def _once(query: str) -> dict[str, str]:
    """Parameters that are there once; one that is there twice is none (RFC 6749, 3.1)."""
    return {name: values[0] for name, values in parse_qs(query).items() if len(values) == 1}


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
