"""A runner that stands still while another process takes its run: the command that comes next runs once all the same.

The runner is a process of its own that stops itself at one place: with the ledger looked at for the last time, right
before it hands the second command over, which then begins by itself; or right behind that. Its lease is then taken
away, as that of a runner on another host that has run out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actionchain.chainkit import chain_of
from actionchain.runkit import Shop
from crash.test_chain_survives import bridge, note
from flowbridge.backend import Definition
from flowbridge.model import Record, Status, TaskStatus
from flowbridge_actionchain.jobs.link import Keeper
from flowbridge_actionchain.session import ChainSession


class Runner:
    """A forked process that drives a chain of three commands and stops itself, always at the same place."""

    def __init__(self, folder: Path, arm: Callable[[], None]) -> None:
        self.file = folder / "ran.txt"
        self.pid = os.fork()
        if self.pid == 0:
            try:
                arm()
                with bridge(folder / "ledger.db") as one:
                    text = chain_of(*(note(number, self.file) for number in range(3)))
                    one.run(Definition(text, "chain"), backend="actionchain")
            finally:
                os._exit(0)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self.pid = 0
        assert self.pid

    def goes_on(self) -> None:
        """It is continued, and has ended."""
        os.kill(self.pid, signal.SIGCONT)
        self._end()

    def dies(self) -> None:
        """It is killed where it stands."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def _end(self) -> None:
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0

    def close(self) -> None:
        if self.pid:
            self.dies()

    @property
    def ran(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []


def before_the_second_is_asked_for() -> None:
    """Stop with everything looked at, right before the second command is asked for."""
    ask, asked = Keeper.ask, []

    def stopping(keeper: Keeper, packed: bytes) -> None:
        asked.append(packed)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        ask(keeper, packed)

    Keeper.ask = stopping  # type: ignore[assignment,method-assign]


def before_the_first_end_is_heard() -> None:
    """Stop with the second command handed over; the first one ends meanwhile."""
    wait = ChainSession.wait

    def stopping(session: ChainSession, seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        wait(session, seconds)

    ChainSession.wait = stopping  # type: ignore[assignment,method-assign]


@pytest.fixture
def stopped(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(tmp_path, getattr(request, "param", before_the_second_is_asked_for))
    yield runner
    runner.close()


@pytest.fixture
def shop(stopped: Runner, tmp_path: Path) -> Iterator[Shop]:
    """The other process."""
    one = Shop(tmp_path)
    yield one
    stopped.close()
    one.close()


@pytest.fixture
def taken(shop: Shop) -> Record:
    """The run, with its lease free for whoever wants it."""
    (operation,) = shop.bridge.history()
    record = shop.bridge.find(operation.execution)
    assert shop.bridge.ledger.database.run("DELETE FROM leases WHERE name = ?", (f"run:{record.ref}",)) == 1
    return record


def statuses(shop: Shop, record: Record) -> dict[str, TaskStatus]:
    (node,) = shop.bridge.get(record.id).snapshot.nodes
    return {task.name: task.status for task in node.tasks}


def paused_behind_and_ends_after_a_resume(ran: list[str], stopped: Runner, taken: Record, shop: Shop) -> None:
    shop.reaches(taken.id, Status.PAUSED)
    assert stopped.ran == ran
    shop.bridge.resume(taken.id)
    shop.reaches(taken.id, Status.SUCCEEDED)
    assert stopped.ran == ["t0", "t1", "t2"]


def test_S6_a_command_that_a_stopped_runner_hands_over_late_is_not_begun_a_second_time(
    stopped: Runner, taken: Record, shop: Shop
) -> None:
    shop.backend.recover(taken.ref.id, "failed")
    shop.until(lambda: "t1" in statuses(shop, taken), "the second task, which the other process goes on with")
    stopped.goes_on()
    shop.reaches(taken.id, Status.SUCCEEDED)
    assert stopped.ran == ["t0", "t1", "t2"]


def test_P5_a_pause_withdraws_the_command_that_a_stopped_runner_hands_over_late(
    stopped: Runner, taken: Record, shop: Shop
) -> None:
    shop.backend.pause(taken.ref.id)
    stopped.goes_on()
    paused_behind_and_ends_after_a_resume(["t0"], stopped, taken, shop)


def test_P5_under_a_pause_a_command_that_was_never_asked_for_waits_for_the_resume(
    stopped: Runner, taken: Record, shop: Shop
) -> None:
    shop.backend.pause(taken.ref.id)
    stopped.dies()
    paused_behind_and_ends_after_a_resume(["t0"], stopped, taken, shop)


@pytest.mark.parametrize("stopped", [before_the_first_end_is_heard], indirect=True)
def test_O5_a_runner_that_lost_its_run_hands_nothing_more_over_than_it_had(
    stopped: Runner, taken: Record, shop: Shop
) -> None:
    shop.until(lambda: "t1" in stopped.ran, "the effect of the second command")
    shop.backend.pause(taken.ref.id)
    stopped.goes_on()
    paused_behind_and_ends_after_a_resume(["t0", "t1"], stopped, taken, shop)
