"""OHIF, a radiologist's viewer in the browser: its published pages, in front of an archive.

One address on loopback serves both, so that the viewer asks nobody else: its own files, and under
``/dicom-web`` what the archive answers.
"""

from __future__ import annotations

import json
import mimetypes
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.doubles.listening import listening
from tests.peers.orthanc import Orthanc

PAGES = Path(__file__).parents[2] / ".venv-peers" / "ohif"
FLAGS = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""Chromium draws WebGL by its processor: there is no other here."""

QUIET = "localStorage.setItem('shownTours', '[\"basicViewerTour\"]')"
"""Whoever opens the viewer for the first time is shown around; a test is not."""

_ROOTS = {name: "/dicom-web" for name in ("wadoUriRoot", "qidoRoot", "wadoRoot")}
_SETTINGS = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "archive",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "archive",
            "configuration": {
                **_ROOTS,
                "friendlyName": "archive",
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
            },
        }
    ],
}
_TYPES = {".js": "text/javascript", ".wasm": "application/wasm"}
_ISOLATED = [  # as its makers ask for: several threads share what they decode
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
]

Answer = tuple[str, str, bytes]


def missing() -> str | None:
    """Why there is no viewer here, or None."""
    if not (PAGES / "index.html").exists():
        return "OHIF is not here: make .venv-peers/ohif"
    return None


def address_of(base: str, study_uid: str) -> str:
    """Where the viewer shows a study."""
    return f"{base}/viewer?StudyInstanceUIDs={study_uid}"


@contextmanager
def ohif(orthanc: Orthanc) -> Iterator[str]:
    """The viewer's address, for as long as it is entered."""
    origin = orthanc.base_url.removesuffix("/dicom-web")

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/dicom-web/"):
            status, kind, body = _of_archive(origin, environ)
        elif path == "/app-config.js":
            status, kind = "200 OK", "text/javascript"
            body = f"window.config = {json.dumps(_SETTINGS)};".encode()
        else:
            status, kind, body = _of_viewer(path)
        length = ("Content-Length", str(len(body)))
        start(status, [("Content-Type", kind), length, *_ISOLATED])
        return [body]

    with listening(app) as base:
        yield base


def _of_archive(origin: str, environ: dict[str, Any]) -> Answer:
    """The archive's own answer; by the name of the host it makes its addresses lead to us."""
    asked = f"{origin}{environ['PATH_INFO']}?{environ['QUERY_STRING']}".removesuffix("?")
    headers = {"Accept": environ.get("HTTP_ACCEPT", "*/*"), "Host": environ["HTTP_HOST"]}
    request = urllib.request.Request(asked, headers=headers)  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- loopback
            return f"{answer.status} OK", answer.headers.get("Content-Type", ""), answer.read()
    except urllib.error.HTTPError as error:
        return f"{error.code} -", "text/plain", b""


def _of_viewer(path: str) -> Answer:
    """A file; every other address is the viewer's own, which it reads in the browser."""
    file = (PAGES / path.lstrip("/")).resolve()
    if not (file.is_file() and file.is_relative_to(PAGES.resolve())):
        file = PAGES / "index.html"
    kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
    return "200 OK", kind or "application/octet-stream", file.read_bytes()
