"""What the demo's command says before anything answers."""

from __future__ import annotations

from typing import NoReturn

import pytest
from click.testing import CliRunner

from cds_service.cli import demo


def test_who_redirects_the_demo_is_told_at_once_that_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "running", interrupted)
    monkeypatch.setattr(demo, "hear_signals", lambda: None)
    ran = CliRunner().invoke(demo.command, [])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "drawing the studies...\n")
