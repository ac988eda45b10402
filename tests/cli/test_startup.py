"""Start-up: what a command does not need it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Flowbridge

HEAVY = (
    *("rich", "requests", "keystoneauth1", "yaml", "jinja2", "yaql", "pluggy"),
    *("importlib.metadata", "sqlite3", "flowbridge.bridge"),
)


def _imported(*words: str) -> set[str]:
    script = f"""
import sys
from flowbridge_cli.main import run
code = run({list(words)!r})
print("IMPORTED", *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("execution", "--help")])
def test_help_imports_nothing_but_click(words: tuple[str, ...]) -> None:
    assert _imported(*words) == set()


def test_a_list_of_what_has_ended_needs_the_ledger_only(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", f"{tmp_path}/ledger.db")
    assert _imported("list") == {"sqlite3"}


FLOW = """
version: '2.0'
main:
  output: {said: <% task(a).result %>}
  tasks:
    a:
      action: std.echo output=<% 1 + 1 %>
      on-success: b
    b:
      action: std.echo output="{{ 1 + 1 }}"
"""


def test_a_look_at_a_run_reads_none_of_its_expressions(flowbridge: Flowbridge, home: Path) -> None:
    (home / "flow.yaml").write_text(FLOW)
    assert flowbridge("run", "flow.yaml", "-o", "json").data["output"] == {"said": 2}
    assert _imported("get", "last") & {"yaql", "jinja2"} == set()
