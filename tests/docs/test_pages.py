"""The documentation says what is so: its commands run, its links lead somewhere, its tests exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = {
    name
    for folder in ("tests", "bridge/flowbridge/conformance")
    for file in (ROOT / folder).rglob("*.py")
    for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
}
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_page_of_states_is_drawn_from_the_table() -> None:
    spec = importlib.util.spec_from_file_location("make_diagram", ROOT / "docs/make_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs/states.md").read_text() == module.page(), "run python docs/make_diagram.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/asks.md").read_text()))
    assert named
    assert named <= TESTS, named - TESTS


def test_every_function_that_the_trace_names_is_there() -> None:
    for module, name in re.findall(r"`([a-z_.]+):([A-Za-z_.]+)`", (ROOT / "docs/code.md").read_text()):
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)


def test_every_hook_is_documented() -> None:
    from flowbridge import hookspecs

    hooks = [name for name in vars(hookspecs) if name.startswith("flowbridge_")]
    page = (ROOT / "docs/plugins.md").read_text()
    assert hooks
    assert all(f"`{name}(" in page for name in hooks)


def test_every_file_of_the_tree_is_there() -> None:
    tree = (ROOT / "docs/code.md").read_text().split("```")[1]
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "bridge").rglob(name)), name


def test_the_readme_begins_with_the_two_commands() -> None:
    first, second = _blocks("sh")
    assert "flowbridge run" in first
    assert second.rstrip().endswith("pytest")


def test_every_command_of_the_readme_is_one(tmp_path: Path) -> None:
    lines = [line[2:] for block in _blocks("console") for line in block.splitlines() if line.startswith("$ flowbridge")]
    assert len(lines) > 8
    for line in lines:
        words = shlex.split(line)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "flowbridge_cli.main", words[0], "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in done.stdout, line


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (script,) = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"FLOWBRIDGE_LEDGER": str(tmp_path / "ledger.db"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "succeeded {'greeting': 'hello, Ada'}"


def test_the_session_of_the_readme_comes_out_as_it_is_shown(tmp_path: Path) -> None:
    """The first block of the session, run for real: the same words, but for ids and times."""
    environment = {
        "FLOWBRIDGE_LEDGER": str(tmp_path / "ledger.db"),
        "FLOWBRIDGE_ACTOR": "ada",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }

    def flowbridge(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flowbridge_cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
        )
        return done.stdout + done.stderr

    id = flowbridge("run", "examples/deploy.yaml", "pace=2", 'broken=["web2"]', "--detach").strip()
    _until(lambda: "* build" in flowbridge("tree", id))
    paused = flowbridge("pause", "last", "--reason", "disk alarm on web2")
    assert paused == f"{id}  pause  pausing\n  still running: release.build (build: std.sleep)\n"
    _until(lambda: flowbridge("tree", "last").startswith("release  paused"))
    assert flowbridge("resume", "last").startswith(f"{id}  resume  running")
    assert "is already running; resume needs it to be paused (R1). Possible now: pause, cancel." in flowbridge(
        "resume", "last"
    )
    assert "one_host  errored" in flowbridge("watch", "last")
    plan = flowbridge("re-run", "last", "--tasks", "roll_out.each", "--no-reset", "roll_out.each", "--dry-run")
    assert "its engine re-opens it with the task below (X2)" in plan
    assert flowbridge("skip", "last", "--tasks", "roll_out.each").split()[1] == "skip"


def _until(found: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
