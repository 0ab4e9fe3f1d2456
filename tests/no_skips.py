"""A pytest plug-in for machines that have everything: there a skipped test is a failed run.

Use: ``pytest -p tests.no_skips``.
"""

from __future__ import annotations

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what did not run."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn skips into a failure."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests did not run."""
    for nodeid in _skipped:
        terminalreporter.write_line(f"skipped where nothing may be skipped: {nodeid}", red=True)
