"""Bad input: one line, the documented code, nothing changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from cli.clikit import Said
from flowbridge.ledger.ledger import Ledger
from flowbridge_cli import options
from flowbridge_cli.group import cli

Flowbridge = Callable[..., Said]

GOOD = "version: '2.0'\nw:\n  input: [a: 1]\n  tasks:\n    t:\n      action: std.noop\n"
DEEP = "a: " + "[" * 100 + "]" * 100
BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu", strict=True)
)

#: the text of a definition -> (exit code, what the line must say).
DEFINITIONS = {
    "broken YAML": ("version: '2.0'\nw: [\n", 2, "bad.yaml:3:1"),
    "an unknown keyword": (GOOD + "      on-fire: t\n", 2, "on-fire"),
    "a wrong type": (GOOD.replace("std.noop", "[1]"), 2, "bad.yaml:"),
    "nested too deeply": (DEEP, 2, "levels deep"),
    "an alias bomb": (BOMB, 2, "bad.yaml:"),
    "no text at all": ("", 2, "bad.yaml"),
    "an unknown action": (GOOD.replace("std.noop", "no.such"), 2, "bad.yaml:6:7: task 't'"),
    "an unknown sub-workflow": (GOOD.replace("action: std.noop", "workflow: nowhere"), 2, "'nowhere'"),
}


def _one_line(said: Said, code: int) -> str:
    assert said.code == code, said.err
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("flowbridge: error: ")
    return lines[0]


@pytest.mark.parametrize("case", DEFINITIONS)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_wrong_definition_is_refused_with_its_place(
    flowbridge: Flowbridge, home: Path, command: str, case: str
) -> None:
    text, code, says = DEFINITIONS[case]
    (home / "bad.yaml").write_text(text)
    assert says in _one_line(flowbridge(command, "bad.yaml"), code)
    assert flowbridge("list", "-o", "json").data == []


#: the words of a command -> (exit code, what the line must say).
COMMANDS: dict[tuple[str, ...], tuple[int, str]] = {
    ("run", "nowhere.yaml"): (2, "nowhere.yaml"),
    ("validate", "nowhere.yaml"): (2, "nowhere.yaml"),
    ("run", "w.yaml", "surplus=1"): (2, "unknown surplus. It takes: a"),
    ("run", "w.yaml", "novalue"): (2, "key=value"),
    ("run", "w.yaml", "--workflow", "other"): (2, "other"),
    ("run", "w.yaml", "--backend", "nowhere"): (2, "nowhere"),
    ("run", "memory:w", "--backend", "other"): (2, "give one"),
    ("run", "w.yaml", "--env", "{broken"): (2, "--env"),
    ("run", "w.yaml", "--input", "nowhere.json"): (2, "nowhere.json"),
    ("run", "w.yaml", "--input", "list.yaml"): (2, "list.yaml"),
    ("run",): (2, "TARGET"),
    ("list", "--engine", "--children", "--workflow", "w"): (2, "--engine does not go with --workflow, --children"),
    ("list", "--engine", "--status", "paused,running"): (2, "one --status"),
    ("list", "--engine", "--status", "pausing"): (2, "no status 'pausing'"),
    ("list", "--engine", "--backend", "nowhere"): (2, "nowhere"),
    ("get", "nonsense"): (4, "nonsense"),
    ("tree", "nonsense"): (4, "nonsense"),
    ("watch", "nonsense"): (4, "nonsense"),
    ("history", "nonsense"): (4, "nonsense"),
    ("recover", "nonsense"): (4, "nonsense"),
    ("pause", "nonsense"): (4, "nonsense"),
    ("get", "last"): (4, "ada has started nothing yet"),
    ("get", "memory:nonsense"): (4, "nonsense"),
    ("get", "nowhere:1"): (2, "nowhere"),
    ("execution", "adopt", "nonsense"): (2, "INSTANCE:ENGINE-ID"),
    ("cancel", "memory:"): (2, "names no execution of memory; write memory:ENGINE-ID"),
    ("pause",): (2, "name an execution"),
    ("pause", "x", "--status", "running"): (2, "not both"),
    ("pause", "--status", "sleeping"): (2, "sleeping"),
    ("pause", "--older-than", "soon"): (2, "soon"),
    ("skip", "x"): (2, "--tasks"),
    ("skip", "x", "--tasks", "t", "--accept", "Z9"): (2, "'Z9' is no rule that can be accepted; there are: R4, X6"),
    **{
        (verb, "x", "--accept", "X6", "--accept", "Z9"): (2, "'Z9' is no rule that can be accepted; there are: R4, X6")
        for verb in ("pause", "resume", "cancel", "re-run")
    },
    ("list", "--limit", "9223372036854775807"): (2, "limit"),
    ("list", "--older-than", 400 * "9" + "d"): (2, "no age"),
    ("pauze", "x"): (2, "did you mean 'pause'"),
    ("list", "--limit", "0"): (2, "limit"),
    ("list", "-o", "xml"): (2, "xml"),
    ("ledger", "prune"): (2, "--older-than"),
    ("backend", "check", "nowhere"): (2, ""),
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_wrong_command_line_is_one_line_and_changes_nothing(
    flowbridge: Flowbridge, home: Path, words: tuple[str, ...]
) -> None:
    (home / "w.yaml").write_text(GOOD)
    (home / "list.yaml").write_text("[1, 2]")
    code, says = COMMANDS[words]
    said = flowbridge(*words)
    if words[:2] == ("backend", "check"):
        assert said.code == code
        return
    assert says in _one_line(said, code)
    assert flowbridge("list", "-o", "json").data == []
    assert [entry["detail"] for entry in flowbridge("history", "-o", "json").data if "new" in entry["detail"]] == []


#: Every option that takes seconds.
WAITS = {
    "run": ("run", "w.yaml", "--timeout"),
    "watch": ("watch", "x", "--timeout"),
    "recover": ("recover", "--timeout"),
    "agent": ("agent", "--interval"),
    "list": ("list", "--timeout"),
    "skip": ("skip", "x", "--tasks", "t", "--timeout"),
    **{verb: (verb, "x", "--timeout") for verb in ("pause", "resume", "cancel", "re-run")},
}


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-1", "0", "-0.0", "1e300", "soon", ""])
@pytest.mark.parametrize("words", WAITS.values(), ids=WAITS)
def test_a_time_to_wait_that_is_none_is_refused_before_anything_is_done(
    flowbridge: Flowbridge, home: Path, words: tuple[str, ...], seconds: str
) -> None:
    (home / "w.yaml").write_text(GOOD)
    assert f"{seconds!r} is no time to wait; give a number of seconds" in _one_line(flowbridge(*words, seconds), 2)
    assert flowbridge("list", "-o", "json").data == []


def test_every_option_that_takes_seconds_is_among_them() -> None:
    taking = {
        name
        for name, command in _commands(cli)
        for option in command.params
        if isinstance(option.type, type(options.SECONDS)) or option.metavar == "SECONDS" or option.type is click.FLOAT
    }
    assert taking == WAITS.keys()


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from _commands(command) if isinstance(command, click.Group) else [(name, command)]


def test_the_longest_list_that_may_be_asked_for_is_a_list(flowbridge: Flowbridge) -> None:
    words = ("--limit", str(options.MANY), "--offset", str(options.MANY))
    assert flowbridge("list", *words, "-o", "json").data == []
    assert flowbridge("list", *words, "--no-look", "-o", "json").data == []


BOOK = """
version: '2.0'
name: book
workflows:
  long: {tasks: {t: {action: std.noop}}}
  short: {tasks: {t: {action: std.noop}}}
"""


@pytest.mark.parametrize("name", ["long", "book.long"])
def test_a_workflow_of_a_workbook_is_named_by_its_own_name_or_its_full_one(
    flowbridge: Flowbridge, home: Path, name: str
) -> None:
    (home / "book.yaml").write_text(BOOK)
    assert flowbridge("run", "book.yaml", "--workflow", name, "-o", "json").data["workflow"] == "book.long"


@pytest.mark.parametrize("name", ["ong", "other.long", "long.", "book"])
def test_a_workflow_that_is_not_in_a_file_is_told_with_those_that_are(
    flowbridge: Flowbridge, home: Path, name: str
) -> None:
    (home / "book.yaml").write_text(BOOK)
    said = _one_line(flowbridge("run", "book.yaml", "--workflow", name), 2)
    assert f"has no workflow {name!r}; it has: book.long, book.short" in said


def test_missing_input_is_named_and_nothing_is_started(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(GOOD.replace("[a: 1]", "[needed]"))
    assert "missing needed" in _one_line(flowbridge("run", "w.yaml"), 2)
    assert flowbridge("list", "-o", "json").data == []


@pytest.fixture
def errored(flowbridge: Flowbridge, home: Path) -> str:
    """An execution whose task `bad` failed and whose task `good` did not."""
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  tasks:\n    bad:\n      action: std.fail\n    good:\n      action: std.noop\n"
    )
    assert flowbridge("run", "w.yaml").code == 7
    return str(flowbridge("get", "last", "-o", "json").data["id"])


@pytest.mark.parametrize(
    ("words", "rule", "says"),
    [
        (("re-run", "--tasks", "nope"), "X3", "there is: bad, good"),
        (("re-run", "--tasks", "good"), "X3", "good: is succeeded"),
        (("re-run", "--tasks", "bad", "nope", "good"), "X3", "nope: no such task"),
        (("re-run", "--tasks", "bad,good"), "X3", "bad,good"),
        (("re-run", "--tasks", "bad", "--no-reset", "good"), "X6", "--no-reset names a task that --tasks does not"),
        (("re-run", "--tasks", "bad", "--no-reset", "bad"), "X6", "has no items"),
        (("re-run", "--no-reset", "bad"), "X6", "--tasks names nothing"),
        (("re-run", "a=1", "--tasks", "bad"), "X2", "original input"),
        (("skip", "--tasks", "good"), "X3", "good: is succeeded"),
        (("pause",), "P1", "Possible now: re-run"),
        (("resume",), "R1", "Possible now: re-run"),
        (("cancel",), "C1", "Possible now: re-run"),
    ],
)
def test_a_rejection_names_its_rule_and_what_is_possible(
    flowbridge: Flowbridge, errored: str, words: tuple[str, ...], rule: str, says: str
) -> None:
    before = flowbridge("tree", errored, "-o", "json").data["tasks"]
    said = flowbridge(words[0], errored, *words[1:], "-o", "json")
    assert says in _one_line(said, 3)
    assert (said.row["rule"], said.row["result"]) == (rule, "rejected")
    assert flowbridge("tree", errored, "-o", "json").data["tasks"] == before
    assert len(flowbridge("list", "-o", "json").data) == 1


def test_an_ambiguous_id_names_those_it_could_be(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(GOOD)
    ids = [flowbridge("run", "w.yaml", "-o", "json").data["id"] for _ in range(17)]
    heads = [id[0] for id in ids]
    twice = next(head for head in heads if heads.count(head) > 1)
    assert next(id for id in ids if id[0] == twice) in _one_line(flowbridge("get", twice), 2) or heads.count(twice) > 3


def test_with_json_an_error_is_also_the_document_on_stdout(flowbridge: Flowbridge) -> None:
    assert flowbridge("get", "nonsense", "-o", "json").data["exit_code"] == 4
    usage = flowbridge("list", "-o", "json", "--limit", "0")
    assert (usage.code, usage.data["error"]) == (2, "UsageError")


def _not_a_ledger(path: Path) -> None:
    path.write_text("this is no database, but a text that is long enough to be taken for one " * 20)


def _newer(path: Path) -> None:
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [(_not_a_ledger, "is not a ledger"), (_newer, "newer flowbridge"), (Path.mkdir, "directory")],
)
@pytest.mark.parametrize("words", [("list",), ("run", "w.yaml"), ("pause", "x"), ("ledger", "check")])
def test_a_ledger_that_cannot_be_used_is_named_and_left_as_it_is(
    flowbridge: Flowbridge,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    says: str,
    words: tuple[str, ...],
) -> None:
    (home / "w.yaml").write_text(GOOD)
    ledger = home / "other.db"
    make(ledger)
    before = ledger.read_bytes() if ledger.is_file() else b""
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(ledger))
    line = _one_line(flowbridge(*words), 2)
    assert says in line.lower() or says in line
    assert str(ledger) in line
    assert (ledger.read_bytes() if ledger.is_file() else b"") == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backends: [", "config.yaml:"),
        ("nonsense: 1", "unknown key 'nonsense'"),
        ("ledger: [1]", "config.yaml:1:"),
        ("backends:\n  prod: {url: x}", "needs a `type`"),
        ("[1]", "must be a mapping"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    (home / "config.yaml").write_text(text)
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    for words in (("list",), ("config", "show"), ("run", "w.yaml")):
        (home / "w.yaml").write_text(GOOD)
        assert says in _one_line(flowbridge(*words), 2)
    assert flowbridge("doctor").code == 2
    assert not (home / "ledger.db").exists()


def test_a_configuration_that_is_not_there_is_named(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "nowhere.yaml"))
    assert "nowhere.yaml" in _one_line(flowbridge("list"), 2)


def test_a_backend_type_that_is_not_installed_is_named(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.yaml").write_text("backends:\n  prod: {type: nosuch, password: hunter2}\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    listed = {row["name"]: row for row in flowbridge("backend", "list", "-o", "json").data}
    assert "nosuch" in listed["prod"]["problem"]
    checked = flowbridge("backend", "check", "-o", "json")
    assert checked.code == 2
    assert {row["name"]: row["answers"] for row in checked.data} == {"actionchain": True, "memory": True, "prod": False}
    shown = flowbridge("config", "show", "-o", "json")
    assert "hunter2" not in shown.out
    assert json.loads(shown.out)["backends"]["prod"]["password"] == "(not shown)"


@pytest.mark.parametrize("plan", [(), ("--dry-run",)], ids=["done", "planned"])
def test_X1_a_rerun_with_a_wrong_override_is_refused_alike_whether_planned_or_done(
    flowbridge: Flowbridge, home: Path, plan: tuple[str, ...]
) -> None:
    (home / "w.yaml").write_text(GOOD)
    assert flowbridge("run", "w.yaml").code == 0
    said = flowbridge("re-run", "last", "surplus=1", *plan)
    assert "unknown surplus. It takes: a" in _one_line(said, 2)
    assert len(flowbridge("list", "-o", "json").data) == 1
    ends = [entry["what"] for entry in flowbridge("history", "last", "-o", "json").data if entry["kind"] == "outcome"]
    assert [end.partition(":")[0] for end in ends] == (["start done"] if plan else ["start done", "re-run rejected"])
