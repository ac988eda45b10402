"""The detached process that drives a local run: what it does with the lease that it was started with."""

from __future__ import annotations

import json
import math
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.kit import in_child
from flowbridge import deaths, runner
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.detached import Detached
from flowbridge.errors import EngineRefused
from flowbridge.ledger import database
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease, runner_of
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref, Status
from flowbridge.runners import ProcessLauncher

FLOW = Definition("version: '2.0'\nw:\n  tasks:\n    t: {action: std.sleep seconds=0}\n", "w.yaml")


class Waiting:
    """A run that was started, and whose runner was not."""

    def __init__(self, ledger: Path) -> None:
        self.launched: list[tuple[Ref, Lease]] = []
        self.bridge = Bridge(Config(ledger=ledger, actor="me"), launch=self._launch, durable=False)
        self.record = self.bridge.run(FLOW, backend="memory")
        ((self.root, self.lease),) = self.launched

    def _launch(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        del backend
        self.launched.append((root, lease))

    def kill_the_launcher(self) -> None:
        """Leave the lease in the hands of a process that has ended, and had no runner yet to give it to."""
        self.bridge.ledger.database.run("UPDATE leases SET pid = ? WHERE name = ?", (_ended(), self.lease.name))

    def kill_the_runner(self) -> None:
        """Leave the lease in the hands of a runner that was killed."""
        pid = _ended()
        self.bridge.ledger.leases.hand_over(self.lease, pid, runner_of(self.root, pid))

    def drive(self) -> int:
        """What the detached process does."""
        return runner.main([self.root.backend, self.root.id, self.lease.token])


def _ended() -> int:
    """The id of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        return gone.pid


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    monkeypatch.setenv("FLOWBRIDGE_LEDGER", str(tmp_path / "ledger.db"))
    (tmp_path / "config.yaml").write_text("{}")
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    made = Waiting(tmp_path / "ledger.db")
    yield made
    made.bridge.close()


def test_S6_a_runner_goes_on_although_whoever_started_it_died_before_naming_it(waiting: Waiting) -> None:
    waiting.kill_the_launcher()
    assert waiting.drive() == 0
    assert waiting.bridge.get(waiting.record.id).record.status is Status.SUCCEEDED


def test_O3_a_run_whose_launcher_was_killed_before_a_runner_had_it_is_taken_up_by_the_next_look(
    waiting: Waiting,
) -> None:
    waiting.kill_the_launcher()
    assert waiting.bridge.get(waiting.record.id).record.status is Status.REQUESTED
    ((root, lease),) = waiting.launched[1:]
    assert root == waiting.root
    assert waiting.drive() == 0, "the runner that the killed one may have started has lost the run"
    assert waiting.bridge.ledger.leases.ours(lease)
    waiting.lease = lease
    assert waiting.drive() == 0
    assert waiting.bridge.get(waiting.record.id).record.status is Status.SUCCEEDED


def test_S6_a_run_whose_runner_was_killed_is_left_to_recover(waiting: Waiting) -> None:
    waiting.kill_the_runner()
    assert waiting.bridge.get(waiting.record.id).record.status is Status.ABANDONED
    assert len(waiting.launched) == 1


def test_S6_a_runner_that_comes_too_late_leaves_the_run_to_who_has_it(waiting: Waiting) -> None:
    waiting.kill_the_launcher()
    theirs = waiting.bridge.ledger.leases.take(waiting.lease.name, "somebody else")
    assert theirs is not None
    before = waiting.bridge.ledger.database.all("SELECT * FROM rows ORDER BY key")
    assert waiting.drive() == 0
    assert waiting.bridge.ledger.database.all("SELECT * FROM rows ORDER BY key") == before
    assert waiting.bridge.ledger.leases.ours(theirs)


def test_the_log_of_runners_is_for_its_owner_only(waiting: Waiting, tmp_path: Path) -> None:
    log = tmp_path / "runners.log"
    backend = waiting.bridge.instances.get("memory")
    assert isinstance(backend, LocalBackend)
    ProcessLauncher(waiting.bridge.ledger.leases, Detached({}, log))(backend, waiting.root, waiting.lease)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    waiting.bridge.wait(waiting.record.id, timeout=60)


def test_S6_a_runner_does_not_die_of_a_ledger_that_somebody_keeps_locked(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []

    def drive(opened: Database, *_: object) -> None:
        patience.append(opened._patience)

    monkeypatch.setattr(runner, "drive", drive)
    assert waiting.drive() == 0
    assert patience == [math.inf]


def test_O2_what_cannot_be_delivered_because_the_ledger_is_locked_keeps_no_look_waiting(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_HURRIED_SECONDS", 0.0)
    waiting.kill_the_launcher()
    other = Database(waiting.bridge.ledger.path)
    with other.transaction():
        look = waiting.bridge.get(waiting.record.id)
    other.close()
    assert "is not carried out yet: ledger " in look.silent["memory"]
    assert look.record.id == waiting.record.id


def _dying(waiting: Waiting, error: Exception) -> Callable[[], object]:
    """A runner in which something is wrong, as the process that it is."""

    def die() -> object:
        def drive(*_: object) -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "drive", drive)
            return waiting.drive()

    return die


class _TextlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no\nluck"), "ValueError: no"),
        (EngineRefused("The definition is not there."), "The definition is not there."),
        (_TextlessError(), "_TextlessError"),
    ],
)
def test_S6_a_runner_that_dies_of_an_error_says_so_where_its_run_is_abandoned(
    waiting: Waiting, error: Exception, told: str
) -> None:
    in_child(_dying(waiting, error))
    record = waiting.bridge.get(waiting.record.id).record
    assert record.status is Status.ABANDONED
    assert record.error == f"its runner died: {told}; runners.log beside the ledger has more"
    (entry,) = [entry for entry in waiting.bridge.history(record.id) if entry.kind == deaths.KIND]
    assert (entry.execution, entry.doc["runner"]) == (record.id, f"died: {told}")


def test_S6_what_a_runner_died_of_is_not_told_of_the_next_one(waiting: Waiting) -> None:
    in_child(_dying(waiting, ValueError("no luck")))
    waiting.bridge.recover(waiting.record.id)
    ((_, waiting.lease),) = waiting.launched[1:]
    waiting.kill_the_runner()
    record = waiting.bridge.get(waiting.record.id).record
    assert (record.status, record.error) == (Status.ABANDONED, "")
    assert waiting.drive() == 0
    assert waiting.bridge.get(waiting.record.id).record.status is Status.SUCCEEDED


def test_S6_what_a_runner_died_of_tells_no_secret_of_its_run(waiting: Waiting) -> None:
    sealed = waiting.bridge.ledger.vault.seal({"password": "hunter2"})
    waiting.bridge.ledger.database.run(
        "UPDATE rows SET value = ? WHERE key = 'given/0'", (json.dumps({"a": [sealed]}),)
    )
    in_child(_dying(waiting, ValueError("cannot log in with hunter2")))
    shown = waiting.bridge.history(waiting.record.id)[-1]
    assert shown.doc["runner"] == "died: ValueError: cannot log in with ********"
