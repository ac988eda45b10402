"""Input that a script or a broken terminal gives: one line, the documented code, and JSON that is JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.clikit import BOUND, Said
from flowbridge.errors import LedgerError
from flowbridge.recovery import Recovery

Flowbridge = Callable[..., Said]

ECHO = (
    "version: '2.0'\nw:\n  input: [x]\n  output: {got: <% $.x %>, started_at: <% $.x %>, at: <% $.x %>}\n"
    "  tasks: {t: {action: std.noop}}\n"
)
REVERSE = (
    "version: '2.0'\nback:\n  type: reverse\n  output: {done: <% $.get(a) %>}\n  tasks:\n"
    "    first: {action: std.echo output=1, publish: {a: <% task().result %>}}\n"
    "    goal: {requires: first, action: std.noop}\n    other: {action: std.fail}\n"
)


@pytest.fixture(autouse=True)
def echo(home: Path) -> None:
    (home / "echo.yaml").write_text(ECHO)
    (home / "back.yaml").write_text(REVERSE)
    flow = "{tasks: {t: {action: std.noop}}}"
    (home / "several.yaml").write_text(f"version: '2.0'\na: {flow}\nb: {flow}\n")
    (home / "main.yaml").write_text(f"version: '2.0'\na: {flow}\nmain: {flow}\n")


def shell(*words: str, **streams: int) -> subprocess.CompletedProcess[str]:
    """A process of its own, for streams that are closed or full."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "flowbridge_cli.main", *words],
        text=True,
        check=False,
        timeout=BOUND,
        stderr=subprocess.PIPE,
        **streams,  # type: ignore[call-overload]
    )
    return done


@pytest.mark.parametrize("value", ["soon", "2026-01-01T00:00:00Z", "7"])
def test_a_users_own_key_that_sounds_like_a_time_may_hold_anything(flowbridge: Flowbridge, value: str) -> None:
    said = flowbridge("run", "echo.yaml", f"x={value}")
    assert (said.code, "Traceback" in said.err) == (0, False)
    assert f"got         {value}" in said.out


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_no_word_for_is_text(flowbridge: Flowbridge, value: str) -> None:
    said = flowbridge("run", "echo.yaml", f"x={value}", "-o", "json")
    assert json.loads(said.out, parse_constant=pytest.fail)["output"]["got"] == value


def test_such_a_number_in_a_result_is_text_in_json(flowbridge: Flowbridge, home: Path) -> None:
    text = "version: '2.0'\nmain: {output: {got: .inf}, tasks: {t: {action: std.noop}}}\n"
    (home / "inf.yaml").write_text(text)
    said = flowbridge("run", "inf.yaml", "-o", "json")
    assert json.loads(said.out, parse_constant=pytest.fail)["output"]["got"] == "inf"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "echo.yaml", "x=" + "[" * 5000), "x is nested too deeply"),
        (("run", "echo.yaml", 'x="\\ud800"'), "half of a surrogate pair"),
        (("run", "echo.yaml", "x=1", "--env", "{" * 5000), "--env"),
        (("run", "n" * 300), "n" * 300),
        (("run", "several.yaml"), "several.yaml has several workflows and none named main; name one of them with"),
        (("run", "back.yaml"), "needs the name of its target task. It has: first, goal, other"),
        (("run", "back.yaml", "--task-name", "nowhere"), "has no task 'nowhere'"),
        (("run", "echo.yaml", "x=1", "--task-name", "t"), "a direct one"),
    ],
)
def test_hostile_words_are_one_line(flowbridge: Flowbridge, words: tuple[str, ...], says: str) -> None:
    said = flowbridge(*words)
    assert said.code in (2, 4), said.err
    assert said.err.count("\n") == 1
    assert says in said.err
    assert flowbridge("list", "-o", "json").data == []


def test_a_reverse_workflow_is_run_towards_the_task_that_is_named(flowbridge: Flowbridge) -> None:
    said = flowbridge("run", "back.yaml", "--task-name", "goal", "-o", "json")
    assert (said.code, said.data["output"]) == (0, {"done": 1})
    assert [task["name"] for task in said.data["tasks"]] == ["first", "goal"]
    again = flowbridge("re-run", "last", "-o", "json")
    assert (again.code, len(flowbridge("list", "-o", "json").data)) == (0, 2)


@pytest.mark.parametrize(
    "words",
    [("get", "last", "--bogus", "-o", "json"), ("re-run", "last", "--tasks", "-ojson"), ("zork", "--output=json")],
)
def test_a_wrong_command_line_is_a_document_too_where_json_was_asked_for(
    flowbridge: Flowbridge, words: tuple[str, ...]
) -> None:
    said = flowbridge(*words)
    assert (said.code, said.data["error"]) == (2, "UsageError")


def test_a_closed_stdout_or_stdin_is_no_bug(flowbridge: Flowbridge) -> None:
    for words in (("list",), ("run", "echo.yaml", "x=1", "--detach"), ("run", "echo.yaml", "--input", "-")):
        command = f"exec {sys.executable} -m flowbridge_cli.main {' '.join(words)} >&- <&-"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False, timeout=BOUND)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 2)


def test_a_full_disk_behind_stdout_is_one_line_with_json_too() -> None:
    with Path("/dev/full").open("w") as full:
        done = shell("list", "-o", "json", stdout=full.fileno())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written" in done.stderr


def test_bytes_on_stdin_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"x: \xff\n")
    with (tmp_path / "raw").open("rb") as raw:
        done = shell("run", "echo.yaml", "--input", "-", stdin=raw.fileno(), stdout=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (2, "flowbridge: error: stdin: is not UTF-8 text (byte 3)\n")


def test_a_verb_on_many_goes_on_when_its_reader_has_gone(flowbridge: Flowbridge, home: Path) -> None:
    (home / "slow.yaml").write_text("version: '2.0'\nw:\n  tasks: {t: {action: std.sleep seconds=60}}\n")
    ids = [flowbridge("run", "slow.yaml", "--detach").out.strip() for _ in range(3)]
    ours, theirs = os.pipe()
    os.close(ours)
    done = shell("cancel", *ids, stdout=theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
    statuses = {flowbridge("get", id, "-o", "json").data["status"] for id in ids}
    assert statuses <= {"canceling", "canceled"}


def test_recover_without_anything_hung_asks_nothing(flowbridge: Flowbridge) -> None:
    assert flowbridge("recover", "--yes").out == "nothing found\n"


def test_recover_calls_it_no_nothing_where_something_was_not_recovered(
    flowbridge: Flowbridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise LedgerError("it is in use")

    monkeypatch.setattr(Recovery, "unfinished", lambda _: ["a-tree"])
    monkeypatch.setattr(Recovery, "recover", locked)
    said = flowbridge("recover")
    assert (said.code, said.out) == (2, "")
    assert said.err == "flowbridge: error: a-tree is not recovered, or not all of it: it is in use\n"


def test_X1_a_run_that_was_re_run_from_a_task_can_be_run_again_from_the_beginning(
    flowbridge: Flowbridge, home: Path
) -> None:
    (home / "f.yaml").write_text("version: '2.0'\nf:\n  input: [x: 1]\n  tasks: {t: {action: std.fail}}\n")
    assert flowbridge("run", "f.yaml", "x=5").code == 7
    assert flowbridge("re-run", "last", "--tasks", "t").code == 7
    again = flowbridge("re-run", "last", "-o", "json")
    assert again.code == 7
    assert flowbridge("get", "last", "-o", "json").data["input"] == {"x": 5}


def test_O6_a_re_run_whose_input_is_refused_is_told_as_rejected(flowbridge: Flowbridge, home: Path) -> None:
    (home / "f.yaml").write_text("version: '2.0'\nf:\n  input: [x: 1]\n  tasks: {t: {action: std.fail}}\n")
    flowbridge("run", "f.yaml")
    assert flowbridge("re-run", "last", "zz=1").code == 2
    told = [entry for entry in flowbridge("history", "last", "-o", "json").data if entry["kind"] == "outcome"]
    assert told[-1]["detail"]["state"] == "rejected"
    assert "unknown zz" in told[-1]["detail"]["outcome"]
    assert len(told) == 2  # of the first run, and of the re-run


@pytest.mark.parametrize(
    ("setting", "says"),
    [("default_backend: nono", "there is no backend 'nono'"), ("required_plugins: [nono]", "nothing can be changed")],
)
def test_doctor_names_what_the_configuration_wants_and_is_not_there(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, says: str
) -> None:
    (home / "config.yaml").write_text(setting + "\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    said = flowbridge("doctor", "-o", "json")
    wrong = [row for row in said.data if row["state"] == "wrong"]
    assert (said.code, len(wrong)) == (2, 1)
    assert says in wrong[0]["detail"]


def test_of_several_workflows_the_one_named_main_is_started_or_the_one_that_is_named(flowbridge: Flowbridge) -> None:
    assert flowbridge("run", "main.yaml", "-o", "json").data["workflow"] == "main"
    assert flowbridge("run", "several.yaml", "--workflow", "b", "-o", "json").data["workflow"] == "b"
