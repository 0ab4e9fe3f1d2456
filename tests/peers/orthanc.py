"""Orthanc with its DICOMweb plugin, from Debian, on a free loopback port."""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.peers.process import Process, free_port

_PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc/plugins"))
RESTART_S = 2.0  # after a kill: the port and the SQLite lock


def plugins() -> list[Path]:
    """The DICOMweb and GDCM plugins that are installed."""
    names = ("libOrthancDicomWeb.so", "libOrthancGdcm.so")
    return [p for folder in _PLUGIN_FOLDERS for name in names if (p := folder / name).exists()]


def missing() -> str | None:
    """Why Orthanc cannot be started here, or None."""
    if shutil.which("Orthanc", path=os.defpath + ":/usr/sbin:/usr/local/sbin") is None:
        return "Orthanc is not installed (Debian: orthanc)"
    if not any(p.name == "libOrthancDicomWeb.so" for p in plugins()):
        return "Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)"
    return None


def multipart(instances: Iterable[bytes]) -> tuple[str, bytes]:
    """(Content-Type, body) of a STOW-RS request."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + data + b"\r\n" for data in instances) + f"--{boundary}--\r\n".encode()
    return f'multipart/related; type="application/dicom"; boundary={boundary}', body


def _written(folder: Path, number: int, script: str) -> str:
    path = folder / f"{number}.lua"
    path.write_text(script)
    return str(path)


class Orthanc:
    """One Orthanc with an empty store in `folder`; with `users`, Basic authentication is on.

    `scripts` are the texts of Lua scripts, `stable_s` the silence after which a study is stable.
    """

    def __init__(
        self,
        folder: Path,
        users: dict[str, str] | None = None,
        port: int | None = None,
        scripts: Sequence[str] = (),
        stable_s: int = 60,
    ) -> None:
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/dicom-web"
        configuration = {
            "Name": "peer",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.port,
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": bool(users),
            "RegisteredUsers": users or {},
            "OverwriteInstances": True,
            "StableAge": stable_s,
            "LuaScripts": [_written(folder, n, text) for n, text in enumerate(scripts)],
            "Plugins": [str(path) for path in plugins()],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        }
        path = folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        binary = shutil.which("Orthanc", path=os.defpath + ":/usr/sbin:/usr/local/sbin")
        self.process = Process([binary or "Orthanc", str(path)], folder, self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/studies?limit=1", timeout=2) as answer:  # noqa: S310 -- loopback
                return bool(answer.status in (200, 204))
        except urllib.error.HTTPError as error:
            return error.code == 401

    def stow(self, instances: Iterable[bytes], headers: dict[str, str] | None = None) -> None:
        """Store instances (PS3.18 10.5)."""
        content_type, body = multipart(instances)
        request = urllib.request.Request(  # noqa: S310 -- loopback
            f"{self.base_url}/studies",
            body,
            {"Content-Type": content_type, "Accept": "application/dicom+json", **(headers or {})},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- loopback
            assert answer.status in (200, 202)
