"""Engines that fall silent, are not configured or hang: what whoever waits for them is told, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cli.clikit import BOUND, Gates, Said, interruptible, seen_ten_minutes_ago
from core.kit import Desk, one
from flowbridge import bridge as bridge_module
from flowbridge.bridge import Bridge
from flowbridge.errors import Interrupted, Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, Record, Ref, Status, TaskStatus, Want
from flowbridge_cli.documents import tree_document
from flowbridge_cli.drawing import tree_lines
from flowbridge_cli.silences import tell_silence
from flowbridge_cli.watching import cut_short, follow
from support.fake_mistral import FakeMistral
from support.haste import hurry

Flowbridge = Callable[..., Said]

FORGETFUL = """
version: '2.0'
w:
  tasks:
    one: {action: std.noop, on-success: [both]}
    both: {action: std.noop, join: all}
"""

ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    hurry(monkeypatch, home)
    monkeypatch.setattr(bridge_module, "_LONGEST_POLL", 0.01)
    made = Desk(home / "ledger.db")
    yield made
    made.close()


def at_looks(desk: Desk, **acts: Callable[[], object]) -> None:
    """Have something happen just before a look: `look_3` is the third from now on."""
    count = 0

    def before(name: str) -> None:
        nonlocal count
        count += name == "observe"
        acts.get(f"look_{count}", lambda: None)()

    desk.engine.before = before


def down(desk: Desk, *, is_so: bool) -> Callable[[], None]:
    return lambda: setattr(desk.engine, "down", is_so)


def test_a_watch_tells_when_an_engine_stops_answering_and_when_it_answers_again(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with desk.open() as flow:
        record = one(desk)
        at_looks(
            desk,
            look_2=down(desk, is_so=True),
            look_6=down(desk, is_so=False),
            look_9=lambda: desk.engine.has["e0"].go(EngineState.SUCCEEDED),
        )
        desk.engine.has["e0"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
        look, code = follow(flow, record.id, timeout=BOUND)
    assert (look.record.status, code) == (Status.SUCCEEDED, 0)
    told = [line for line in capsys.readouterr().err.splitlines() if "answer" in line]
    assert len(told) == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d  fake does not answer; last seen \d\d:\d\d:\d\d", told[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d  fake answers again", told[1])


@pytest.mark.parametrize(
    ("is_silent", "code", "words"), [(True, 5, "was running when it was last seen"), (False, 9, "")]
)
def test_the_time_for_watching_ends_with_5_where_the_engine_was_silent_then_and_with_9_otherwise(
    desk: Desk, capsys: pytest.CaptureFixture[str], is_silent: bool, code: int, words: str
) -> None:
    with desk.open() as flow:
        record = one(desk)
        desk.engine.down = is_silent
        assert follow(flow, record.id, timeout=0)[1] == code
    assert words in capsys.readouterr().err


def test_what_is_shown_of_a_silent_engine_is_as_old_as_what_it_showed_whatever_was_never_started_there(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with desk.open() as flow:
        record = one(desk)
        never = Record("child", record.tree, Ref("fake", "never"), parent=record.ref, native=False, key="k")
        canceled = replace(never, want=Want.CANCEL, status=Status.CANCELED, seen=EngineState.ABSENT)
        flow.get(record.id)
        flow.ledger.executions.put([canceled])
        desk.engine.down = True
        tell_silence(flow, flow.get(record.id))
        follow(flow, record.id, timeout=0, quiet=True)
    shown, watched, _ = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"fake does not answer; this is what was seen \d+ s ago", shown)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  fake does not answer; last seen \d\d:\d\d:\d\d", watched)


@contextmanager
def lost_start(desk: Desk) -> Iterator[Bridge]:
    """A start that is lost on its way to an engine that shows nothing."""
    desk.engine.dropped, desk.engine.silent = {"start"}, {"observe"}
    with desk.open() as flow:
        with pytest.raises(Unavailable):
            flow.run("flow", backend="fake")
        yield flow


def test_of_what_an_engine_never_showed_it_is_said_that_nothing_was_seen_there(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with lost_start(desk) as flow:
        tell_silence(flow, flow.get("last"))
    said = "fake does not answer; this is what is written down: nothing was seen there yet\n"
    assert capsys.readouterr().err == said


def test_no_status_is_told_as_if_it_were_seen_now(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with desk.open() as flow:
        record = one(desk)
        desk.engine.down = True
        follow(flow, record.id, timeout=0)
    lines = [line for line in capsys.readouterr().err.splitlines() if "  flow" in line]
    assert lines
    assert all(re.search(r"  running, as last seen \d\d:\d\d:\d\d$", line) for line in lines)


def test_with_json_the_silence_is_told_on_stderr_and_the_document_is_stale(
    flowbridge: Flowbridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unreachable(desk, "prod")
    (Path("config.yaml")).write_text("backends: {prod: {type: mistral, url: 'http://127.0.0.1:9'}}\n")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", "config.yaml")
    said = flowbridge("watch", ID, "--timeout", "0.01", "-o", "json")
    assert (said.code, said.data["stale"], said.data["status"]) == (5, True, "running")
    assert said.err.count("prod (http://127.0.0.1:9/v2) does not answer (") == 2  # when it was found, and at the end
    assert said.err.count("does not answer") == 2
    assert said.err.count("trying again") <= 1


@pytest.mark.parametrize(
    ("state", "busy", "advised", "not_advised"),
    [
        (EngineState.RUNNING, True, ["watch", "pause", "cancel"], ["resume"]),
        (EngineState.PAUSED, True, ["watch", "cancel"], ["pause", "resume"]),
        (EngineState.PAUSED, False, ["watch", "resume", "cancel"], ["pause"]),
        (EngineState.CANCELED, True, ["watch"], ["pause", "resume"]),
    ],
    ids=["running", "pausing", "paused", "canceling"],
)
def test_what_is_advised_at_the_end_of_a_watch_is_what_the_status_admits(
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    state: EngineState,
    busy: bool,
    advised: list[str],
    not_advised: list[str],
) -> None:
    with desk.open() as flow:
        record = one(desk)
        desk.engine.has["e0"].set("t0", active=busy)
        desk.engine.has["e0"].go(state)
        assert follow(flow, record.id, timeout=0, quiet=True)[1] == 9
    (said,) = capsys.readouterr().err.splitlines()
    assert all(f"flowbridge {verb} {record.id}" in said for verb in advised)
    assert not any(f"flowbridge {verb} " in said for verb in not_advised)


@pytest.mark.parametrize("how", ["the command was killed in the call", "the request was lost"])
def test_O3_a_watch_on_a_start_that_was_cut_short_says_so_once_and_advises_what_is_possible(
    desk: Desk, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """A kill is an exception that nobody catches; the lease of a dead process is gone."""

    def killed(name: str) -> None:
        if name == "start":
            raise _Killed

    if how == "the request was lost":
        desk.engine.dropped, desk.engine.silent = {"start"}, {"observe"}
    else:
        desk.engine.before = killed
    with desk.open() as flow, pytest.raises((_Killed, Unavailable)):
        flow.run("flow", backend="fake")
    desk.engine.dropped, desk.engine.silent, desk.engine.before = set(), set(), lambda name: None
    with desk.open() as flow:
        id = flow.find("last").id
        assert follow(flow, id, timeout=0.2)[1] == 9
        err = capsys.readouterr().err
        assert err.count(f"The start by me was cut short: `flowbridge recover {id}` goes on with it (O3)") == 1
        assert f"is still requested. The start by me was cut short. Go on with it: flowbridge recover {id} - " in err
        assert (f"flowbridge cancel {id}" in err, "flowbridge pause" in err, "The run goes on" in err) == (
            True,
            False,
            False,
        )
        assert desk.engine.has == {}
        with flow.ledger.leases.held(f"tree:{id}", "recover by her", what="it", timeout=0):
            follow(flow, id, timeout=0)
        assert "was cut short" not in capsys.readouterr().err
        flow.recover(id)
        assert (flow.get(id).record.status, len(desk.engine.has)) == (Status.RUNNING, 1)


def test_O3_a_start_that_was_over_right_behind_the_look_is_not_called_cut_short(desk: Desk) -> None:
    desk.engine.dropped, desk.engine.silent = {"start"}, {"observe"}
    with desk.open() as flow:
        with pytest.raises(Unavailable):
            flow.run("flow", backend="fake")
        look = flow.get("last")
        assert cut_short(flow, look) == "The start by me was cut short"
        desk.engine.dropped, desk.engine.silent = set(), set()
        flow.recover(look.record.id)
        assert cut_short(flow, look) == ""


def test_C1_a_canceled_start_that_may_still_arrive_is_told_with_how_to_wait_no_longer(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with lost_start(desk) as flow:
        desk.engine.dropped, desk.engine.silent = set(), set()
        flow.cancel("last")
        look = flow.get("last")
        told = tree_lines(tree_document(flow, look))[0]
        assert "waits for its start, which may still arrive, to cancel it then (C1)" in told
        assert follow(flow, look.record.id, timeout=0.2)[1] == 8
        assert "cut short" not in capsys.readouterr().err
        flow.recover(look.record.id)
        assert "still arrive" not in "".join(tree_lines(tree_document(flow, flow.get("last"))))


class _Killed(BaseException):
    """The process is no more."""


def test_a_watch_on_what_hangs_says_so_once_advises_recover_and_goes_on(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with desk.open() as flow:
        record = one(desk, TaskStatus.SUCCEEDED)
        desk.engine.has["e0"].hung = "its join will never come together"
        at_looks(desk, look_4=lambda: desk.engine.has["e0"].set("t0", starts=2))
        _, code = follow(flow, record.id, timeout=0.2)
    err = capsys.readouterr().err
    assert code == 9
    assert err.count("hung: its join will never come together; it cannot go on by itself") == 1
    assert f"cannot go on by itself: see `flowbridge recover {record.id}`" in err
    assert f"It is hung. See how it could be ended: flowbridge recover {record.id}" in err


def test_what_recover_would_not_end_is_not_sent_there(
    flowbridge: Flowbridge, home: Path, prod: FakeMistral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A join that the engine has forgotten, as it does after a pause under which all before it ended."""
    (home / "w.yaml").write_text(FORGETFUL)
    monkeypatch.setattr("flowbridge_mistral.observe.QUIET_SECONDS", float("-inf"))
    id = flowbridge("run", "w.yaml", "--backend", "prod", "--detach").out.strip()
    prod.executions[id].state = "RUNNING"
    prod.executions[id].tasks[-1].state, prod.executions[id].tasks[-1].actions = "WAITING", []
    said = {word: flowbridge(word, id) for word in ("get", "tree", "recover")}
    said["watch"] = flowbridge("watch", id, "--timeout", "0.01")
    listed, row = flowbridge("list"), flowbridge("list", "-o", "json").data[0]
    shown = flowbridge("get", id, "-o", "json").data
    assert (said["recover"].code, "to end it would lose both" in said["recover"].err) == (6, True)
    assert row["possible"] == shown["possible"] == ["pause", "cancel"]
    told = "".join(each.out + each.err for each in (*said.values(), listed))
    assert "recover it" not in told
    assert "flowbridge recover" not in told
    assert "hung: cancel it, then re-run it" in listed.out
    assert "hung: cancel it, then re-run it" in said["recover"].out
    anew = f"`flowbridge cancel {id[:13]}`, then `flowbridge re-run {id[:13]}`"
    assert f"What is hung cannot go on by itself: {anew}" in said["tree"].out
    assert f"`flowbridge cancel {id}`, then `flowbridge re-run {id}`" in said["get"].out
    assert f"It is hung, and can only be canceled. Watch it again: flowbridge watch {id}" in said["watch"].err


def test_a_re_run_tells_only_what_changes_from_then_on(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    lines = ["version: '2.0'", "w:", "  tasks:"]
    for name, following in (("kept", "broken"), ("broken", "")):
        lines += [f"    {name}:", f"      action: std.http url='{gates.url}/{name}'"]
        lines += [f"      on-success: {following}"] if following else []
    (home / "w.yaml").write_text("\n".join(lines) + "\n")
    gates.set(kept=200, broken=500)
    assert "w.kept  succeeded" in flowbridge("run", "w.yaml").err
    gates.set(broken=200)
    said = flowbridge("re-run", "last", "--tasks", "broken")
    assert said.code == 0
    assert "w.broken  succeeded" in said.err
    assert "w.kept" not in said.err


def test_an_instance_that_is_not_configured_is_told_as_such(
    flowbridge: Flowbridge, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unreachable(desk, "mistral")
    monkeypatch.delenv("FLOWBRIDGE_CONFIG")
    for command in ("get", "tree"):
        said = flowbridge(command, ID)
        assert said.code == 5
        assert (
            "mistral cannot be asked: there is no backend 'mistral': no instance of that name is configured" in said.err
        )
        assert "docs/configuration.md" in said.err
        assert "does not answer" not in said.err
    said = flowbridge("list")
    assert (said.code, "10 min ago" in said.out) == (0, True)
    assert "mistral cannot be asked: there is no backend 'mistral'" in said.err


def test_a_list_asks_a_silent_engine_once(desk: Desk) -> None:
    with desk.open() as flow:
        one(desk)
        desk.engine.glances = True
        calls: list[str] = []

        def before(name: str) -> None:
            calls.append(name)
            desk.engine.down = True

        desk.engine.before = before
        (record,) = flow.list(Filter())
    assert calls == ["glance"]
    assert record.status is Status.RUNNING


def test_what_an_engine_has_is_listed_from_an_offset_on(flowbridge: Flowbridge, home: Path, prod: FakeMistral) -> None:
    (home / "w.yaml").write_text("version: '2.0'\nw:\n  tasks:\n    t: {action: std.noop}\n")
    for _ in range(3):
        assert flowbridge("run", "w.yaml", "--backend", "prod", "--detach").code == 0
    words = ("list", "--engine", "--backend", "prod", "-o", "json")
    everything = [row["ref"] for row in flowbridge(*words).data]
    assert [row["ref"] for row in flowbridge(*words, "--offset", "1", "--limit", "1").data] == everything[1:2]
    assert flowbridge(*words, "--offset", "3").data == []


def test_ctrl_c_before_a_run_is_followed_stops_at_once_and_says_how_to_go_on(home: Path) -> None:
    """The engine takes the start and says nothing: the process is interrupted there."""
    asked, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(65536).startswith(b"POST /v2/executions")
                asked.set()
                over.wait(BOUND)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        (home / "config.yaml").write_text(f"backends: {{prod: {{type: mistral, url: '{url}'}}}}\n")
        running = interruptible("run", "prod:flow", FLOWBRIDGE_CONFIG=str(home / "config.yaml"))
        assert asked.wait(BOUND)
        begin = time.monotonic()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=BOUND)
        took = time.monotonic() - begin
        over.set()
        thread.join()
    assert (running.returncode, out, took < 1.0) == (130, "", True)
    with Bridge() as flow:
        (record,) = flow.list(Filter(), look=False)
    assert f"flowbridge recover {record.id}" in err
    assert f"flowbridge watch {record.id}" in err
    assert "Traceback" not in err


def test_O3_a_start_that_was_interrupted_is_finished_by_recover_and_not_started_twice(desk: Desk) -> None:
    with desk.open() as flow:

        def interrupted(name: str) -> None:
            if name == "start":
                raise KeyboardInterrupt

        desk.engine.before = interrupted
        with pytest.raises(Interrupted) as caught:
            flow.run("flow", backend="fake")
        desk.engine.before = lambda name: None
        flow.recover(caught.value.execution)
        assert flow.get(caught.value.execution).record.status is Status.RUNNING
        assert len(desk.engine.started) == 1


def test_an_interrupt_before_anything_was_written_is_none_of_a_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with desk.open() as flow:
        monkeypatch.setattr(flow._operator, "write_start", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            flow.run("flow", backend="fake")
        assert not isinstance(caught.value, Interrupted)
        assert flow.list(Filter(), look=False) == []


def _unreachable(desk: Desk, backend: str) -> None:
    """An execution that was last seen ten minutes ago."""
    with desk.open() as flow:
        flow.ledger.executions.put([seen_ten_minutes_ago(Ref(backend, ID))])
