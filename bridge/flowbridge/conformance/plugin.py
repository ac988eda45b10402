"""The pytest plugin: the `lab` fixture, and the matrix at the end. Loaded by `-p flowbridge.conformance.plugin`.

Options: `--conformance-json FILE` writes the matrix of the run; `--conformance-expect FILE` fails a run whose matrix is
another than the one in that file, for each backend that is in both and whose every test was run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

# Before they are imported, so that a failing assertion shows what it saw.
pytest.register_assert_rewrite(
    "flowbridge.conformance.lab",
    *(f"flowbridge.conformance.{file.stem}" for file in Path(__file__).parent.glob("rules_*.py")),
)

from flowbridge.conformance import matrix  # noqa: E402
from flowbridge.conformance.harness import Harness  # noqa: E402
from flowbridge.conformance.lab import Lab  # noqa: E402

_RULE = re.compile(r"test_([A-Z]\d+)_")
_TOLD = "flowbridge conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The kit's options."""
    group = parser.getgroup("flowbridge conformance")
    group.addoption("--conformance-json", metavar="FILE", help="write the matrix of rules by backend as JSON")
    group.addoption(
        "--conformance-expect", metavar="FILE", help="fail where the matrix is not the one in this file, written before"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty matrix, in the process that tells about the run."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Teller(config), "flowbridge-conformance-teller")


@pytest.fixture
def lab(harness: Harness) -> Iterator[Lab]:
    """The harness in use; what a test started is canceled after it."""
    lab = Lab(harness)
    yield lab
    lab.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Put into the report what a rule's test saw: it goes along where tests run in several processes."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # what pluggy sends into a wrapper
    rule, lab = _RULE.match(item.name), getattr(item, "funcargs", {}).get("lab")
    if rule and isinstance(lab, Lab) and (report.when == "call" or report.failed):  # others have labs of their own
        reason = str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else ""
        about = matrix.told(
            getattr(item, "originalname", item.name),
            rule.group(1),
            lab.harness,
            lab.notes,
            outcome=report.outcome,
            reason=reason.removeprefix("Skipped: "),
        )
        report.user_properties.append((_TOLD, about))
    return report  # type: ignore[return-value]  # the same


def _folder_is_there(file: str | None) -> None:
    if file and not Path(file).absolute().parent.is_dir():
        raise pytest.UsageError(f"--conformance-json {file}: there is no folder {Path(file).parent}; make it first")


def _kept(path: Path) -> Mapping[str, matrix.Column]:
    """The matrix of an earlier run."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"it cannot be read ({error.strerror})"
    except ValueError:
        why = "that is no matrix"
    else:
        if _is_matrix(kept):
            return kept  # type: ignore[no-any-return]  # as JSON has it
        why = "that is no matrix" if kept else "there is no backend in it"
    raise pytest.UsageError(f"--conformance-expect {path}: {why}; --conformance-json FILE writes one")


def _is_matrix(kept: object) -> bool:
    """Whether it has the shape of what --conformance-json writes, of one backend at least."""
    if not isinstance(kept, dict) or not kept:
        return False
    return all(isinstance(column, dict) and {"facts", "rules"} <= column.keys() for column in kept.values())


class _Teller:
    """Collects what the tests saw, and tells it at the end. A wrong path is told before the first test."""

    def __init__(self, config: pytest.Config) -> None:
        self._matrix = matrix.Matrix()
        self._json: str | None = config.getoption("--conformance-json")
        self._expect: str | None = config.getoption("--conformance-expect")
        _folder_is_there(self._json)
        path = config.rootpath / self._expect if self._expect else None
        is_first = bool(self._json) and path is not None and not path.exists()  # it is being written
        self._kept = _kept(path) if path and not is_first else {}
        self._differences: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one test."""
        for name, value in report.user_properties:
            if name == _TOLD and isinstance(value, dict) and (report.when == "call" or report.failed):
                self._matrix.tell(value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the matrix, and compare it with the one that was kept."""
        columns = self._matrix.columns()
        if self._json:
            text = json.dumps(columns, indent=1, sort_keys=False) + "\n"
            Path(self._json).write_text(text, encoding="utf-8")
        if columns:
            self._differences = matrix.differences(self._kept, self._complete(columns))
            if self._differences and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _complete(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The backends whose every rule was tried: a part of the suite shows nothing of the rest."""
        suite = [name for name in vars(import_module("flowbridge.conformance.suite")) if _RULE.match(name)]
        return {name: column for name, column in columns.items() if not self._matrix.missed(name, suite)}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the matrix, and where it differs."""
        lines = matrix.text(self._matrix.columns())
        if lines:
            terminalreporter.section("rules of the law by backend")
        for line in lines:
            terminalreporter.write_line(line)
        strange = sorted(self._matrix.columns())
        if strange and self._kept and not self._kept.keys() & strange:
            terminalreporter.write_line(f"compared with nothing: {self._expect} has no column {' or '.join(strange)}")
        if self._differences:
            terminalreporter.section(f"the matrix is not that of {self._expect}", red=True)
        for line in self._differences:
            terminalreporter.write_line(line, red=True)
