"""Try everything that is configured, and say what to do about what does not work."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cds_service.bootstrap import Site
from cds_service.bootstrap.smart import registration
from cds_service.errors import sentence_of
from cds_service.features import in_words, not_covered
from cds_service.queue import refuse_unsafe, web_connection, workers
from cds_service.queue.errors import QueueUnavailable, redis_reached
from cds_service.queue.listing import live_hosts
from cds_service.security.keyring import load_key_ring
from cds_service.security.keys import OPEN_TO_OTHERS, read_by_others
from cds_service.serving import ServingBoard, not_served
from cds_service.settings import ArchiveSettings, Settings, TenantSettings
from cds_service.settings.production import queue_address
from cds_service.shadow import ShadowLedger
from cds_service.smart.configuration import Configurations
from fhir_mapping.wording import FORBIDDEN, unsaid
from inference.pipeline import check_package
from models.registry import ModelPackage

SKEW_S = 5.0

KINDS = (
    *("settings", "store", "queue", "clock", "worker", "models", "archive"),
    *("keys", "fhir", "scopes", "launch"),
)
"""What can be tried, nearest first: the kinds of `Trial`."""

BEAT_S = 30.0
"""A worker that was silent for so long is not there."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. `advice` says what to do when it is not well."""

    what: str
    well: bool
    said: str
    advice: str = ""
    took_ms: float = 0.0


@dataclass(frozen=True)
class Trial:
    """One thing to try: `run` returns a word about what it found, or raises."""

    kind: str
    what: str
    run: Callable[[], str]
    advice: str


def examine(trial: Trial) -> Finding:
    """Try it; whatever goes wrong becomes one sentence."""
    since = time.perf_counter()
    try:
        said, well = trial.run(), True
    except NotTried as error:
        said, well = error.sentence, False
        trial = dataclasses.replace(trial, advice=error.advice)
    except Exception as error:  # noqa: BLE001  a doctor hears every complaint
        said, well = sentence_of(error) or type(error).__name__, False
    took_ms = (time.perf_counter() - since) * 1e3
    return Finding(trial.what, well, said, "" if well else trial.advice, took_ms)


def trials(site: Site, *, here: bool = False) -> Iterator[Trial]:
    """Everything that the settings name, nearest first; `here`, only a worker of this machine."""
    settings = site.settings
    yield Trial("settings", "settings", lambda: "read, and fit to start with", "")
    for sentence in (*settings.warnings, *_telling_names(settings)):
        yield Trial("settings", "settings", partial(_warned, sentence), "")
    yield Trial(
        "store",
        "state folder",
        partial(_store, site),
        f"make {settings.state_dir} writable for this user, and keep space free",
    )
    yield Trial(
        "queue",
        "queue",
        partial(_queue, site),
        "start Redis or Valkey at redis_url, and set what the sentence says",
    )
    yield Trial(
        "clock",
        "clock",
        partial(_clock, site),
        "let both machines follow one time source: tokens and retries depend on it",
    )
    host = socket.gethostname() if here else ""
    yield Trial("worker", "worker", partial(_worker, site, host), "start `scanhook worker`")
    for package in site.registry.packages:
        yield Trial(
            "models",
            f"model {package.manifest.id} {package.manifest.version}",
            partial(_model, package),
            "install the package again: its files do not answer as when they were built, and a "
            "model that fails here is not served",
        )
    yield Trial(
        "models",
        "models on the workers",
        partial(_served, site),
        "see `scanhook models list`; `scanhook models clear MODEL_ID` ends a fallback to fp32",
    )
    for archive in settings.archives:
        yield Trial(
            "archive",
            f"archive {archive.name}",
            partial(_archive, site, archive),
            "check base_url, the credential and the network of this archive",
        )
    for tenant in settings.tenants:
        yield from _tenant_trials(site, tenant)


def _tenant_trials(site: Site, tenant: TenantSettings) -> Iterator[Trial]:
    yield Trial(
        "keys",
        f"keys of tenant {tenant.name}",
        partial(_keys, site, tenant),
        "check jwks_url or jwks_file: it must be a JWK set with an EC P-384 or RSA key",
    )
    if tenant.signing_key_file:
        yield Trial(
            "keys",
            f"signing key of tenant {tenant.name}",
            partial(_signing_key, tenant.signing_key_file),
            "make it with `scanhook keys new`, register what `scanhook keys jwks` prints, and let"
            " this user read it",
        )
    yield Trial(
        "fhir",
        f"FHIR server of tenant {tenant.name}",
        partial(_fhir, site, tenant),
        "check fhir_base and client_id, register the output of `scanhook keys jwks`, and let"
        " the EHR grant what is asked for (`scanhook register` lists the scopes)",
    )
    for feature in not_covered(site.settings, tenant):
        asked = ", ".join(feature.scopes)
        sentence = (
            f"tenants.scopes do not cover what is switched on: {feature.off};"
            f" add {asked}, or leave tenants.scopes empty"
        )
        name = f"scopes of tenant {tenant.name}"
        yield Trial("scopes", name, partial(_warned, sentence), "")
    if tenant.smart_app:
        yield Trial(
            "launch",
            f"launch by tenant {tenant.name}",
            partial(_launch, site, tenant),
            "check fhir_base and smart_app.endpoints: .well-known/smart-configuration must name"
            " login and token on that origin or below these, and PKCE with S256",
        )


def _telling_names(settings: Settings) -> Iterator[str]:
    """A name stands on cards as it is: one that holds a word of judgement may be read as one."""
    names = {"organisation": settings.organisation}
    names |= {f"tenant {t.name}": t.name for t in settings.tenants}
    for what, name in names.items():
        if unsaid(name) != name:
            yield (
                f"{what}: the name holds a word that no card says of a patient"
                f" ({', '.join(word for word in FORBIDDEN if word in name.lower())})"
            )


def _warned(sentence: str) -> str:
    """What a site chose is no fault, but nobody shall forget it."""
    return f"warning: {sentence}"


def _store(site: Site) -> str:
    site.store.ping(write=True)
    return "writable"


def _queue(site: Site) -> str:
    url = site.settings.redis_url
    try:
        problems = refuse_unsafe(web_connection(url), production=False)
    except QueueUnavailable as error:
        raise NotWell(f"{error.sentence} at {_place(url)}") from None
    if problems:
        raise NotWell("; ".join(problems))
    return "remembers and evicts nothing"


def _place(redis_url: str) -> str:
    """Where the queue is, without who asks."""
    parts = queue_address(redis_url)
    return str(parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}")


@contextmanager
def _asking_the_queue() -> Iterator[None]:
    """What only the queue knows cannot be tried without it; its own line says what to do."""
    try:
        with redis_reached():
            yield
    except QueueUnavailable:
        raise NotTried from None


@_asking_the_queue()
def _clock(site: Site) -> str:
    seconds, microseconds = web_connection(site.settings.redis_url).time()
    skew_s = abs(time.time() - seconds - microseconds / 1e6)
    if skew_s > SKEW_S:
        raise NotWell(f"the clock is {skew_s:.0f} s away from the queue's")
    return f"within {skew_s:.1f} s of the queue's"


@_asking_the_queue()
def _worker(site: Site, host: str) -> str:
    rows = workers(web_connection(site.settings.redis_url), time.time())
    fresh = [row for row in rows if row.heard_s < BEAT_S and host in ("", row.host)]
    if not fresh:
        where = " on this machine" if host else ""
        raise NotWell(f"no worker{where} was heard of in the last {BEAT_S:.0f} s")
    return f"{len(fresh)} there, the last was heard {fresh[0].heard_s:.0f} s ago"


def _model(package: ModelPackage) -> str:
    problems = check_package(package)
    if problems:
        raise NotWell("; ".join(problems))
    return f"reference cases answered as built ({', '.join(package.precisions)})"


@_asking_the_queue()
def _served(site: Site) -> str:
    connection = web_connection(site.settings.redis_url)
    heard = ServingBoard(connection).heard(live_hosts(connection, time.time()))
    problems = [f"{one.name} is not served: {one.reason}" for one in not_served(heard)]
    watched = [each for each in ShadowLedger(connection).watched() if each.name in site.model_names]
    problems += [f"{w.name} {w.sentence}" for w in watched if w.fallen_since_s is not None]
    if problems:
        raise NotWell("; ".join(problems))
    return f"nothing refused or fallen back ({sum(each.recent for each in watched)} shadow runs)"


def _archive(site: Site, archive: ArchiveSettings) -> str:
    client = site.outside.archive(archive)
    try:
        client.ping()
    finally:
        client.close()
    return "answers"


def _keys(site: Site, tenant: TenantSettings) -> str:
    count = site.outside.caller_keys.usable(tenant)
    if not count:
        raise NotWell("there is no usable public key")
    return f"{count} usable"


def _signing_key(path: Path) -> str:
    count = len(load_key_ring(path).published(time.time()))
    return _warned(f"{path} {OPEN_TO_OTHERS}") if read_by_others(path) else f"{count} published"


def _fhir(site: Site, tenant: TenantSettings) -> str:
    server = site.outside.backend(tenant)
    if server is None:
        return f"not used by workers (backend {tenant.backend})"
    try:
        server.ping()
    finally:
        server.close()
    off = site.outside.features_off(tenant)
    if off:
        raise NotWell(f"answers to us, and granted too few scopes: {in_words(off)}")
    return "answers to us"


def _launch(site: Site, tenant: TenantSettings) -> str:
    Configurations().of(registration(site, tenant))
    return "its login can be asked"


class NotWell(Exception):
    """What was tried does not work."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class NotTried(NotWell):
    """What is asked for is known to the queue alone, and that did not answer."""

    advice = "see the line of the queue (`scanhook doctor --only queue`)"

    def __init__(self) -> None:
        super().__init__("not known: the queue did not answer")
