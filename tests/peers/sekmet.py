"""sekmet-fhir: a FHIR R4 server with transactions and SMART Backend Services."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.peers.process import PEERS_BIN, Process, free_port


def missing() -> str | None:
    """Why sekmet cannot be started here, or None."""
    present = (PEERS_BIN / "sekmet").exists()
    return None if present else "sekmet-fhir is not installed (tests/peers.txt in .venv-peers)"


class Sekmet:
    """One server with an empty store; with `clients`, a token of ours is needed for everything.

    Args:
        clients: registered backend clients: ``{"client_id", "jwks", "scopes"}``.
        token_lifetime_s: what the token endpoint grants.
    """

    def __init__(
        self,
        folder: Path,
        clients: list[dict[str, Any]] | None = None,
        token_lifetime_s: int = 300,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/fhir"
        self.token_url = f"http://127.0.0.1:{self.port}/auth/token"
        configuration = {
            "host": "127.0.0.1",
            "port": self.port,
            "base_url": self.base_url,
            "data_dir": str(folder / "data"),
            "own_private_key_path": str(folder / "own.pem"),
            "simulator": {"enabled": False},
            "validation": {"inbound": "warn"},
            "server_auth": {
                "types": ["smart"] if clients else ["none"],
                "smart_clients": clients or [],
                "token_lifetime": token_lifetime_s,
            },
        }
        path = folder / "settings.yaml"
        path.write_text(yaml.safe_dump(configuration))
        command = [str(PEERS_BIN / "sekmet"), "serve", "--config", str(path)]
        environment = {"SEKMET_CONFIG": str(path)}
        self.process = Process(command, folder, self._ready, environment)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/metadata", timeout=2):  # noqa: S310 -- loopback
                return True
        except urllib.error.HTTPError:
            return True  # 401 is an answer too
