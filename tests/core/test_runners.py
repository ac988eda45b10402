"""Local runs: commands reach whoever drives the run, one process drives it, and nothing is lost in between (S6)."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.kit import in_child
from flowbridge import patience
from flowbridge.backend import Capabilities, Definition, Deployed, Health, Listed, StartRequest
from flowbridge.deadline import within
from flowbridge.detached import Detached
from flowbridge.errors import EngineRefused, InvalidInput, LedgerError, NotFound, Unavailable
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.ledger.rows import Rows
from flowbridge.local import Changes, Command, Flush, Session
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Ref, TaskLook, TaskStatus, Verb
from flowbridge.runners import Host, ProcessLauncher, drive
from flowbridge.vault import Vault

ROOT = Ref("toy", "r1")
REFUSALS = {"refuse": EngineRefused("toy says no"), "missing": NotFound("not here"), "wrong": InvalidInput("bad")}


class Toy(Session):
    """Counts down from `n`, one task at a time; each step is flushed before it is done."""

    def __init__(self, rows: Mapping[str, str], flush: Flush, entered: Callable[[int], object]) -> None:
        self._kept: dict[str, Any] = json.loads(rows.get("toy", "null")) or {"state": "requested", "todo": 0, "log": []}
        self._flush, self._entered, self._dirty = flush, entered, False

    def apply(self, command: Command) -> None:
        if command.name in REFUSALS:
            raise REFUSALS[command.name]
        if command.name == "bug":
            self._kept["log"] = None
            raise ZeroDivisionError("a bug")
        if command.name == "start":
            self._kept |= {"state": "running", "todo": command.args["input"]["n"]}
        if command.name in ("pause", "cancel"):
            self._kept["state"] = "paused" if command.name == "pause" else "canceled"
        self._kept["log"].append(command.name)
        self._dirty = True

    def look(self) -> tuple[ExecutionLook, ...]:
        busy = self._kept["state"] == "running" and self._kept["todo"] > 0
        task = TaskLook("t", "t", TaskStatus.RUNNING if busy else TaskStatus.SUCCEEDED, active=busy)
        return (ExecutionLook(ROOT, EngineState(self._kept["state"]), tasks=(task,)),)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        return ExecutionRead(output=self._kept["log"])

    def changes(self) -> Changes:
        dirty, self._dirty = self._dirty, False
        return {"toy": json.dumps(self._kept)} if dirty else {}

    def advance(self, *, until: Callable[[], bool]) -> None:
        while self._kept["state"] == "running" and not until():
            self._entered(self._kept["todo"])
            self._kept["todo"] -= 1
            self._kept["state"] = "running" if self._kept["todo"] else "succeeded"
            self._dirty = True
            self._flush(self.changes())

    def wait(self, seconds: float) -> None:
        """Nothing runs beside the loop."""

    @property
    def settled(self) -> bool:
        return self._kept["state"] in ("paused", "canceled", "succeeded")

    def close(self) -> None:
        """Nothing to give back."""


class ToyEngine(LocalBackend):
    """A local engine over `Toy`. `entered` is called with what is left, before each step."""

    type = "toy"

    def __init__(self, entered: Callable[[int], object] = lambda left: None) -> None:
        super().__init__("toy", {})
        self._entered = entered

    def open_session(self, rows: Mapping[str, str], flush: Flush) -> Session:
        return Toy(rows, flush, self._entered)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(verbs=frozenset(Verb))

    def validate(self, definition: Definition) -> Deployed:
        return Deployed(("toy",))

    def deploy(self, definition: Definition) -> Deployed:
        return Deployed(("toy",))

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        return ()

    def check(self) -> Health:
        return Health("1")


class Bench:
    """A host over a ledger of its own; launched runs are kept for the test to drive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path, durable=False)
        self.rows, self.leases = Rows(self.database), Leases(self.database)
        self.launched: list[Lease] = []
        self.host = Host(
            self.database,
            lambda backend, root, lease: self.launched.append(lease),
            Vault(self.database.path.with_name("vault.key")),
        )
        self.engine = ToyEngine()
        self.engine.attach(self.host)

    def start(self, n: int) -> None:
        self.engine.start(StartRequest("r1", "toy", {"n": n}))

    def state(self) -> EngineState:
        return self.engine.observe(["r1"])["r1"][0].state

    def log(self) -> list[str]:
        found: list[str] = self.engine.read("r1").output
        return found

    def driver(self, entered: Callable[[int], object] = lambda left: None) -> threading.Thread:
        """A thread that drives what was launched, with a connection of its own, as a runner would."""
        lease = self.launched.pop()

        def work() -> None:
            database = Database(self.path, durable=False)
            drive(database, ToyEngine(entered), ROOT, lease)
            database.close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "ledger.db")
    yield made
    made.database.close()


@pytest.fixture
def begun() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that lives."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


def test_a_runner_that_was_begun_keeps_its_run_where_ctrl_c_came_before_that_was_written_down(bench: Bench) -> None:
    def launched(backend: LocalBackend, root: Ref, lease: Lease) -> None:
        bench.launched.append(lease)
        raise KeyboardInterrupt

    bench.host._launch = launched
    with pytest.raises(KeyboardInterrupt):
        bench.start(3)
    thread = bench.driver()
    thread.join(20)
    assert bench.state() is EngineState.SUCCEEDED


def test_a_run_whose_runner_was_not_begun_because_of_ctrl_c_is_taken_up_although_this_process_lives_on(
    bench: Bench,
) -> None:
    def interrupted(backend: LocalBackend, root: Ref, lease: Lease) -> None:
        raise KeyboardInterrupt

    launch, bench.host._launch = bench.host._launch, interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.start(3)
    bench.host._launch = launch
    assert bench.state() is EngineState.RUNNING
    bench.driver().join(20)
    assert bench.state() is EngineState.SUCCEEDED
    assert bench.log() == ["start"]


def test_a_runner_that_has_its_run_keeps_it_where_ctrl_c_comes_to_whoever_began_it(
    bench: Bench, begun: subprocess.Popen[bytes]
) -> None:
    def launched(backend: LocalBackend, root: Ref, lease: Lease) -> None:
        bench.leases.hand_over(lease, begun.pid, "the runner")
        raise KeyboardInterrupt

    bench.host._launch = launched
    with pytest.raises(KeyboardInterrupt):
        bench.start(3)
    assert bench.leases.holder("run:toy:r1") == "the runner"


def test_a_runner_that_hangs_is_waited_for_no_longer_than_whoever_asks_waits(bench: Bench) -> None:
    bench.start(3)  # and nobody drives it
    begin = time.monotonic()
    with within(0.1), pytest.raises(Unavailable, match="did not answer"):
        bench.engine.pause("r1")
    assert time.monotonic() - begin < 10


def test_a_run_with_work_left_is_handed_to_a_runner_with_its_lease(bench: Bench) -> None:
    bench.start(3)
    (lease,) = bench.launched
    assert bench.leases.ours(lease)
    assert bench.state() is EngineState.RUNNING
    thread = bench.driver()
    thread.join(20)
    assert bench.state() is EngineState.SUCCEEDED
    assert bench.leases.holder(lease.name) is None


def test_a_command_to_a_settled_run_is_carried_out_here_and_starts_no_runner(bench: Bench) -> None:
    bench.start(1)
    bench.driver().join(20)
    bench.engine.pause("r1")
    assert bench.launched == []
    assert bench.log() == ["start", "pause"]
    assert bench.leases.holder("run:toy:r1") is None


def test_a_command_reaches_the_runner_at_the_next_task_boundary_and_no_further_task_begins(bench: Bench) -> None:
    bench.start(5)
    reached, go = threading.Event(), threading.Event()
    begun: list[int] = []

    def entered(left: int) -> None:
        begun.append(left)
        reached.set()
        assert go.wait(20)

    thread = bench.driver(entered)
    assert reached.wait(20)
    timer = threading.Timer(0.05, go.set)
    timer.start()
    bench.engine.pause("r1")
    thread.join(20)
    timer.join()
    assert begun == [5]
    assert bench.state() is EngineState.PAUSED


def test_a_cancel_that_the_runner_carried_out_looks_at_no_row_of_the_run_here(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(5)
    sent, send = threading.Event(), Rows.send

    def sending(self: Rows, run: str, command: Command, at: float) -> None:
        send(self, run, command, at)
        sent.set()

    def no_session(*_: object) -> Session:
        raise AssertionError("to read a large run is what costs most")

    monkeypatch.setattr(Rows, "send", sending)
    monkeypatch.setattr(bench.engine, "open_session", no_session)
    thread = bench.driver(lambda _: sent.wait(20))
    bench.engine.cancel("r1")
    monkeypatch.undo()
    thread.join(20)
    assert bench.log()[-1] == "cancel"


def test_a_cancel_that_the_runner_carried_out_just_before_it_left_looks_at_no_row_either(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(5)
    sent, take = threading.Event(), Leases.take
    thread = bench.driver(lambda _: sent.wait(20))

    def no_session(*_: object) -> Session:
        raise AssertionError("to read a large run is what costs most")

    def taking(self: Leases, name: str, holder: str) -> Lease | None:
        sent.set()
        thread.join(20)  # the runner carries it out, and is gone, between a look for the outcome and this
        return take(self, name, holder)

    monkeypatch.setattr(Leases, "take", taking)
    monkeypatch.setattr(bench.engine, "open_session", no_session)
    bench.engine.cancel("r1")
    monkeypatch.undo()
    assert bench.log()[-1] == "cancel"
    assert not bench.host.driven(ROOT)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_session_refuses_is_raised_here_and_changes_nothing(bench: Bench, name: str) -> None:
    bench.start(1)
    bench.driver().join(20)
    before = bench.host.rows(ROOT)
    with pytest.raises(type(REFUSALS[name]), match=REFUSALS[name].message):
        bench.host.submit(bench.engine, ROOT, Command("c1", name, "r1"))
    assert bench.host.rows(ROOT) == before
    assert bench.rows.pending(str(ROOT)) == []


def test_the_same_command_twice_is_carried_out_once(bench: Bench) -> None:
    for _ in range(2):
        bench.start(1)
    assert len(bench.launched) == 1
    bench.driver().join(20)
    bench.start(1)
    assert bench.log() == ["start"]


def test_a_bug_in_an_engine_ends_one_command_and_not_the_run(bench: Bench) -> None:
    bench.start(1)
    bench.driver().join(20)
    before = bench.host.rows(ROOT)
    with pytest.raises(ZeroDivisionError):
        bench.host.submit(bench.engine, ROOT, Command("c1", "bug", "r1"))
    assert bench.host.rows(ROOT) == before
    with pytest.raises(EngineRefused, match="bug failed in the engine: ZeroDivisionError: a bug"):
        bench.host.submit(bench.engine, ROOT, Command("c1", "bug", "r1"))
    assert bench.state() is EngineState.SUCCEEDED
    bench.engine.cancel("r1")


@pytest.mark.parametrize("text", ['{"name": "pau', "[]", '{"name": 1, "execution": "r1", "args": {}}', "null"])
def test_a_command_that_is_damaged_is_refused_to_whoever_waits_and_its_run_goes_on(bench: Bench, text: str) -> None:
    bench.start(1)
    bench.driver().join(20)
    bench.rows.send(str(ROOT), Command("c1", "pause", "r1"), time.time())
    bench.rows._db.run("UPDATE inbox SET doc = ? WHERE id = 'c1'", (text,))
    with pytest.raises(EngineRefused, match=r"row c1 of the table inbox in the ledger is damaged .* was not done"):
        bench.host.submit(bench.engine, ROOT, Command("c1", "pause", "r1"))
    bench.engine.cancel("r1")
    assert bench.log() == ["start", "cancel"]
    assert bench.rows._db.one("SELECT doc FROM inbox WHERE id = 'c1'") == (text,)


def test_a_runner_that_cannot_be_started_leaves_the_run_free(bench: Bench) -> None:
    def broken(backend: LocalBackend, root: Ref, lease: Lease) -> None:
        raise OSError("no more processes")

    bench.engine.attach(Host(bench.database, broken, bench.host.vault))
    with pytest.raises(OSError, match="no more processes"):
        bench.start(2)
    assert bench.leases.holder("run:toy:r1") is None
    bench.engine.attach(bench.host)
    assert bench.state() is EngineState.ABANDONED
    bench.engine.recover("r1", "failed")
    bench.driver().join(20)
    assert bench.state() is EngineState.SUCCEEDED


def test_S6_a_run_that_cannot_be_opened_now_is_left_free_and_the_next_look_begins_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(rows: Mapping[str, str], flush: Flush) -> Session:
        raise LedgerError("in use by another process")

    with monkeypatch.context() as patch:
        patch.setattr(bench.engine, "open_session", unreadable)
        with pytest.raises(LedgerError):
            bench.start(2)
        assert bench.leases.holder("run:toy:r1") is None
    assert bench.state() is EngineState.RUNNING
    bench.driver().join(20)
    assert bench.state() is EngineState.SUCCEEDED
    assert bench.log() == ["start"]


def test_a_runner_that_does_not_answer_is_told_and_the_command_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.05)
    bench.start(1)
    with pytest.raises(Unavailable, match="the runner of toy:r1 did not answer") as caught:
        bench.engine.pause("r1")
    assert caught.value.unsent
    assert bench.rows.pending(str(ROOT)) == []
    bench.driver().join(20)
    assert bench.log() == ["start"]


def test_S6_a_run_whose_process_died_is_abandoned_and_goes_on_from_its_last_boundary(bench: Bench) -> None:
    bench.start(4)
    lease = bench.launched.pop()

    def killed() -> None:
        database = Database(bench.path, durable=False)

        def entered(left: int) -> None:
            if left == 2:
                raise SystemExit

        drive(database, ToyEngine(entered), ROOT, lease)

    assert in_child(killed) == 1
    assert bench.state() is EngineState.ABANDONED
    begun: list[int] = []
    bench.engine.recover("r1", "failed")
    bench.driver(begun.append).join(20)
    assert begun == [2, 1]
    assert bench.state() is EngineState.SUCCEEDED


def test_S6_a_runner_that_lost_its_lease_ends_and_begins_nothing_more(bench: Bench) -> None:
    bench.start(9)
    begun: list[int] = []

    def entered(left: int) -> None:
        begun.append(left)
        if left == 8:
            other = Database(bench.path, durable=False)
            other.run("DELETE FROM leases")
            assert Leases(other).take("run:toy:r1", "somebody else") is not None
            other.close()

    thread = bench.driver(entered)
    thread.join(20)
    assert not thread.is_alive()
    assert begun == [9, 8]
    assert bench.leases.holder("run:toy:r1") == "somebody else"


def test_a_command_that_comes_while_a_runner_ends_is_not_lost(bench: Bench) -> None:
    bench.start(1)

    def entered(left: int) -> None:
        other = Database(bench.path, durable=False)
        Rows(other).send(str(ROOT), Command("late", "cancel", "r1"), 9.0)
        other.close()

    bench.driver(entered).join(20)
    assert bench.rows.outcome("late") == "done"
    assert bench.log() == ["start", "cancel"]


def test_a_local_engine_without_a_bridge_says_so() -> None:
    with pytest.raises(EngineRefused, match="used through a bridge"):
        ToyEngine().pause("r1")


def test_a_runner_process_leads_to_the_same_ledger_and_holds_the_lease(bench: Bench, tmp_path: Path) -> None:
    lease = bench.leases.take("run:toy:r1", "the test")
    assert lease is not None
    log = tmp_path / "runners.log"
    environment = {"FLOWBRIDGE_LEDGER": str(bench.path), "FLOWBRIDGE_CONFIG": "/nowhere/config.yaml"}
    ProcessLauncher(bench.leases, Detached(environment, log))(bench.engine, ROOT, lease)
    holder = bench.leases.holder("run:toy:r1")
    assert holder is None or "the runner of toy:r1 (process" in holder
    for _ in range(2000):
        if bench.leases.holder("run:toy:r1") is None:
            break
        threading.Event().wait(0.01)
    assert bench.leases.holder("run:toy:r1") is None
    assert "/nowhere/config.yaml" in log.read_text()
