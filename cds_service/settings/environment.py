"""The environment: read here and nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SCANHOOK_"

_SECRET_NAME = re.compile(r"^SCANHOOK_|SECRET|PASSWORD|TOKEN", re.IGNORECASE)


def forget_secrets() -> None:
    """Remove our settings, and what is named like a secret, from this process's environment."""
    for name in [name for name in os.environ if _SECRET_NAME.search(name)]:
        del os.environ[name]


def environment_without_settings() -> dict[str, str]:
    """This process's environment for a child with a configuration of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


class SandboxSecrets(BaseSettings):
    """What a sandbox is told beside its command line, which others on the machine can read."""

    model_config = SettingsConfigDict(env_prefix="SCANHOOK_SANDBOX_", extra="ignore")
    archive_token: SecretStr = SecretStr("")
    fhir_token: SecretStr = SecretStr("")


class ConfigPath(BaseSettings):
    """Where the TOML file is: ``SCANHOOK_CONFIG``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")
    config: Path | None = None
