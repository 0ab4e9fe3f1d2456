"""The code for a token, by our own client, and what came with it (SMART App Launch 2.2, 2.1).

The token is part of a `Grant`, which lives as long as the one request that redeemed the code.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from cds_service.clients.assertion import client_assertion
from cds_service.clients.errors import Refused, Rejected, UpstreamError
from cds_service.clients.http import HttpClient, Request
from cds_service.smart.configuration import LOGIN_POLICY, SmartConfiguration
from cds_service.smart.errors import NotGranted, ServerSilent
from cds_service.smart.identity import UserTokens
from cds_service.smart.registration import Registration

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")
_CONTEXT_CHARACTERS = 1024
_REFERENCES = 20


@dataclass(frozen=True)
class Redemption:
    """What the browser brought back, and the address to which it was sent."""

    code: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str
    nonce: str


@dataclass(frozen=True)
class Grant:
    """What the EHR granted: a token, the patient of the launch, and what the launch was about.

    `app_context` is the string of our card's link (CDS Hooks 2.0.1, Link), empty if the EHR passed
    none on; `references` are those of ``fhirContext``. `needs_banner` says that the EHR shows no
    patient where it shows us (``need_patient_banner``); `user` is the reference of who looks,
    empty if the EHR does not say it.
    """

    access_token: str = field(repr=False)
    patient_id: str = field(repr=False)
    scope: str = ""
    app_context: str = field(default="", repr=False)
    references: tuple[str, ...] = field(default=(), repr=False)
    needs_banner: bool = False
    user: str = field(default="", repr=False)


@dataclass(frozen=True)
class Exchange:
    """Redeems codes; `users` verifies id_tokens, `clock_s` is epoch seconds."""

    users: UserTokens
    clock_s: Callable[[], float] = time.time

    def redeem(
        self, at: Registration, configuration: SmartConfiguration, brought: Redemption
    ) -> Grant:
        """What the EHR gives for the code.

        Raises:
            NotGranted: it refused the code; no bearer token, patient or valid id_token came.
            ServerSilent: it did not answer.
        """
        answer = _asked(configuration, self._form(at, configuration, brought))
        grant = granted(answer)
        if "openid" not in at.tenant.smart_app.scopes:
            return grant
        user = self.users.check(answer.get("id_token"), at, configuration, brought.nonce)
        return replace(grant, user=user)

    def _form(
        self, at: Registration, configuration: SmartConfiguration, brought: Redemption
    ) -> dict[str, str]:
        form = {
            "grant_type": "authorization_code",
            "code": brought.code,
            "redirect_uri": brought.redirect_uri,
            "code_verifier": brought.verifier,
        }
        if at.key is None:
            return {**form, "client_id": at.tenant.smart_app.client_id}
        who, token_url = at.tenant.smart_app.client_id, configuration.token.base_url
        return form | client_assertion(at.key(), who, token_url, self.clock_s())


def _asked(configuration: SmartConfiguration, form: Mapping[str, str]) -> Mapping[str, Any]:
    client = HttpClient(configuration.token, policy=LOGIN_POLICY, connections=1)
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    try:
        request = Request("POST", "", headers=headers, body=urlencode(form).encode("ascii"))
        answer = client.send(request).json(client.peer)
    except (Refused, Rejected) as error:
        raise NotGranted from error
    except UpstreamError as error:
        raise ServerSilent from error
    finally:
        client.close()
    return answer if isinstance(answer, Mapping) else {}


def granted(answer: Mapping[str, Any]) -> Grant:
    """The grant in a token endpoint's answer.

    Raises:
        NotGranted: no bearer token, or no patient.
    """
    token, patient_id = _text(answer, "access_token"), _text(answer, "patient")
    if _text(answer, "token_type").lower() != "bearer" or not _TOKEN.fullmatch(token):
        raise NotGranted
    if not _ID.fullmatch(patient_id):
        raise NotGranted("The launch names no patient.")
    # CDS Hooks writes appContext; servers that name their parameters as OAuth does, the other
    context = _text(answer, "appContext") or _text(answer, "app_context")
    return Grant(
        access_token=token,
        patient_id=patient_id,
        scope=_text(answer, "scope"),
        app_context=context if len(context) <= _CONTEXT_CHARACTERS else "",
        references=_references(answer.get("fhirContext")),
        # a boolean; servers that answer with a form's values write the word
        needs_banner=answer.get("need_patient_banner") in (True, "true"),
    )


def _text(answer: Mapping[str, Any], name: str) -> str:
    found = answer.get(name)
    return found if isinstance(found, str) else ""


def _references(context: object) -> tuple[str, ...]:
    """References in ``fhirContext``: objects in SMART 2.1 and later, bare strings before."""
    items = context[:_REFERENCES] if isinstance(context, list) else []
    found = (item.get("reference") if isinstance(item, Mapping) else item for item in items)
    return tuple(reference for reference in found if isinstance(reference, str))
