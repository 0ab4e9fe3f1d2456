"""The one frozen object of settings, from the environment and a TOML file.

This module is the only reader of the environment. A name in the environment is the field's name
with the prefix ``SCANHOOK_`` and ``__`` between levels (``SCANHOOK_WORKER__JOB_TIMEOUT_S=60``); it
wins over the same field in the TOML file that ``SCANHOOK_CONFIG`` or ``--config`` names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cds_service.errors import UnsafeSettings
from inference.limits import MIB, Limits

PREFIX = "SCANHOOK_"

Algorithm = Literal["ES384", "RS384", "ES256", "RS256"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Part(BaseModel):
    """A group of settings: frozen, and a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ArchiveSettings(Part):
    """One image archive that may be asked; nothing else is ever connected to."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """How tenants, logs and metrics name it."""

    base_url: str
    """The DICOMweb base, without ``/studies``: addresses in resources only select an entry here."""

    username: str = ""
    """For Basic authentication; empty for none."""

    password: SecretStr = SecretStr("")
    """For Basic authentication."""

    password_file: Path | None = None
    """The password as a file (a mounted secret), instead of `password`."""

    bearer_token: SecretStr = SecretStr("")
    """For bearer authentication; wins over username and password."""

    bearer_token_file: Path | None = None
    """The token as a file, instead of `bearer_token`."""

    private_network: bool = False
    """The host's name may resolve to a private address, as inside a hospital; an address that
    stands in `base_url` itself has said so already."""

    requests_in_flight: int = Field(default=1, ge=1, le=16)
    """1 streams a series in one request, the quickest on a LAN; more fetch instances side by side,
    which pays where the way to the archive is long."""

    deadline_s: Seconds = 60
    """Time for one whole series, first byte to last, retries included."""

    series_bytes: int = Field(default=4096 * MIB, gt=0)
    """The most that one series may send before it is refused."""


class TenantSettings(Part):
    """One EHR: who signs, where its FHIR server is, and who we are there."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """How logs and metrics name it; part of every opaque id."""

    issuer: str
    """The exact ``iss`` of its hook calls (CDS Hooks 2.0.1, Trusting CDS Clients)."""

    jwks_url: str = ""
    """Where its public keys are; the ``jku`` of a token is compared with it and never followed."""

    jwks_file: Path | None = None
    """Its public keys as a file, instead of a URL."""

    algorithms: tuple[Algorithm, ...] = ("ES384", "RS384")
    """Signature algorithms accepted; ``none`` and every symmetric one are not in the choice."""

    fhir_base: str
    """The FHIR R4 base URL: the only value of ``fhirServer`` that is accepted from this issuer."""

    private_network: bool = False
    """The hosts' names (FHIR, token, keys) may resolve to private addresses."""

    archive: str
    """Name of the archive for studies whose ImagingStudy names no usable Endpoint."""

    backend: Literal["none", "smart", "open"] = "none"
    """How workers read and write without a user: not at all; by SMART Backend Services; or without
    a credential, for a sandbox that asks for none."""

    client_id: str = ""
    """Our identity for SMART Backend Services."""

    token_url: str = ""
    """Token endpoint; empty means that it is read from ``.well-known/smart-configuration``."""

    scopes: tuple[str, ...] = (
        "system/DiagnosticReport.crus",
        "system/Observation.crus",
        "system/Device.crus",
        "system/Provenance.crus",
    )
    """What to ask the token endpoint for: the least that writing a report needs (SMART v2)."""

    signing_key_file: Path | None = None
    """Our private key (JWK or PEM) for the client assertion, ES384 or RS384."""

    write_back: bool = True
    """Whether results are written to the FHIR server; needs a `backend`."""

    fhir_ids: Literal["conditional", "client-assigned"] = "conditional"
    """How results find their place again: conditional update by identifier, or an id of our own."""

    @model_validator(mode="after")
    def keys_are_known(self) -> Self:
        """A tenant without keys could never be verified."""
        if bool(self.jwks_url) == (self.jwks_file is not None):
            raise ValueError(f"tenant {self.name}: give either jwks_url or jwks_file")
        if self.backend == "smart" and not (self.client_id and self.signing_key_file):
            raise ValueError(f"tenant {self.name}: smart needs client_id and signing_key_file")
        return self


class HookSettings(Part):
    """How the hook answers."""

    wait_ms: int = Field(default=0, ge=0, le=2000)
    """How long an answer may wait for a result that is nearly ready. CDS Hooks asks for answers in
    the order of 500 ms, so 0 answers at once and lets the next hook show the result."""

    studies: int = Field(default=5, ge=1, le=20)
    """The most studies of a patient that one hook looks at, newest first."""

    body_bytes: int = Field(default=1 * MIB, gt=0)
    """The largest request body; a bigger one is refused with 413."""

    fhir_deadline_s: Seconds = 2
    """Time for everything that is read from the EHR's FHIR server within one hook."""

    discovery_open: bool = True
    """Whether ``GET /cds-services`` answers without a token; some EHRs probe it so."""

    cors_origins: tuple[str, ...] = ()
    """Browser origins (sandboxes) that may call the services."""

    show_pending: bool = True
    """Whether a queued or running analysis has a card."""

    show_failed: bool = True
    """Whether a failed analysis has an information card, or is for operators only."""

    show_not_analysed: bool = True
    """Whether a study that no model is for has an information card."""

    show_no_finding: bool = True
    """Whether "no finding" has an information card; it is never said before it was computed."""

    finding_indicator: Literal["info", "warning", "critical"] = "warning"
    """Indicator of a card that states a finding."""


class WorkerSettings(Part):
    """How jobs run."""

    job_timeout_s: int = Field(default=120, ge=5, le=3600)
    """Time for one study; then its child is ended and the attempt counted."""

    attempts: int = Field(default=3, ge=1, le=10)
    """Attempts before a study ends as failed."""

    queue_cap: int = Field(default=10_000, ge=1)
    """Studies that may wait; above it a hook says that the service is busy."""

    jobs_per_child: int = Field(default=1000, ge=1)
    """After so many jobs the child is replaced by a fresh one, against slow leaks."""

    memory_bytes: int = Field(default=4096 * MIB, ge=512 * MIB)
    """Address space of the child: a study that asks for more gets an error, not the OOM killer."""

    threads: int = Field(default=0, ge=0, le=64)
    """Slices at the same time; 0 is one for each core."""


class WebSettings(Part):
    """Where and how the web process listens."""

    host: str = "127.0.0.1"
    """Address to bind; a proxy in front terminates TLS."""

    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to bind; 0 takes a free one."""

    threads: int = Field(default=8, ge=1, le=64)
    """Requests answered at the same time."""

    connections: int = Field(default=200, ge=10)
    """Open sockets; slow ones are cut after 10 s."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = "production"
    """``production`` refuses what is only fit for a laptop: plain http, a Redis that forgets."""

    base_url: str = "http://127.0.0.1:8080"
    """Our public address, as EHRs call it: the audience of their tokens is under it."""

    site_secrets: tuple[SecretStr, ...] = ()
    """32 or more random bytes each; the first seals queue payloads and links, all of them open.
    Keep it out of Redis. ``scanhook keys new-secret`` prints one."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Valkey or Redis, ``redis://``, ``rediss://`` or ``unix://``."""

    state_dir: Path = Path(".scanhook")
    """Folder for explanations and working files; mode 700."""

    organisation: str = "scanhook"
    """Who runs the algorithm: performer of reports, source label of cards."""

    models_dirs: tuple[Path, ...] = ()
    """Further folders of model packages, beside those that come with scanhook."""

    models_enabled: tuple[str, ...] = ()
    """Ids of the models that may run; empty means all."""

    link_lifetime_s: int = Field(default=900, ge=60, le=86_400)
    """How long a link on a card opens its explanation."""

    keep_explanations_days: int = Field(default=30, ge=1)
    """Explanations older than this are removed; the FHIR record stays."""

    demo: bool = False
    """Marks what is written as test data (v3-ActReason HTEST)."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""

    archives: tuple[ArchiveSettings, ...] = ()
    """The archives that may be asked."""

    tenants: tuple[TenantSettings, ...] = ()
    """The EHRs that may call."""

    hook: HookSettings = HookSettings()
    """How the hook answers."""

    worker: WorkerSettings = WorkerSettings()
    """How jobs run."""

    web: WebSettings = WebSettings()
    """Where the web process listens."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over TOML over defaults; no .env file is read unasked."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @model_validator(mode="after")
    def names_fit(self) -> Self:
        """Every tenant's archive exists, no name is there twice."""
        archives = [archive.name for archive in self.archives]
        for kind, names in (
            ("archive", archives),
            ("tenant", [tenant.name for tenant in self.tenants]),
            ("issuer", [tenant.issuer for tenant in self.tenants]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two {kind}s have the same name")
        for tenant in self.tenants:
            if tenant.archive not in archives:
                raise ValueError(f"tenant {tenant.name}: no archive is named {tenant.archive!r}")
        return self

    @model_validator(mode="after")
    def production_is_safe(self) -> Self:
        """What is only fit for a laptop is refused, with what to set instead."""
        if self.environment == "production":
            _refuse_unsafe(self)
        return self

    @property
    def limits(self) -> Limits:
        """The limits that the pure packages work under."""
        return Limits(threads=self.worker.threads)

    def archive(self, name: str) -> ArchiveSettings:
        """The archive of that name; KeyError if there is none."""
        return next(a for a in self.archives if a.name == name)

    def tenant(self, name: str) -> TenantSettings | None:
        """The tenant of that name."""
        return next((t for t in self.tenants if t.name == name), None)

    def tenant_of(self, issuer: str) -> TenantSettings | None:
        """The tenant whose hook calls are signed by exactly this issuer."""
        return next((t for t in self.tenants if t.issuer == issuer), None)


_SECRET_NAME = re.compile(r"^SCANHOOK_|SECRET|PASSWORD|TOKEN", re.IGNORECASE)


def forget_secrets() -> None:
    """Remove our settings, and what is named like a secret, from this process's environment."""
    for name in [name for name in os.environ if _SECRET_NAME.search(name)]:
        del os.environ[name]


SANDBOX_ISSUERS = ("https://sandbox.cds-hooks.org",)
"""Issuers whose private keys are public: fine to try, never in production."""


def load(config: Path | None = None) -> Settings:
    """Read the settings once.

    Raises:
        UnsafeSettings: with a sentence for each value that is missing, wrong or unfit.
    """
    path = config or ConfigPath().config
    if path is not None and not path.is_file():
        raise UnsafeSettings((f"the configuration file {path} is not there",))

    class SettingsFromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return SettingsFromFile()
    except ValidationError as error:
        raise UnsafeSettings(_sentences(error)) from None


def environment_without_settings() -> dict[str, str]:
    """This process's environment for a child with a configuration of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


class SandboxSecrets(BaseSettings):
    """What a sandbox is told beside its command line, which others on the machine can read."""

    model_config = SettingsConfigDict(env_prefix="SCANHOOK_SANDBOX_", extra="ignore")
    archive_token: SecretStr = SecretStr("")


class ConfigPath(BaseSettings):
    """Where the TOML file is: ``SCANHOOK_CONFIG``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")
    config: Path | None = None


def _sentences(error: ValidationError) -> tuple[str, ...]:
    return tuple(
        f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _refuse_unsafe(settings: Settings) -> None:
    problems = []
    if not settings.site_secrets:
        problems.append("site_secrets is empty: set one made by `scanhook keys new-secret`")
    if any(len(secret.get_secret_value()) < 32 for secret in settings.site_secrets):
        problems.append("a site secret is shorter than 32 characters")
    urls = [("base_url", settings.base_url)]
    urls += [(f"tenant {t.name} fhir_base", t.fhir_base) for t in settings.tenants]
    urls += [(f"tenant {t.name} jwks_url", t.jwks_url) for t in settings.tenants if t.jwks_url]
    problems += [f"{name} must be https" for name, url in urls if not url.startswith("https://")]
    problems += [
        f"tenant {t.name}: backend open is for sandboxes, use smart"
        for t in settings.tenants
        if t.backend == "open"
    ]
    problems += [
        f"tenant {t.name}: the private key of {t.issuer} is public, remove it"
        for t in settings.tenants
        if t.issuer in SANDBOX_ISSUERS
    ]
    if settings.redis_url.startswith("redis://") and "127.0.0.1" not in settings.redis_url:
        problems.append("redis_url crosses the network in clear: use rediss:// or unix://")
    if problems:
        raise ValueError("; ".join(problems))
