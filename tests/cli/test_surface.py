"""The command line as a whole: its table, its reference page, what it imports, and the commands of others."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import click
import pytest

from cli.clikit import BOUND, Said
from flowbridge.installed import Offer, scan

Flowbridge = Callable[..., Said]
Process = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parent.parent.parent


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield from _generator().commands()


def test_the_reference_page_is_fresh() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == _generator().page(), "run python docs/make_cli.py"


@pytest.mark.parametrize("words", [words for words, _ in _commands()], ids=" ".join)
def test_every_command_has_help_and_says_how_to_print(flowbridge: Flowbridge, words: tuple[str, ...]) -> None:
    said = flowbridge(*words, "--help")
    assert said.code == 0
    assert "Usage: flowbridge" in said.out
    assert "--output" in said.out or words[-1] in ("path", "agent")


def test_every_option_of_every_command_is_tried_by_a_test() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    missing = {
        f"{' '.join(words)} {name}"
        for words, command in _commands()
        for option in command.params
        if isinstance(option, click.Option)
        for name in [*option.opts, *option.secondary_opts]
        if name.startswith("--") and name not in ("--output", "--help") and f'"{name}' not in text
    }
    assert not missing


def test_every_verb_stands_under_execution_and_the_frequent_ones_at_the_top(flowbridge: Flowbridge) -> None:
    top, below = flowbridge("--help").out, flowbridge("execution", "--help").out
    frequent = ("list", "get", "tree", "watch", "pause", "resume", "cancel", "re-run", "skip", "history", "recover")
    assert all(re.search(rf"^  {verb} ", top, re.MULTILINE) for verb in frequent)
    assert all(re.search(rf"^  {verb} ", below, re.MULTILINE) for verb in (*frequent, "adopt"))
    assert flowbridge().out == top


def test_the_version_is_told(flowbridge: Flowbridge) -> None:
    import flowbridge as package

    assert flowbridge("--version").out == f"flowbridge {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "kept_out"),
    [
        (["--help"], ("rich", "yaml", "requests", "yaql", "jinja2", "sqlite3", "pluggy", "importlib.metadata")),
        (["list", "-o", "json"], ("rich", "yaml", "requests", "yaql", "jinja2")),
    ],
)
def test_a_command_imports_only_what_it_needs(home: Path, words: list[str], kept_out: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom flowbridge_cli.main import run\n"
        f"run({words!r})\nprint([name for name in {kept_out!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=BOUND)
    assert done.stderr.strip() == "[]"


def test_an_unexpected_exception_keeps_its_traceback_and_ends_with_1(process: Process, home: Path) -> None:
    _offer(home, "bug = shop:bug", "import click\n\n@click.command()\ndef bug():\n    raise RuntimeError('a bug')\n")
    done = process("bug", PYTHONPATH=str(home))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a bug" in done.stderr


def _offer(folder: Path, entry: str, module: str, group: str = "flowbridge.commands") -> None:
    """A distribution `shop` that is installed in a folder."""
    metadata = folder / "shop-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[other]\nx = y:z\n\n[{group}]\n{entry}\n")
    (folder / "shop.py").write_text(module)


def test_a_command_of_another_distribution_is_listed_unloaded_and_loaded_when_called(
    process: Process, home: Path
) -> None:
    _offer(
        home,
        "open = shop:command",
        "import click\nprint('loaded')\n\n@click.command()\ndef command():\n    click.echo('we are open')\n",
    )
    listed = process("--help", PYTHONPATH=str(home))
    assert "(from shop)" in listed.stdout
    assert "loaded" not in listed.stdout
    assert "we are open" in process("open", PYTHONPATH=str(home)).stdout


@pytest.mark.parametrize("module", ["raise OSError('no stock')", "command = 1"])
def test_a_broken_command_is_named_and_takes_nothing_else_down(process: Process, home: Path, module: str) -> None:
    _offer(home, "open = shop:command", module)
    broken = process("open", PYTHONPATH=str(home))
    assert broken.returncode == 2
    assert "'open'" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert process("list", PYTHONPATH=str(home)).returncode == 0
    survey = process("plugins", "-o", "json", PYTHONPATH=str(home))
    (problem,) = [one["problem"] for one in json.loads(survey.stdout) if one["name"] == "open"]
    assert problem == ("OSError: no stock" if "no stock" in module else "not a click command, but of type int")


def test_ctrl_c_while_the_command_is_still_being_imported_ends_it_with_one_line(home: Path) -> None:
    (home / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n")
    (script,) = entry_points(group="console_scripts", name="flowbridge")
    done = subprocess.run(
        [sys.executable, "-c", f"from {script.module} import {script.attr} as main; main()", "list"],
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_command_of_the_table_wins_over_one_of_the_same_name(process: Process, home: Path) -> None:
    _offer(home, "list = shop:command", "raise OSError('never loaded')")
    assert process("list", PYTHONPATH=str(home)).returncode == 0
    assert "(from shop)" not in process("--help", PYTHONPATH=str(home)).stdout


def test_metadata_that_cannot_be_read_is_passed_over(home: Path) -> None:
    (home / "broken-1.0.dist-info").mkdir()
    (home / "broken-1.0.dist-info" / "entry_points.txt").write_bytes(b"[flowbridge.commands]\n\xff = x:y\n")
    _offer(home, "open = os:path.join [extra]", "")
    found = scan("flowbridge.commands", [str(home), str(home / "nowhere")])
    assert found == {"open": Offer("open", "os:path.join [extra]", "shop")}
    assert found["open"].load() is os.path.join


def test_a_broken_hook_is_named_and_takes_no_verb_down_and_a_veto_is_a_rejection(process: Process, home: Path) -> None:
    example = str(ROOT / "examples" / "hello.yaml")
    _offer(home, "freeze = shop", "raise OSError('no stock')", "flowbridge.hooks")
    done = process("run", example, "--detach", PYTHONPATH=str(home))
    assert done.returncode == 0
    assert "warning: plugin freeze (shop) does not load" in done.stderr
    (home / "shop.py").write_text(
        "from flowbridge import hookimpl\n\n@hookimpl\ndef flowbridge_before_operation(operation, plan):\n"
        "    return 'change freeze'\n"
    )
    vetoed = process("run", example, PYTHONPATH=str(home))
    assert vetoed.returncode == 3
    assert "change freeze (plugin freeze)" in vetoed.stderr


def test_an_observer_that_fails_while_an_execution_is_watched_is_named(process: Process, home: Path) -> None:
    observer = (
        "from flowbridge import hookimpl\n\n@hookimpl\ndef flowbridge_status_changed(new):\n"
        "    if new == 'succeeded':\n        raise OSError('the line is dead')\n"
    )
    _offer(home, "bell = shop", observer, "flowbridge.hooks")
    done = process("run", str(ROOT / "examples" / "hello.yaml"), PYTHONPATH=str(home))
    assert done.returncode == 0
    warning = "warning: plugin bell: flowbridge_status_changed failed: OSError: the line is dead"
    assert done.stderr.count(warning) == 1


def test_a_reader_that_has_gone_is_no_error(home: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "flowbridge_cli.main", "--help"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=BOUND,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_disk_that_is_full_is_one_line(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flowbridge_cli.main", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=BOUND,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "No space left" in done.stderr


def test_words_that_are_no_text_are_refused(home: Path) -> None:
    for words in ([b"get", b"\xff"], [b"run", b"w.yaml", b"a=\xff"]):
        done = subprocess.run(
            [os.fsencode(sys.executable), b"-m", b"flowbridge_cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "not UTF-8" in done.stderr


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_and_can_be_turned_off(
    process: Process, home: Path, environment: dict[str, str], coloured: bool
) -> None:
    assert process("run", str(ROOT / "examples" / "hello.yaml")).returncode == 0
    assert "\x1b" not in process("list", **environment).stdout
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "flowbridge_cli.main", "list"]
    subprocess.run(command, stdout=theirs, env={**os.environ, **environment}, check=True, timeout=BOUND)
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert (b"\x1b[" in shown) is coloured


def test_a_locale_that_cannot_write_a_name_is_no_reason_to_fail(process: Process, home: Path) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  input: [a]\n  output: {a: <% $.a %>}\n  tasks:\n    t:\n      action: std.noop\n"
    )
    done = process("run", "w.yaml", "a=Grüße", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(process("get", "last", "-o", "json", PYTHONIOENCODING="ascii").stdout)["output"] == {"a": "Grüße"}


def test_text_of_a_workflow_cannot_steer_the_terminal(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  input: [a]\n  output: {a: <% $.a %>}\n  tasks:\n    t:\n      action: std.noop\n"
    )
    assert "\x1b" not in flowbridge("run", "w.yaml", "a=\x1b[2Jgone").out


def test_a_shell_is_told_commands_options_and_ids(process: Process, home: Path) -> None:
    id = process("run", str(ROOT / "examples" / "hello.yaml"), "--detach").stdout.strip()
    for words, expected in ((("flowbridge", "re"), "re-run"), (("flowbridge", "get", id[:5]), id)):
        done = process(_FLOWBRIDGE_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
        assert expected in done.stdout
