"""The demo archive: WADO-RS, STOW-RS and QIDO-RS over DICOM files (PS3.18 10.4, 10.5, 10.6).

Instances are sent as they are stored, byte for byte. Nothing is transcoded or rendered.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Iterator, Sequence

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from cds_service.sandbox.archive_query import InvalidQuery, Level, Row, dicom_json, search
from cds_service.sandbox.catalogue import Catalogue, StoredInstance
from cds_service.sandbox.holdings import Holdings
from cds_service.sandbox.storing import STORED_BYTES, NotMultipart, store

BASE_PATH = "/dicom-web"
DICOM_JSON = "application/dicom+json"
_CHUNK_BYTES = 256 * 1024


def create_archive_app(holdings: Holdings, bearer_token: str = "") -> Flask:
    """The archive over `holdings`; with a `bearer_token`, who does not send it gets 401."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = STORED_BYTES
    app.url_map.strict_slashes = False

    @app.before_request
    def authorise() -> Response | None:
        sent = request.headers.get("Authorization", "")
        if not bearer_token or hmac.compare_digest(sent, f"Bearer {bearer_token}"):
            return None
        return Response("", 401, {"WWW-Authenticate": 'Bearer realm="sandbox archive"'})

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        return Response(f"{error.description}\n", error.code, mimetype="text/plain")

    _add_search(app, holdings)
    _add_retrieve(app, holdings)
    _add_store(app, holdings)
    return app


def _add_search(app: Flask, holdings: Holdings) -> None:
    def answer(level: Level, study: str = "", series: str = "") -> Response:
        rows = _rows(holdings.catalogue, study, series)
        if (study or series) and not rows:
            return Response(status=204)
        try:
            found = search(level, rows, list(request.args.items(multi=True)), _base_url())
        except InvalidQuery as error:
            abort(400, str(error))
        if not _accepts(DICOM_JSON, "application/json"):
            abort(406, "Searches are answered in application/dicom+json.")
        if not found:
            return Response(status=204)
        return Response(json.dumps(found), mimetype=DICOM_JSON)

    for path, level in (
        ("/studies", "studies"),
        ("/series", "series"),
        ("/instances", "instances"),
        ("/studies/<study>/series", "series"),
        ("/studies/<study>/instances", "instances"),
        ("/studies/<study>/series/<series>/instances", "instances"),
    ):
        name = f"search {path}"
        app.add_url_rule(BASE_PATH + path, name, answer, defaults={"level": level})


def _add_retrieve(app: Flask, holdings: Holdings) -> None:
    def instances(study: str, series: str = "", instance: str = "") -> Response:
        return _multipart(
            _found(holdings.catalogue, study, series, instance), single=bool(instance)
        )

    def metadata(study: str, series: str = "", instance: str = "") -> Response:
        if not _accepts(DICOM_JSON, "application/json"):
            abort(406, "Metadata are sent in application/dicom+json.")
        headers = [
            dicom_json(one.header) for one in _found(holdings.catalogue, study, series, instance)
        ]
        return Response(json.dumps(headers), mimetype=DICOM_JSON)

    for path in (
        "/studies/<study>",
        "/studies/<study>/series/<series>",
        "/studies/<study>/series/<series>/instances/<instance>",
    ):
        app.add_url_rule(BASE_PATH + path, f"retrieve {path}", instances)
        app.add_url_rule(f"{BASE_PATH}{path}/metadata", f"metadata {path}", metadata)


def _add_store(app: Flask, holdings: Holdings) -> None:
    def stored(study: str = "") -> Response:
        if not _accepts(DICOM_JSON, "application/json"):
            abort(406, "What became of each instance is told in application/dicom+json.")
        kind, options = parse_options_header(request.headers.get("Content-Type"))
        if kind != "multipart/related" or options.get("type") != "application/dicom":
            abort(415, 'Instances are taken as multipart/related; type="application/dicom".')
        pieces = iter(lambda: request.stream.read(_CHUNK_BYTES), b"")
        try:
            outcome = store(holdings, pieces, request.headers["Content-Type"], study)
        except NotMultipart as error:
            abort(400, str(error))
        body = json.dumps(dicom_json(outcome.told(_base_url())))
        return Response(body, outcome.status, mimetype=DICOM_JSON)

    for path in ("/studies", "/studies/<study>"):
        app.add_url_rule(BASE_PATH + path, f"store {path}", stored, methods=["POST"])


def _base_url() -> str:
    return request.host_url.rstrip("/") + BASE_PATH


def _rows(catalogue: Catalogue, study_uid: str = "", series_uid: str = "") -> list[Row]:
    return [
        (study, series, instance)
        for study in catalogue.studies.values()
        if study_uid in ("", study.study_uid)
        for series in study.series
        if series_uid in ("", series.series_uid)
        for instance in series.instances
    ]


def _found(
    catalogue: Catalogue, study_uid: str, series_uid: str, sop_instance_uid: str
) -> list[StoredInstance]:
    found = [
        instance
        for _, _, instance in _rows(catalogue, study_uid, series_uid)
        if sop_instance_uid in ("", instance.sop_instance_uid)
    ]
    if not found:
        abort(404, "There is no such study, series or instance.")
    return found


def _accepts(*types: str) -> bool:
    offered = request.headers.get("Accept") or "*/*"
    return any(
        kind in types or kind in ("*/*", "application/*")
        for kind, _ in map(parse_options_header, offered.split(","))
    )


def _multipart(instances: Sequence[StoredInstance], *, single: bool) -> Response:
    """``multipart/related; type="application/dicom"`` with the length of the whole and of parts."""
    accepted = list(map(parse_options_header, (request.headers.get("Accept") or "*/*").split(",")))
    alone = single and accepted[0][0] == "application/dicom"
    if not any(_fits(kind, options, instances, single=single) for kind, options in accepted):
        abort(406, "Instances are sent as application/dicom, in the stored transfer syntax.")
    if alone:
        only = instances[0]
        return Response(
            _chunks(only),
            headers={"Content-Length": str(only.size_bytes)},
            mimetype="application/dicom",
        )
    boundary = uuid.uuid4().hex
    heads = [_part_head(boundary, instance) for instance in instances]
    end = f"--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(one.size_bytes + 2 for one in instances) + len(end)

    def body() -> Iterator[bytes]:
        for head, instance in zip(heads, instances, strict=True):
            yield head
            yield from _chunks(instance)
            yield b"\r\n"
        yield end

    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return Response(body(), headers={"Content-Length": str(length)}, content_type=kind)


def _fits(
    kind: str, options: dict[str, str], instances: Sequence[StoredInstance], *, single: bool
) -> bool:
    """Whether one entry of ``Accept`` is what we can send (PS3.18 8.7.3, 8.7.5)."""
    wanted = options.get("transfer-syntax", "*")
    if wanted != "*" and any(one.transfer_syntax != wanted for one in instances):
        return False
    if kind == "multipart/related":
        return options.get("type", "application/dicom") == "application/dicom"
    return kind == "*/*" or (kind == "application/dicom" and single)


def _part_head(boundary: str, instance: StoredInstance) -> bytes:
    return (
        f"--{boundary}\r\n"
        f"Content-Type: application/dicom; transfer-syntax={instance.transfer_syntax}\r\n"
        f"Content-Length: {instance.size_bytes}\r\n\r\n"
    ).encode()


def _chunks(instance: StoredInstance) -> Iterator[bytes]:
    with instance.path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
