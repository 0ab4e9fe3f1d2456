"""What stays of a demo."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cds_service import demo
from cds_service.processes import DidNotStart


@pytest.mark.parametrize(
    ("ends", "left"), [(DidNotStart("see the log"), 1), (KeyboardInterrupt(), 0)]
)
def test_the_log_stays_where_a_process_did_not_start_and_nothing_else_does(
    ends: BaseException, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise ends

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(demo, "_started", started)
    with pytest.raises(type(ends)), demo.running():
        pass
    assert len(list(tmp_path.glob("scanhook-*"))) == left
