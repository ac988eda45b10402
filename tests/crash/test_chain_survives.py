"""A chain of commands, its process killed at every point: each command ran once, and the chain went on (S6)."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import chain_of
from actionchain.runkit import Gate
from crash.points import DIED, around, doomed, in_child
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.errors import Rejected
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.looks import Look
from flowbridge.model import Record, Ref, Status, TaskStatus
from flowbridge.runners import drive
from flowbridge_actionchain.backend import ActionChainBackend
from flowbridge_actionchain.jobs.link import Keeper

TASKS = 3


def note(number: int, file: Path) -> dict[str, Any]:
    task = {"name": f"t{number}", "ref": "core.local", "parameters": {"cmd": f"echo t{number} >> {file}"}}
    return task | ({"on-success": f"t{number + 1}"} if number + 1 < TASKS else {})


class Here:
    """A launcher that drives the run in this process, at once."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        database = Database(self._ledger, durable=False)
        drive(database, backend, root, lease)
        database.close()


def bridge(ledger: Path) -> Bridge:
    backend = ActionChainBackend("actionchain", {})
    return Bridge(Config(ledger, actor="me"), backends=[backend], launch=Here(ledger), durable=False)


def run(ledger: Path, file: Path, point: int) -> None:
    counter = doomed(point)
    Keeper.ask = around(Keeper.ask, counter)  # type: ignore[method-assign]
    text = chain_of(*(note(number, file) for number in range(TASKS)))
    with bridge(ledger) as one:
        one.run(Definition(text, "chain"), backend="actionchain")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["recover", "cancel"])
def test_S6_each_command_ran_once_wherever_the_runner_was_killed(tmp_path: Path, verb: str) -> None:
    """Also between asking for a command and writing down that the one before it is over."""
    point, status, unsure = 0, DIED, 0
    while status == DIED:
        ledger, file = tmp_path / str(point) / "ledger.db", tmp_path / str(point) / "ran.txt"
        ledger.parent.mkdir()
        status = in_child(lambda ledger=ledger, file=file, point=point: run(ledger, file, point))  # type: ignore[misc]
        with bridge(ledger) as one:
            unsure += _check(one, file) if verb == "recover" else _check_cancel(one, file)
        point += 1
    assert status == 0
    assert point > 4 * TASKS
    assert unsure == 0  # its keeper lived, so nothing is ever unsure


def _check(one: Bridge, file: Path) -> bool:
    """Recover, and see what came of it. Whether the end of a command was not known."""
    record = _record(one)
    if record is None:
        assert not file.exists()
        return False
    unknown = bool(one.get(record.id).snapshot.nodes[0].unknown)
    one.recover(record.id)
    end = one.wait(record.id, timeout=60).record.status
    assert _ran(file) == Counter({f"t{number}": 1 for number in range(TASKS)})
    assert end is Status.SUCCEEDED
    assert one.ledger.operations.open_trees() == []
    return unknown


def _check_cancel(one: Bridge, file: Path) -> bool:
    """Cancel: what had begun is recorded with its end, and nothing else ever begins (C2)."""
    record = _record(one)
    if record is None:
        return False
    unknown = bool(one.get(record.id).snapshot.nodes[0].unknown)
    with suppress(Rejected):  # it had ended
        one.cancel(record.id)
    end = one.wait(record.id, timeout=60)
    succeeded = [task.name for node in end.snapshot.nodes for task in node.tasks if task.status is TaskStatus.SUCCEEDED]
    assert _ran(file) == Counter(succeeded)
    assert end.record.status is Status.CANCELED or len(succeeded) == TASKS
    return unknown


def _ran(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()


def _record(one: Bridge) -> Record | None:
    history = one.history()
    return one.find(history[0].execution) if history else None


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    one = Gate(tmp_path / "gate")
    yield one
    one.open()
    one.close()


@pytest.fixture
def killed(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bridge, Record, Path]]:
    """A chain whose real runner process was killed while its first command runs."""
    for name in [name for name in os.environ if name.startswith("FLOWBRIDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "ran.txt"
    first = {
        "name": "t0",
        "ref": "core.local",
        "parameters": {"cmd": f"echo begun >> {file}; {gate.command}"},
        "on-success": "t1",
    }
    chain = chain_of(
        first, {"name": "t1", "ref": "core.local", "parameters": {"cmd": f"echo 't1 {{{{ t0.stdout }}}}' >> {file}"}}
    )
    with Bridge(Config(tmp_path / "ledger.db", actor="me")) as one:
        record = one.run(Definition(chain, "chain.yaml"))
        _until(lambda: file.exists() and file.read_text() == "begun\n")
        os.kill(_runner(one, record), signal.SIGKILL)
        _until(lambda: one.get(record.id).record.status is Status.ABANDONED)
        yield one, record, file


def _until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runner(one: Bridge, record: Record) -> int:
    """The process that drives a run, once it does."""

    def pid() -> int:
        row = one.ledger.database.one("SELECT pid, holder FROM leases WHERE name = ?", (f"run:{record.ref}",))
        return int(row[0]) if row and "the runner of" in row[1] else 0

    _until(pid)
    return pid()


def _unknown(look: Look) -> tuple[str, ...]:
    return look.snapshot.nodes[0].unknown


def test_S6_a_command_that_lives_on_is_found_and_waited_for(killed: tuple[Bridge, Record, Path], gate: Gate) -> None:
    one, record, file = killed
    assert _unknown(one.get(record.id)) == ()
    one.recover(record.id)
    assert one.get(record.id).record.status is Status.RUNNING
    gate.open("word")
    assert one.wait(record.id, timeout=60).record.status is Status.SUCCEEDED
    assert file.read_text() == "begun\nt1 word\n"


def test_S6_a_command_that_ended_while_nobody_looked_keeps_its_outcome(
    killed: tuple[Bridge, Record, Path], gate: Gate
) -> None:
    one, record, file = killed
    gate.open("word")
    one.recover(record.id)
    assert one.wait(record.id, timeout=60).record.status is Status.SUCCEEDED
    assert file.read_text() == "begun\nt1 word\n"


@pytest.mark.parametrize("assume", ["failed", "rerun"])
def test_S6_a_command_whose_keeper_was_killed_too_is_reported_as_unknown(
    killed: tuple[Bridge, Record, Path], gate: Gate, assume: str
) -> None:
    one, record, file = killed
    os.kill(_keeper(one, record), signal.SIGKILL)
    gate.open("word")
    _until(lambda: _unknown(one.get(record.id)) == ("t0",))
    assert one.get(record.id).record.status is Status.ABANDONED
    one.recover(record.id, assume=assume)
    if assume == "rerun":
        _until(lambda: file.read_text() == "begun\nbegun\n")
        gate.open("again")
    end = one.wait(record.id, timeout=60).record.status
    assert (end, file.read_text()) == (
        (Status.ERRORED, "begun\n") if assume == "failed" else (Status.SUCCEEDED, "begun\nbegun\nt1 again\n")
    )


def _keeper(one: Bridge, record: Record) -> int:
    import json

    rows = one.ledger.database.all("SELECT value FROM rows WHERE root = ? AND key LIKE 'task/%'", (str(record.ref),))
    (row,) = [json.loads(value) for (value,) in rows]
    return int(json.loads(row["job"])["pid"])


def test_S6_an_abandoned_chain_can_be_canceled_and_its_command_runs_to_its_end(
    killed: tuple[Bridge, Record, Path], gate: Gate
) -> None:
    one, record, file = killed
    one.cancel(record.id)
    assert one.get(record.id).record.status is Status.CANCELING
    gate.open("word")
    assert one.wait(record.id, timeout=60).record.status is Status.CANCELED
    assert file.read_text() == "begun\n"
    assert one.read(record.id).output["tasks"][0]["result"]["stdout"] == "word"
