"""What is typed in a hurry: one line, the documented code, and nothing done that was not meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cli.conftest import Flowbridge

ECHO = """
version: '2.0'
main:
  input: [x: 0]
  output: {x: <% $.x %>}
  tasks:
    t: {action: std.noop}
"""


@pytest.fixture
def echo(home: Path) -> str:
    (home / "echo.yaml").write_text(ECHO)
    return "echo.yaml"


@pytest.mark.parametrize("verb", ["re-run", "skip", "pause"])
def test_a_verb_on_nothing_is_refused(flowbridge: Flowbridge, verb: str) -> None:
    said = flowbridge(verb)
    assert said.code == 2
    assert "name an execution" in said.err or "name the tasks to skip" in said.err


@pytest.mark.parametrize("words", ["flowbridge execution re-run ", "flowbridge re-run last --tasks "])
def test_completion_says_nothing_of_what_is_not_there_yet(
    process: Callable[..., CompletedProcess[str]], words: str
) -> None:
    place = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split())), "_FLOWBRIDGE_COMPLETE": "bash_complete"}
    done = process(**place)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", [("re-run",), ("re-run", "--tasks", "t", "--")])
def test_ids_are_all_known_before_the_first_is_run_again(
    flowbridge: Flowbridge, echo: str, verb: tuple[str, ...]
) -> None:
    id = flowbridge("run", echo, "-o", "json").data["id"]
    said = flowbridge(*verb, id, "hosts")
    assert said.code == 4
    assert "no execution 'hosts'" in said.err
    assert len(flowbridge("list", "-o", "json").data) == 1
    assert [one["what"] for one in flowbridge("history", id, "-o", "json").data if one["kind"] == "operation"] == [
        "start"
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"x": 1e3}', 1000.0),
        ('{"x": "\\ud83d\\ude00"}', "\N{GRINNING FACE}"),
        ('{"x": 1E+20}', 1e20),
        ("x: [1, 2]", [1, 2]),
    ],
)
def test_a_file_of_json_is_read_as_json_and_any_other_as_yaml(
    flowbridge: Flowbridge, home: Path, echo: str, text: str, value: object
) -> None:
    (home / "input").write_text(text)
    assert flowbridge("run", echo, "--input", "input", "-o", "json").data["output"] == {"x": value}


@pytest.mark.parametrize("text", ["x: .nan", '{"x": NaN}', "x: [.inf]", '{"x": 1e999}'])
def test_a_number_that_json_has_no_word_for_is_refused_as_input(
    flowbridge: Flowbridge, home: Path, echo: str, text: str
) -> None:
    (home / "input").write_text(text)
    said = flowbridge("run", echo, "--input", "input")
    assert said.code == 2
    assert "input 'x' is no JSON value" in said.err
    assert flowbridge("list", "-o", "json").data == []


@pytest.mark.parametrize("option", ["--limit", "--offset"])
def test_numbers_beyond_every_list_are_refused(flowbridge: Flowbridge, option: str) -> None:
    said = flowbridge("list", option, "9" * 23)
    assert said.code == 2
    assert "is not in the range" in said.err


def test_a_ledger_whose_name_is_too_long_is_one_line(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(home / ("n" * 300)))
    said = flowbridge("list")
    assert said.code == 2
    assert "File name too long; set FLOWBRIDGE_LEDGER to another file" in said.err
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(home / "ledger.db"))


def test_a_mistake_in_the_options_of_the_default_engine_is_told_with_its_place(
    flowbridge: Flowbridge, home: Path, echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / "config.yaml"
    config.write_text("backends:\n  memory:\n    type: memory\n    wrk: 1\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(config))
    for how in ([], ["--backend", "memory"]):
        said = flowbridge("run", echo, *how)
        assert said.code == 2
        assert f"{config}:2: backend memory: unknown option 'wrk'" in said.err
    config.unlink()


@pytest.mark.parametrize(
    ("words", "told"),
    [(("x=1", "x=2"), "x is given twice; give it once"), (("--input", ""), "--input needs the name of a file")],
)
def test_input_that_can_be_meant_in_two_ways_is_refused(
    flowbridge: Flowbridge, echo: str, words: tuple[str, ...], told: str
) -> None:
    said = flowbridge("run", echo, *words)
    assert said.code == 2
    assert told in said.err


def test_an_id_may_have_blanks_around_it_and_capitals(flowbridge: Flowbridge, echo: str) -> None:
    id = flowbridge("run", echo, "-o", "json").data["id"]
    for given in (f" {id}\n", id.upper(), "LAST", id[:8].upper()):
        assert flowbridge("get", given, "-o", "json").data["id"] == id


def test_a_dumb_terminal_gets_no_colours(home: Path, echo: str) -> None:
    terminal, theirs = os.openpty()
    command = [sys.executable, "-m", "flowbridge_cli.main", "run", echo]
    done = subprocess.run(
        command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "dumb"}, check=False, cwd=home
    )
    os.close(theirs)
    said = os.read(terminal, 65536)
    os.close(terminal)
    assert done.returncode == 0
    assert b"succeeded" in said
    assert b"\x1b" not in said


def test_no_wait_only_starts(flowbridge: Flowbridge, echo: str) -> None:
    assert len(flowbridge("run", echo, "--no-wait").out.strip()) == 36
    assert flowbridge("watch", "last").code == 0


def test_half_of_a_surrogate_pair_never_reaches_the_ledger(flowbridge: Flowbridge, home: Path) -> None:
    (home / "odd.py").write_text("def bad():\n    raise ValueError('bad \\ud800 text')\n")
    (home / "odd.yaml").write_text("version: '2.0'\nmain: {tasks: {t: {action: odd.bad}}}\n")
    config = home / "config.yaml"
    config.write_text("backends:\n  memory:\n    type: memory\n    actions: {odd.bad: 'odd:bad'}\n")
    env = {**os.environ, "FLOWBRIDGE_CONFIG": str(config), "PYTHONPATH": str(home)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWBRIDGE_CONFIG", env["FLOWBRIDGE_CONFIG"])
        patch.setenv("PYTHONPATH", env["PYTHONPATH"])
        patch.syspath_prepend(str(home))
        assert flowbridge("run", "odd.yaml").code == 7
        assert "bad \\ud800 text" in flowbridge("tree", "last").out
        assert flowbridge("list").code == 0
        assert json.loads(flowbridge("get", "last", "-o", "json").out)["status"] == "errored"
    config.unlink()


def test_O2_a_rejection_tells_a_program_its_rule_its_reason_and_the_rows_it_is_about(
    flowbridge: Flowbridge, echo: str
) -> None:
    id = flowbridge("run", echo, "-o", "json").data["id"]
    said = flowbridge("pause", id, "-o", "json")
    assert (said.code, said.row["rule"], said.row["reason"], said.row["rows"]) == (3, "P1", "is_succeeded", [id])
    assert len(said.err.splitlines()) == 1
    (home := Path("bad.yaml")).write_text(
        "version: '2.0'\nmain: {tasks: {t: {action: std.fail}, u: {action: std.noop}}}\n"
    )
    bad = flowbridge("run", str(home), "-o", "json").data["id"]
    wrong = flowbridge("re-run", bad, "--tasks", "a", "u", "-o", "json").row
    assert (wrong["rule"], [row.partition(":")[0] for row in wrong["rows"]]) == ("X3", ["a", "u"])
