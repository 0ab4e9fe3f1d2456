"""The body of a call, as the JSON object that it must be."""

from __future__ import annotations

from typing import Any

from flask import request

from cds_service.hooks.errors import InvalidCall, NotJson
from cds_service.strict_json import InvalidJson, load_json


def json_body(*types: str) -> dict[str, Any]:
    """The JSON object that was sent as one of these media types, ``application/json`` if none.

    Raises:
        NotJson: another content type, charset or encoding.
        InvalidCall: not an object that `strict_json` accepts.
    """
    wanted = types or ("application/json",)
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    plain = encoding == "identity" and charset in ("utf-8", "utf8")
    if request.mimetype not in wanted or not plain:
        raise NotJson(f"The body must be {' or '.join(wanted)} in UTF-8.")
    try:
        return load_json(request.get_data(cache=False))
    except InvalidJson as error:
        raise InvalidCall(error.sentence) from None
