"""The documentation says what is so: its commands run, its links lead somewhere, its tests exist."""

from __future__ import annotations

import configparser
import dataclasses
import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import flowbridge
from docs import sessions
from flowbridge import config, hookspecs
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.ledger.leases import TTL_SECONDS
from flowbridge_cli.main import run

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


def _script(name: str) -> Any:
    """A script of the pages as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_states_is_drawn_from_the_table() -> None:
    made = _script("make_diagram")
    assert (ROOT / "docs/states.md").read_text() == made.page(), "run python docs/make_diagram.py"
    assert (ROOT / "docs/pictures/states.svg").read_text() == made.picture(), "run python docs/make_diagram.py"


def test_the_reference_of_the_python_api_is_made_from_the_code() -> None:
    assert (ROOT / "docs/api.md").read_text(encoding="utf-8") == _script("make_api").page(), (
        "run python docs/make_api.py"
    )


def test_the_pictures_are_drawn_from_the_law_and_from_a_session() -> None:
    kept = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "docs/pictures").iterdir()}
    drawn = _script("make_pictures").pictures()
    assert kept.keys() == {*drawn, "states.svg"}
    assert drawn.items() <= kept.items(), "run python docs/make_pictures.py"


def test_every_public_name_stands_in_the_reference_of_the_python_api() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for name in set(flowbridge.__all__) - {"__version__", "hookimpl"}:
        assert f"\n### {name}\n" in page, name


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
    assert any(f"def {name}(" in file.read_text() for file in (ROOT / "tests").glob("*/test_*.py"))


def test_every_file_of_the_tree_is_there() -> None:
    tree = (ROOT / "docs/code.md").read_text().split("```")[1]
    for name in re.findall(r"(\w+\.py)", tree):
        assert list((ROOT / "bridge").rglob(name)), name


def test_every_file_of_the_core_stands_in_the_tree() -> None:
    tree = (ROOT / "docs/code.md").read_text().split("```")[1]
    core = ROOT / "bridge/flowbridge"
    for file in [*core.glob("*.py"), *(core / "law").glob("*.py"), *(core / "ledger").glob("*.py")]:
        assert file.name.startswith("_") or file.name in tree, file.name


def test_the_readme_begins_with_the_two_commands() -> None:
    first, second = _blocks("sh")
    assert "flowbridge run" in first
    assert second.rstrip().endswith("pytest -n auto")


def _played(script: str, home: Path) -> str:
    """What Python prints that stands on a page, run as a reader would run it in a copy of the repository."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"FLOWBRIDGE_LEDGER": str(home / "ledger.db"), "PATH": "/usr/bin:/bin", "HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (script,) = _blocks("python")
    assert _played(script, tmp_path).strip() == "succeeded {'greeting': 'hello, Ada'}"


def _loose(language: str) -> list[Any]:
    """Blocks of a language that are no file of a session, so that no session plays them."""
    found = [(page, block) for page in PAGES for block in sessions.blocks(page)]
    return [
        pytest.param(block.text, id=f"{page.stem}-{block.text.split()[0]}")
        for page, block in found
        if block.language == language and not block.notes
    ]


@pytest.mark.parametrize("script", _loose("python"))
def test_python_on_a_page_runs(script: str, tmp_path: Path) -> None:
    assert _played(script, tmp_path)


@pytest.mark.parametrize("text", _loose("yaml"))
def test_yaml_on_a_page_is_accepted_by_what_reads_it(text: str, tmp_path: Path) -> None:
    data = yaml.safe_load(text)
    if "version" in data:
        with Bridge(config.Config(tmp_path / "ledger.db")) as bridge:
            assert bridge.instances.get("memory").recognizes(Definition(text, "page.yaml")) is not False
    elif "backends" in data:
        (tmp_path / "config.yaml").write_text(text)
        found = config.load({"FLOWBRIDGE_CONFIG": str(tmp_path / "config.yaml"), "HOME": str(tmp_path)})
        assert set(found.backends) == set(data["backends"])
    else:
        assert data


def test_every_page_stands_in_the_nav_of_the_site() -> None:
    named = re.findall(r"(\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_every_page_stands_on_the_first_one() -> None:
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in text, page.name


def test_the_unit_for_systemd_starts_an_agent_that_tells_when_it_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = [block.text for page in PAGES for block in sessions.blocks(page) if block.language == "ini"]
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]  # systemd tells capitals apart
    unit.read_string(text)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process", "what the agent has begun would end with it (P5)"
    assert float(service["WatchdogSec"]) > 2 * TTL_SECONDS
    _, verb, *words = shlex.split(service["ExecStart"])
    assert run([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words if word.startswith("--"))
