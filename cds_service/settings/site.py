"""Everything that can be configured, and how it is read."""

from __future__ import annotations

import re
import ssl
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from cds_service.errors import UnsafeSettings
from cds_service.settings.audit import AuditSettings
from cds_service.settings.environment import PREFIX, ConfigPath
from cds_service.settings.ops import OpsSettings
from cds_service.settings.pages import PagesSettings
from cds_service.settings.parts import (
    ArchiveSettings,
    HookSettings,
    ModelsSettings,
    MutualTlsSettings,
    TenantSettings,
    WebSettings,
    WorkerSettings,
)
from cds_service.settings.production import queue_address, refuse_unsafe, warnings
from cds_service.settings.triggers import TriggerSettings
from inference.limits import Limits


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

    ca_file: Path | None = None
    """Certificates (PEM) of the authorities that sign those of archives and EHRs, such as a
    hospital's own; trusted beside the public ones. The environment's bundles are not looked at."""

    state_dir: Path = Path(".scanhook")
    """Folder for explanations and working files; mode 700."""

    organisation: str = "scanhook"
    """Who runs the algorithm: performer of reports, source label of cards."""

    contact: str = Field(default="", max_length=254)
    """Whom an EHR's vendor writes to (e-mail); stands in what ``scanhook register`` makes."""

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

    models: ModelsSettings = ModelsSettings()
    """In which precision models run, and how that is watched."""

    web: WebSettings = WebSettings()
    """Where the web process listens."""

    pages: PagesSettings = PagesSettings()
    """What the explanation page keeps."""

    ops: OpsSettings = OpsSettings()
    """Who may see the operations page."""

    triggers: TriggerSettings = TriggerSettings()
    """What starts an analysis before a hook asks."""

    mutual_tls: MutualTlsSettings = MutualTlsSettings()
    """How certificates of EHRs are handed on by a proxy."""

    audit: AuditSettings = AuditSettings()
    """What is kept of each read, search and write on a FHIR server."""

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

    @field_validator("ca_file")
    @classmethod
    def authorities_can_be_read(cls, ca_file: Path | None) -> Path | None:
        """A file that holds no certificate would be found out with the first study."""
        if ca_file is not None:
            try:
                ssl.create_default_context(cafile=ca_file)
            except OSError:
                raise ValueError("no certificates (PEM) can be read in that file") from None
        return ca_file

    @field_validator("redis_url")
    @classmethod
    def queue_has_an_address(cls, redis_url: str) -> str:
        """What redis-py cannot read is found out now, and not quoted: it may hold a password."""
        try:
            queue_address(redis_url)
        except ValueError:
            raise ValueError("it must be a redis://, rediss:// or unix:// address") from None
        return redis_url

    @model_validator(mode="after")
    def names_fit(self) -> Self:
        """Every tenant's archives exist, no name is there twice, nobody is taken for another."""
        archives = [archive.name for archive in self.archives]
        for kind, names in (
            ("archive", archives),
            ("tenant", [tenant.name for tenant in self.tenants]),
            ("issuer", [(tenant.issuer, tenant.tenant_claim) for tenant in self.tenants]),
            ("launching fhir_base", [t.fhir_base.rstrip("/") for t in self.tenants if t.smart_app]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two {kind}s have the same name")
        for tenant in self.tenants:
            for name in set(tenant.archives) - set(archives):
                raise ValueError(f"tenant {tenant.name}: no archive is named {name!r}")
            if not tenant.tenant_claim and len(self._signed_by(tenant.issuer)) > 1:
                raise ValueError(f"tenant {tenant.name}: its issuer has others, give tenant_claim")
            if tenant.client_certificates and not self.mutual_tls.proxies:
                raise ValueError(f"tenant {tenant.name}: certificates need mutual_tls.proxies")
        return self

    @model_validator(mode="after")
    def subscriptions_fit(self) -> Self:
        """A Subscription is of a tenant whose FHIR server may be written to without a user."""
        backends = {tenant.name: tenant.backend for tenant in self.tenants}
        for each in self.triggers.subscriptions:
            if backends.get(each.tenant, "none") == "none":
                raise ValueError(f"subscription: no tenant {each.tenant!r} with a backend")
        return self

    @model_validator(mode="after")
    def production_is_safe(self) -> Self:
        """What is only fit for a laptop is refused, with what to set instead."""
        if self.environment == "production":
            refuse_unsafe(self)
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

    def tenant_of(self, issuer: str, claim: str = "") -> TenantSettings | None:
        """The tenant whose hook calls are signed by exactly this issuer, with this ``tenant``."""
        signed = self._signed_by(issuer)
        return next((t for t in signed if t.tenant_claim in ("", claim)), None)

    def _signed_by(self, issuer: str) -> tuple[TenantSettings, ...]:
        return tuple(t for t in self.tenants if t.issuer == issuer)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each setting that is accepted and had better be another."""
        return warnings(self)


def load(config: Path | None = None) -> Settings:
    """Read the settings once.

    Raises:
        UnsafeSettings: with a sentence for each value that is missing, wrong or unfit.
    """
    path = config or ConfigPath().config
    if path is not None and not path.is_file():
        said = "is not a file" if path.exists() else "is not there"
        raise UnsafeSettings((f"the configuration file {path} {said}",))

    class SettingsFromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return SettingsFromFile()
    except ValidationError as error:
        raise UnsafeSettings(_sentences(error)) from None
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        raise UnsafeSettings((_place(error, path),)) from None
    except UnicodeDecodeError:
        raise UnsafeSettings((f"the configuration file {path} is not UTF-8",)) from None
    except RecursionError:
        raise UnsafeSettings((f"the configuration file {path} is nested too deeply",)) from None
    except OSError as error:
        said = f"the configuration file {path} cannot be read: {error.strerror}"
        raise UnsafeSettings((said,)) from None


def _place(error: SettingsError | tomllib.TOMLDecodeError, path: Path | None) -> str:
    """Where the fault is: what stands there may be a secret, and both errors may quote it."""
    if isinstance(error, SettingsError):
        field = re.search(r'field "(\w+)"', str(error))
        name = f"{PREFIX}{field[1].upper()}" if field else "a setting"
        return f"{name} in the environment cannot be read: a list or table is written as JSON there"
    place = re.search(r"\(at [\w ,]+\)$", str(error))
    return " ".join(
        filter(None, (f"the configuration file {path} is not TOML", place and place[0]))
    )


def _sentences(error: ValidationError) -> tuple[str, ...]:
    return tuple(
        f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {_said(item)}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _said(item: ErrorDetails) -> str:
    """Our own sentences without what pydantic sets before them."""
    return item["msg"].removeprefix("Value error, ")
