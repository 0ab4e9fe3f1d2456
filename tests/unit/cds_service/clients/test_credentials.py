"""Secrets in files, which somebody else replaces while we run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.bootstrap import Site
from cds_service.clients.dicomweb import Archive
from cds_service.clients.errors import Refused
from cds_service.settings import ArchiveSettings, Settings
from tests.doubles.faulty_http import FaultyServer, Reply, Seen, answer


def archive(server: FaultyServer, **secret: object) -> Archive:
    named = ArchiveSettings.model_validate({"name": "pacs", "base_url": server.base_url, **secret})
    return Site(Settings(environment="development", archives=(named,))).outside.archive(named)


def sent(server: FaultyServer) -> list[str]:
    return [seen.headers.get("authorization", "") for seen in server.seen]


def test_a_token_that_is_replaced_in_its_file_is_the_one_that_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with FaultyServer(lambda seen: answer(204)) as server:
        pacs = archive(server, bearer_token_file=file)
        for token in ("one\n", "two\n", ""):  # empty: it is just being written
            file.write_text(token)
            pacs.ping()
        file.unlink()
        pacs.ping()
        assert sent(server) == ["Bearer one", "Bearer two", "Bearer two", "Bearer two"]


def test_a_token_that_ends_before_its_successor_is_there_costs_one_question(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def expired(seen: Seen) -> Reply:
        file.write_text("new")
        return answer(401 if "old" in seen.headers["authorization"] else 204)

    with FaultyServer(expired) as server:
        archive(server, bearer_token_file=file).ping()
        assert sent(server) == ["Bearer old", "Bearer new"]


def test_a_password_may_be_replaced_too(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with FaultyServer(lambda seen: answer(204)) as server:
        pacs = archive(server, username="scanhook", password_file=file)
        for password in ("one", "two"):
            file.write_text(password)
            pacs.ping()
        assert len(set(sent(server))) == 2


@pytest.mark.parametrize("content", [None, " \n"])
def test_without_its_secret_an_archive_is_not_asked(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with FaultyServer() as server:
        with pytest.raises(Refused, match="file with the secret for pacs"):
            archive(server, bearer_token_file=file).ping()
        assert server.connections == 0
