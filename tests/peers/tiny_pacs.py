"""tiny-pacs with its DICOMweb extension: an archive that is very unlike Orthanc."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.peers.orthanc import multipart
from tests.peers.process import PEERS_BIN, Process, free_port, listening


def missing() -> str | None:
    """Why tiny-pacs cannot be started here, or None."""
    present = (PEERS_BIN / "tiny-pacs").exists()
    return None if present else "tiny-pacs is not installed (tests/peers.txt in .venv-peers)"


class TinyPacs:
    """One tiny-pacs with an empty store in memory; with `token`, bearer authentication is on."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.port = free_port()
        self.token = token
        self.base_url = f"http://127.0.0.1:{self.port}/dicomweb"
        configuration = {
            "ae": {"ae_title": ["PEER"], "port": free_port()},
            "components": {
                "Database": {"on": True, "mode": "memory"},
                "Devices": {"on": True},
                "PACS": {"on": True},
                "InMemoryStorage": {"on": True},
                "HttpServer": {"on": True, "host": "127.0.0.1", "port": self.port},
                "DICOMWeb": {
                    "on": True,
                    "prefix": "/dicomweb",
                    "auth": "token" if token else "none",
                    "tokens": [token] if token else [],
                },
            },
        }
        path = folder / "tiny-pacs.yaml"
        path.write_text(yaml.safe_dump(configuration))
        command = [str(PEERS_BIN / "tiny-pacs"), "run", "-c", str(path)]
        self.process = Process(command, folder, lambda: listening(self.port))

    def stow(self, instances: Iterable[bytes]) -> None:
        """Store instances (PS3.18 10.5)."""
        content_type, body = multipart(instances)
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(f"{self.base_url}/studies", body, headers)  # noqa: S310 -- loopback
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- loopback
            assert answer.status in (200, 202)
