"""The pytest plugin: the `lab` fixture, and the matrix at the end. Loaded by `-p flowbridge.conformance.plugin`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from flowbridge.conformance.harness import Harness, Lab
from flowbridge.conformance.matrix import Matrix

_RULE = re.compile(r"test_([A-Z]\d+)_")
_MATRIX: pytest.StashKey[Matrix] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty matrix."""
    config.stash[_MATRIX] = Matrix()


@pytest.fixture
def lab(harness: Harness, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The harness in use; what a test started is canceled after it."""
    lab = Lab(harness)
    matrix = request.config.stash[_MATRIX]
    rule = _RULE.match(request.node.name)
    if rule:
        matrix.begin(rule.group(1), harness)
    yield lab
    if rule:
        matrix.note(rule.group(1), harness, lab.bridge)
    lab.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each rule's test ended."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # what pluggy sends into a wrapper
    rule = _RULE.match(item.name)
    harness = getattr(item, "funcargs", {}).get("harness")
    if rule and harness is not None and (report.when == "call" or report.skipped or report.failed):
        reason = str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else ""
        item.config.stash[_MATRIX].outcome(rule.group(1), harness, report.outcome, reason)
    return report  # type: ignore[return-value]  # the same


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix."""
    lines = config.stash[_MATRIX].lines()
    if lines:
        terminalreporter.section("rules of the law by backend")
        for line in lines:
            terminalreporter.write_line(line)
