"""`make test` proves everything or fails: a skip counts as a failure there (GARAGE_TEST_COMPLETE in the environment).

Except for what a server cannot be given by installing something: a test says `lacks("KVM")`, and the run ends with a list of what
was therefore not tested.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import NoReturn

import pytest

WITHOUT = "this server has no "
CANNOT_BE_INSTALLED = ("KVM", "netem", "kernel WireGuard")


def lacks(what: str) -> NoReturn:
    """Skip this test for want of one of CANNOT_BE_INSTALLED."""
    assert what in CANNOT_BE_INSTALLED, what
    pytest.skip(WITHOUT + what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and os.environ.get("GARAGE_TEST_COMPLETE"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.removeprefix("Skipped: ") not in {WITHOUT + what for what in CANNOT_BE_INSTALLED}:
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} was not run: {reason}\n“make test” proves everything or fails."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.getreports("skipped")
    if skipped:
        terminalreporter.section("not tested on this server")
    for report in skipped:
        terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")
