"""An archive and an EHR's FHIR server of our own, quick enough not to be what is measured.

``python -m benchmarks.peers PORT``. It serves QIDO-RS and WADO-RS over the studies of `series`
(any number, the same pixels), takes FHIR transactions without keeping them, and remembers when what
was asked: ``GET /seen`` answers with ``[[seconds, what], ...]`` on the machine's monotonic clock
and forgets.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.series import KINDS, Study, instances, prepared, study_of

BOUNDARY = "benchmark-boundary"
DICOM_JSON, FHIR_JSON = "application/dicom+json", "application/fhir+json"


class Peers(ThreadingHTTPServer):
    """The server, with what it has seen."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._seen: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def note(self, what: str) -> None:
        """Remember that this happened now."""
        with self._lock:
            self._seen.append((time.monotonic(), what))

    def taken(self) -> list[tuple[float, str]]:
        """What was seen since it was last asked for."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Peers

    def do_GET(self) -> None:
        """Archive queries, retrievals, FHIR searches."""
        path = self.path.partition("?")[0].strip("/").split("/")
        if path == ["seen"]:
            self._answer(self.server.taken(), "application/json")
        elif path[0] == "fhir":
            self.server.note("search")
            self._answer({"resourceType": "Bundle", "type": "searchset", "total": 0}, FHIR_JSON)
        else:
            self._archive(path)

    def do_POST(self) -> None:
        """A FHIR transaction: every entry is created."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.note("transaction")
        entries = json.loads(body).get("entry", [])
        done = [
            {"response": {"status": "201 Created", "location": f"{_type(entry)}/{index + 1}"}}
            for index, entry in enumerate(entries)
        ]
        answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": done}
        self._answer(answer, FHIR_JSON)
        self.server.note("answered")

    def _archive(self, path: list[str]) -> None:
        """``dicom-web/studies/{uid}/series[/{uid}[/instances]]``"""
        study = study_of(path[2])
        if path[3:] == ["series"]:
            self.server.note("series list")
            self._answer([_series_row(study)], DICOM_JSON)
        elif path[5:] == ["instances"]:
            rows = [_instance_row(study, index) for index in range(study.kind.slices)]
            self._answer(rows, DICOM_JSON)
        else:
            self._series(study)
            self.server.note("series sent")

    def _series(self, study: Study) -> None:
        parts: list[bytes] = []
        for header, pixels in instances(study):
            head = (
                f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n"
                f"Content-Length: {len(header) + len(pixels)}\r\n\r\n"
            )
            parts += [head.encode() + header, pixels, b"\r\n"]
        parts.append(f"--{BOUNDARY}--\r\n".encode())
        self.send_response(200)
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(sum(map(len, parts))))
        self.end_headers()
        for part in parts:
            self.connection.sendall(part)

    def _answer(self, value: Any, kind: str) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each request would be measured too."""


def _type(entry: dict[str, Any]) -> str:
    return str(entry["resource"]["resourceType"])


def _series_row(study: Study) -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [study.study_uid]},
        "0020000E": {"vr": "UI", "Value": [study.series_uid]},
        "00080060": {"vr": "CS", "Value": ["MR"]},
        "0008103E": {"vr": "LO", "Value": ["AX T1 POST"]},
        "00180015": {"vr": "CS", "Value": ["HEAD"]},
        "00200011": {"vr": "IS", "Value": [4]},
        "00201209": {"vr": "IS", "Value": [study.kind.slices]},
    }


def _instance_row(study: Study, index: int) -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [study.study_uid]},
        "0020000E": {"vr": "UI", "Value": [study.series_uid]},
        "00080018": {"vr": "UI", "Value": [study.sop_instance_uid(index)]},
    }


def main() -> None:
    """Draw the series, then serve until ended."""
    for kind in KINDS.values():
        prepared(kind)
    socketserver.TCPServer.allow_reuse_address = True
    Peers(int(sys.argv[1])).serve_forever()


if __name__ == "__main__":
    main()
