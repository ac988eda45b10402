"""What holds for the project as a whole: layers, names, sizes."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {"bridge": "flowbridge", "plugins": None, "cli": "flowbridge_cli"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: What the law and the model may import: nothing that can block.
PURE = {
    "__future__",
    "collections.abc",
    "dataclasses",
    "enum",
    "re",
    "typing",
    "flowbridge.capabilities",
    "flowbridge.errors",
    "flowbridge.law",
    "flowbridge.model",
}


def _modules() -> Iterator[Path]:
    for root in SOURCES:
        yield from sorted((ROOT / root).rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, *, typing_too: bool = True) -> set[str]:
    """Every module that a file imports, late imports counted."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped.update(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _packages() -> set[str]:
    return {path.parent.name for root in SOURCES for path in (ROOT / root).glob("*/__init__.py")}


def test_every_package_stands_in_the_wheel_and_in_the_import_contracts() -> None:
    wheel = {Path(place).name for place in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    contracts = set(PROJECT["tool"]["importlinter"]["root_packages"])
    assert wheel == contracts == _packages()


@pytest.mark.parametrize("path", sorted((ROOT / "bridge/flowbridge/law").glob("*.py")), ids=lambda path: path.name)
def test_the_law_imports_nothing_that_can_block(path: Path) -> None:
    foreign = {name for name in _imports(path) if not any(name == pure or name.startswith(pure + ".") for pure in PURE)}
    assert not foreign


@pytest.mark.parametrize("name", ["model", "capabilities"])
def test_the_model_imports_only_the_model(name: str) -> None:
    allowed = ("__future__", "collections.abc", "dataclasses", "enum", "typing", "flowbridge.model")
    assert all(one.startswith(allowed) for one in _imports(ROOT / f"bridge/flowbridge/{name}.py"))


def test_no_engine_is_named_in_the_core() -> None:
    engines = re.compile(r"mistral|stackstorm|actionchain|\bst2\b|openstack", re.IGNORECASE)
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "bridge").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if engines.search(line)
    ]
    assert not named


def test_no_import_goes_in_a_circle_late_imports_counted() -> None:
    files = {_name(path): path for path in _modules()}
    graph = {
        name: {other for other in _imports(path, typing_too=False) if other in files and other != name}
        for name, path in files.items()
    }
    for name, others in graph.items():
        # `from package import name` in a package's own module is no use of the package's other contents.
        others -= {package for package in others if name.startswith(package + ".")}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", list(_modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_functions_shorter(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path}:{node.lineno} {node.name}"


def test_every_live_suite_is_run_by_the_checks() -> None:
    groups = set(re.findall(r"\btest_\w+\.py\b", (ROOT / ".ci" / "run").read_text()))
    assert groups == {path.name for path in (ROOT / "tests" / "live").glob("test_*.py")}


def test_the_public_names_are_these() -> None:
    import flowbridge

    assert set(flowbridge.__all__) == {
        "__version__",
        "Backend",
        "Bridge",
        "Capabilities",
        "CatalogEntry",
        "Config",
        "Definition",
        "Filter",
        "FlowbridgeError",
        "LocalBackend",
        "Look",
        "Outcome",
        "RerunRequest",
        "Session",
        "Status",
        "Target",
        "Verb",
        "hookimpl",
    }
    assert all(getattr(flowbridge, name) is not None for name in flowbridge.__all__)
