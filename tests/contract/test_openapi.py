"""``docs/openapi.json`` says what the application serves, and all of it."""

from __future__ import annotations

import json
from pathlib import Path

from docs.openapi_page import PAGE, page, whole_application


def test_the_document_is_what_the_routes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()  # else: python -m docs.openapi_page


def test_the_document_is_not_served(tmp_path: Path) -> None:
    client = whole_application(tmp_path).test_client()
    for path in ("/openapi.json", "/docs/openapi.json", "/swagger", "/docs"):
        assert client.get(path).status_code == 404


def test_every_call_that_needs_a_token_says_so() -> None:
    paths = json.loads(PAGE.read_text(encoding="utf-8"))["paths"]
    guarded = {
        f"{method} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security")
    }
    assert {
        "post /cds-services/{service_id}",
        "post /cds-services/{service_id}/feedback",
    } <= guarded
    assert not any("/e/" in each or "/models/" in each for each in guarded)
