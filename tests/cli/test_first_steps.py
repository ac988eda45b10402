"""Starting, watching and looking: as processes, with real runners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.clikit import BOUND, Gates, Said, interruptible, until
from support.fake_mistral import FakeMistral
from support.wire import answer, wired

Flowbridge = Callable[..., Said]
Process = Callable[..., subprocess.CompletedProcess[str]]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
HELLO = str(EXAMPLES / "hello.yaml")


def _gated(home: Path, gates: Gates, *names: str) -> str:
    """A workflow whose tasks wait, one after the other, at the gates of these names."""
    lines = ["version: '2.0'", "gated:", "  tasks:"]
    for name, following in zip(names, [*names[1:], ""], strict=True):
        lines += [f"    {name}:", f"      action: std.http url='{gates.url}/{name}'"]
        lines += [f"      on-success: {following}"] if following else []
    path = home / "gated.yaml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_run_watches_and_prints_how_it_ended_and_its_output(process: Process) -> None:
    done = process("run", HELLO, "name=Ada")
    assert done.returncode == 0
    assert "hello  succeeded" in done.stdout
    assert "greeting  hello, Ada" in done.stdout
    assert "hello.greet  succeeded" in done.stderr  # progress is no data


def test_run_prints_one_json_document_and_nothing_else_on_stdout(process: Process) -> None:
    done = process("run", HELLO, "-o", "json", COLUMNS="10")
    document = json.loads(done.stdout)
    assert document["status"] == "succeeded"
    assert document["output"] == {"greeting": "hello, world"}
    assert document["input"] == {"name": "world"}
    assert document["tasks"][0]["result"] == "hello, world"


@pytest.mark.parametrize(("answer", "code", "status"), [(200, 0, "succeeded"), (500, 7, "errored")])
def test_run_ends_with_the_code_of_how_the_run_ended(
    flowbridge: Flowbridge, home: Path, gates: Gates, answer: int, code: int, status: str
) -> None:
    gates.set(a=answer)
    said = flowbridge("run", _gated(home, gates, "a"), "-o", "json")
    assert (said.code, said.data["status"]) == (code, status)


def test_a_canceled_run_ends_the_watch_with_8(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    id = flowbridge("run", _gated(home, gates, "a", "b"), "--detach").out.strip()
    gates.arrived("a")
    assert flowbridge("cancel", id).code == 0
    gates.set(a=200)
    assert flowbridge("watch", id).code == 8
    assert gates.asked["b"] == 0


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_sound(flowbridge: Flowbridge, example: Path) -> None:
    assert flowbridge("validate", str(example), "--backend", "memory").code == 0


def test_the_example_of_a_release_fails_on_the_hosts_that_are_named_broken(flowbridge: Flowbridge) -> None:
    broken = flowbridge(
        "run", str(EXAMPLES / "deploy.yaml"), "--workflow", "release", "pace=0", 'broken=["web2"]', "-o", "json"
    )
    assert (broken.code, broken.data["status"]) == (7, "errored")
    again = flowbridge("re-run", "last", "--tasks", "roll_out.each", "--no-reset", "roll_out.each", "-o", "json")
    assert again.code == 7  # the same host, with its original input
    (roll_out,) = [task for task in again.row["document"]["tasks"] if task["name"] == "roll_out"]
    each = roll_out["children"][0]["tasks"][0]["children"]
    assert [child["item"] for child in each].count(1) == 2
    assert len(each) == 6


def test_detach_prints_the_id_and_does_not_wait(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    said = flowbridge("run", _gated(home, gates, "a"), "--detach", "-o", "json")
    assert said.code == 0
    gates.arrived("a")
    assert flowbridge("get", said.data["id"], "-o", "json").data["active_tasks"] == ["a"]


def test_the_time_for_watching_ends_with_9_and_the_run_goes_on(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    said = flowbridge("run", _gated(home, gates, "a"), "--timeout", "0.3")
    assert said.code == 9
    assert "The run goes on. Watch it again: flowbridge watch" in said.err
    gates.set(a=200)
    assert flowbridge("watch", "last").code == 0


def test_ctrl_c_stops_the_watching_within_a_second_and_never_the_run(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    watching = interruptible("run", _gated(home, gates, "a"))
    gates.arrived("a")
    begin = time.monotonic()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=BOUND)
    assert time.monotonic() - begin < 1.0
    assert watching.returncode == 130
    assert "flowbridge watch" in err
    assert "flowbridge pause" in err
    assert "flowbridge cancel" in err
    assert "Traceback" not in err
    gates.set(a=200)
    assert flowbridge("watch", "last").code == 0


def test_the_live_tree_is_drawn_on_a_terminal_only_and_takes_no_part_in_the_data(home: Path) -> None:
    terminal, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "flowbridge_cli.main", "run", HELLO],
        stdout=subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as running:
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(terminal, 4096):
                drawn += piece
        except OSError:
            pass  # how a terminal says that its other end has gone
        out = running.communicate(timeout=BOUND)[0].decode()
    os.close(terminal)
    assert b"greet" in drawn
    assert b"\x1b[" in drawn
    assert "\x1b" not in out
    assert "hello  succeeded" in out


def test_values_are_json_where_they_read_as_such_else_text(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  input: [a, b, c, d]\n  output: {all: '<% [$.a, $.b, $.c, $.d] %>'}\n"
        "  tasks:\n    t:\n      action: std.noop\n"
    )
    said = flowbridge("run", "w.yaml", "a=1", "b=[2]", "c=three=3", "d=true", "-o", "json")
    assert said.data["output"] == {"all": [1, [2], "three=3", True]}


def test_input_comes_from_a_file_or_stdin_and_the_command_line_wins(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "in.yaml").write_text("name: Grace\n")
    assert flowbridge("run", HELLO, "--input", "in.yaml", "-o", "json").data["input"] == {"name": "Grace"}
    said = flowbridge("run", HELLO, "--input-file", "in.yaml", "name=Ada", "-o", "json")
    assert said.data["input"] == {"name": "Ada"}
    (home / "in.json").write_text('{"name": "Mary"}')
    with (home / "in.json").open() as text:
        monkeypatch.setattr(sys, "stdin", text)
        assert flowbridge("run", HELLO, "--input", "-", "-o", "json").data["input"] == {"name": "Mary"}


def test_the_environment_is_given_as_json_or_as_pairs(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  output: {all: '<% [env().a, env().b] %>'}\n  tasks:\n    t:\n      action: std.noop\n"
    )
    said = flowbridge("run", "w.yaml", "--env", '{"a": 1, "b": 1}', "--env", "b=2", "-o", "json")
    assert said.data["output"] == {"all": [1, 2]}


def test_one_workflow_of_a_file_is_chosen_by_name(flowbridge: Flowbridge, home: Path) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\none:\n  tasks:\n    t:\n      action: std.noop\n"
        "two:\n  tasks:\n    t:\n      action: std.noop\n"
    )
    assert "none named main" in flowbridge("run", "w.yaml").err
    assert flowbridge("run", "w.yaml", "--workflow", "two", "-o", "json").data["workflow"] == "two"
    assert [row["workflow"] for row in flowbridge("validate", "w.yaml", "-o", "json").data] == ["one", "two"]


def test_what_an_engine_would_get_is_shown_and_nothing_is_deployed(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "version: '2.0'\nw:  # a comment\n  tasks:\n    t: {action: flowbridge.run target=memory:other}"
    (home / "w.yaml").write_text(text)
    assert flowbridge("validate", "w.yaml", "--backend", "memory", "--show-deployed").out == text + "\n"
    assert flowbridge("validate", "w.yaml", "--show-deployed").out == text + "\n"
    (home / "c.yaml").write_text("backends: {prod: {type: mistral, url: 'http://prod.example.org'}}\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", "c.yaml")
    server = FakeMistral()
    with wired(prod=lambda heard: answer(server, heard)):
        words = ("validate", "w.yaml", "--backend", "prod", "--show-deployed")
        shown = flowbridge(*words).out
        assert flowbridge(*words, "-o", "json").data == {"workflows": ["w"], "deployed": shown}
    task = yaml.safe_load(shown)["w"]["tasks"]["t"]
    assert (task["action"], task["input"]["target"]) == ("flowbridge.run", "memory:other")
    assert (server.workflows, server.adhoc) == ({}, {})


def test_what_is_wrong_is_told_with_the_users_own_lines_and_nothing_is_shown(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "w.yaml").write_text("version: '2.0'\nw:\n  tasks:\n    t: {action: flowbridge.run input=1}\n")
    (home / "c.yaml").write_text("backends: {prod: {type: mistral, url: 'http://prod.example.org'}}\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", "c.yaml")
    said = flowbridge("validate", "w.yaml", "--backend", "prod", "--show-deployed")
    assert (said.code, said.out) == (2, "")
    assert "w.yaml:4:17: task t: flowbridge.run needs a target" in said.err


def test_an_id_is_a_full_one_a_prefix_last_or_the_engines_own(flowbridge: Flowbridge) -> None:
    id = flowbridge("run", HELLO, "-o", "json").data["id"]
    for name in (id, id[:8], "last", f"memory:{id}"):
        assert flowbridge("get", name, "-o", "json").data["id"] == id
    assert flowbridge("execution", "adopt", f"memory:{id}", "-o", "json").data["id"] == id


def test_get_in_a_table_shows_what_is_possible_now_and_results_when_asked(flowbridge: Flowbridge) -> None:
    flowbridge("run", HELLO, "name=Ada")
    short, long = flowbridge("get", "last").out, flowbridge("get", "last", "--result").out
    assert "possible" in short
    assert "re-run" in short
    assert "result of greet" not in short
    assert "result of greet" in long


def test_a_run_whose_runner_was_killed_is_abandoned_and_recovered(
    flowbridge: Flowbridge, home: Path, gates: Gates
) -> None:
    id = flowbridge("run", _gated(home, gates, "a", "b"), "--detach").out.strip()
    gates.arrived("a")
    os.kill(_runner(id), signal.SIGKILL)
    until(lambda: flowbridge("get", id, "-o", "json").data["status"] == "abandoned", "abandoned")
    watched = flowbridge("watch", id)
    assert watched.code == 5
    assert f"flowbridge recover {id}" in watched.err
    gates.set(a=200, b=200)
    recovered = flowbridge("recover", id, "--assume", "rerun", "-o", "json")
    assert recovered.code == 0
    said = "done; nobody saw how gated.a ended: run again"
    assert f"recover by ada of {id}: {said}\n" in recovered.err
    assert said in flowbridge("history", id).out
    assert [row["id"] for row in recovered.data] == [id]
    assert flowbridge("watch", id).code == 0
    assert gates.asked["a"] == 2


def _runner(id: str) -> int:
    """The process that drives a run, as its lease says."""
    from flowbridge.bridge import Bridge

    with Bridge() as bridge:
        row = bridge.ledger.database.one("SELECT pid FROM leases WHERE name = ?", (f"run:memory:{id}",))
    return int(row[0])
