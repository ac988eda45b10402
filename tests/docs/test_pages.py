"""The documentation says what is so: its commands run, its links lead somewhere, its tests exist."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowbridge import hookspecs

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


HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("flowbridge_")}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_arguments(name: str) -> None:
    page = (ROOT / "docs/plugins.md").read_text()
    arguments = list(inspect.signature(HOOKS[name]).parameters)
    assert f"| `{name}({', '.join(arguments)})` |" in page
    table = page.split("A plugin names the arguments", 1)[1].split("Two plugins", 1)[0]
    assert all(f"`{argument}`" in table for argument in arguments)


def test_everything_that_is_known_of_a_change_is_documented() -> None:
    (row,) = [line for line in (ROOT / "docs/plugins.md").read_text().splitlines() if line.startswith("| `change` |")]
    assert all(f"`{field.name}`" in row for field in dataclasses.fields(hookspecs.Change))


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_tested(name: str) -> None:
    assert f"def {name}(" in (ROOT / "tests/core/test_plugins.py").read_text()


def test_every_file_of_the_tree_is_there() -> None:
    tree = (ROOT / "docs/code.md").read_text().split("```")[1]
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "bridge").rglob(name)), name


def test_the_readme_begins_with_the_two_commands() -> None:
    first, second = _blocks("sh")
    assert "flowbridge run" in first
    assert second.rstrip().endswith("pytest -n auto")


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
