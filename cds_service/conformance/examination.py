"""What every check is given: the service, what it was asked already, and how to ask more.

What many checks need (discovery, one good call of each service, whether callers are checked) is
asked once and kept: the order of the checks does not matter, and the service is asked little.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cds_service.conformance.exchange import Answer, Call, EnoughAsked, NoAnswer, Sender
from cds_service.conformance.hooks import Who, context_of
from cds_service.conformance.identity import Identity
from cds_service.conformance.shapes import is_segment, is_text
from cds_service.conformance.templates import filled, invented

DISCOVERY = "/cds-services"
JSON_TYPE = "application/json"
MOST_REQUESTS = 300
MOST_S = 300.0

Body = dict[str, Any]
Service = Mapping[str, Any]


class NotApplicable(Exception):
    """There is nothing to look at; the text says what is missing."""


@dataclass(frozen=True)
class Subject:
    """What the calls are about.

    `prefetch` has values by the keys of the templates; without it `read` (a query of a FHIR server)
    is asked for each template, and without that an empty chart is invented. `origin` is a browser
    origin that the service is said to allow.
    """

    who: Who = field(default_factory=Who)
    prefetch: Mapping[str, Any] | None = field(default=None, repr=False)
    read: Callable[[str], Any] | None = None
    fhir_server: str = ""
    access_token: str = field(default="", repr=False)
    origin: str = ""


@dataclass
class Examination:
    """One service under examination. `canary` lists what was asked of our own listener, if any.

    `only` are the ids that are looked at, if not all; `unlisted` are services that are called
    though discovery does not list them.
    """

    base_url: str
    sender: Sender
    identity: Identity
    subject: Subject = field(default_factory=Subject)
    canary_url: str = ""
    canary: list[str] = field(default_factory=list)
    only: tuple[str, ...] = ()
    unlisted: tuple[Service, ...] = ()
    monotonic: Callable[[], float] = time.monotonic
    requests: int = 0
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    # asking

    def send(self, call: Call) -> Answer:
        """One exchange, counted.

        Raises:
            NoAnswer, EnoughAsked: the examination is over.
        """
        if self.requests >= MOST_REQUESTS:
            raise EnoughAsked(f"The service was asked {MOST_REQUESTS} times; that is enough.")
        began_s = self._kept.setdefault("began", self.monotonic())
        if self.monotonic() - began_s > MOST_S:
            raise EnoughAsked(f"The examination took {MOST_S:.0f} s; that is enough.")
        self.requests += 1
        return self.sender.send(call)

    def url(self, path: str) -> str:
        """The absolute address of a path: the audience of its tokens."""
        return f"{self.base_url}{path}"

    def bearer(self, path: str) -> dict[str, str]:
        """The header of a good call to `path`."""
        return {"Authorization": f"Bearer {self.identity.token(self.url(path))}"}

    def post(
        self,
        path: str,
        body: object,
        *,
        token: str | None = None,
        content_type: str = JSON_TYPE,
    ) -> Answer:
        """POST `body`, raw if it is bytes; `token` replaces the good one, an empty one is none."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.bearer(path) if token is None else {}
        if token:
            headers = {"Authorization": f"Bearer {token}"}
        return self.send(Call("POST", path, {"Content-Type": content_type, **headers}, raw))

    # what many checks need

    def once(self, name: str, ask: Callable[[], Any]) -> Any:
        """The result of `ask`, asked once; what it raises is raised again each time."""
        if name not in self._kept:
            try:
                self._kept[name] = ask()
            except (NotApplicable, NoAnswer) as error:
                self._kept[name] = error
        kept = self._kept[name]
        if isinstance(kept, NotApplicable | NoAnswer):
            raise kept
        return kept

    @property
    def discovery(self) -> Answer:
        """``GET /cds-services``, with a token where it is refused without one."""
        answer: Answer = self.once("discovery", self._discover)
        return answer

    def _discover(self) -> Answer:
        answer = self.send(Call("GET", DISCOVERY))
        if answer.refused:
            answer = self.send(Call("GET", DISCOVERY, self.bearer(DISCOVERY)))
        return answer

    @property
    def described(self) -> list[Service]:
        """What discovery lists, whatever it is worth. Raises NotApplicable for an empty list."""
        found = self._listed()
        if not found:
            raise NotApplicable("discovery lists no service")
        return found

    def _listed(self) -> list[Service]:
        listed = self.discovery.members.get("services")
        found = [s for s in listed if isinstance(s, dict)] if isinstance(listed, list) else []
        return [s for s in found if not self.only or s.get("id") in self.only]

    @property
    def services(self) -> list[Service]:
        """The services that can be called. Raises NotApplicable when there is none."""
        listed = [*self._listed(), *self.unlisted]
        found = [s for s in listed if is_segment(s.get("id")) and is_text(s.get("hook"))]
        if not found:
            raise NotApplicable("no service is known that could be called (--call HOOK=ID)")
        return found

    def path(self, service: Service) -> str:
        """Where the service is called."""
        return f"{DISCOVERY}/{service['id']}"

    def body(self, service: Service, **changes: Any) -> Body:
        """A good call of the service; a change to None leaves a member out."""
        subject, hook = self.subject, service["hook"]
        context = context_of(hook, subject.who)
        body: Body = {
            "hook": hook,
            "hookInstance": str(uuid.uuid4()),
            "context": context,
            "prefetch": self.prefetch(service) or None,
            "fhirServer": subject.fhir_server or None,
            "fhirAuthorization": self._authorization(service),
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}

    def prefetch(self, service: Service) -> Body:
        """A value for each template of the service."""
        found: Body = self.once(
            f"prefetch {service['id']} {service['hook']}", lambda: dict(self._prefetched(service))
        )
        return dict(found)

    def _prefetched(self, service: Service) -> Iterator[tuple[str, Any]]:
        context = context_of(service["hook"], self.subject.who)
        for key, template in templates_of(service):
            if self.subject.prefetch is not None:
                if key in self.subject.prefetch:
                    yield key, self.subject.prefetch[key]
                continue
            query = filled(template, context, self.subject.who.user)
            if self.subject.read is not None and query is not None:
                yield key, self.subject.read(query)
            else:
                yield key, invented(query, self.subject.who)

    def _authorization(self, service: Service) -> Body | None:
        if not self.subject.access_token:
            return None
        return {
            "access_token": self.subject.access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "user/*.read",
            "subject": str(service["id"]),
        }

    def good(self, service: Service) -> Answer:
        """The answer to a good call of the service, made once."""
        name = f"good {service['id']} {service['hook']}"
        answer: Answer = self.once(name, lambda: self.post(self.path(service), self.body(service)))
        return answer

    @property
    def admitted(self) -> bool:
        """Whether the service accepts our token at all."""
        return not self.good(self.services[0]).refused

    @property
    def answered(self) -> list[tuple[Service, Answer]]:
        """Each service with its answer to a good call. Raises NotApplicable if none lets us in."""
        found = [(service, self.good(service)) for service in self.services]
        admitted = [(service, answer) for service, answer in found if not answer.refused]
        if not admitted:
            raise NotApplicable("the service does not accept our token")
        return admitted

    @property
    def specimen(self) -> Service:
        """One service that answered a good call with 200: what else is tried is tried on it."""
        for service, answer in self.answered:
            if answer.status == 200:
                return service
        raise NotApplicable("no service answered a good call with 200; give it --prefetch")

    @property
    def guarded(self) -> bool:
        """Whether a call without a token is refused."""
        service = self.services[0]
        path = self.path(service)
        answer: Answer = self.once(
            "unsigned", lambda: self.post(path, self.body(service), token="")
        )
        return answer.refused

    @property
    def cards(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(where, card) of all good answers. Raises NotApplicable when there is none."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for service, answer in self.answered:
            listed = answer.members.get("cards") if answer.status == 200 else None
            cards = listed if isinstance(listed, list) else []
            found += [
                (f"{service['id']}, card {number}", card if isinstance(card, dict) else {})
                for number, card in enumerate(cards, 1)
            ]
        if not found:
            raise NotApplicable("no service answered with a card; give it --patient and --prefetch")
        return found


def templates_of(service: Service) -> list[tuple[str, str]]:
    """(key, template) of a service, as far as they are texts."""
    listed = service.get("prefetch")
    pairs = listed.items() if isinstance(listed, dict) else ()
    return [(key, template) for key, template in pairs if isinstance(template, str)]
