"""Processes that outlive the one that starts them: while that one lives, they leave nothing behind in the system."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.kit import Desk, in_child
from flowbridge import detached
from flowbridge.agent import Agent
from flowbridge.detached import Detached


@pytest.fixture
def ended(tmp_path: Path) -> int:
    """One that has ended: its own words would be in the log."""
    pid = Detached({}, tmp_path / "log").start("this", ["--version"])
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


@pytest.fixture
def living(tmp_path: Path) -> Iterator[int]:
    """One that goes on: it serves until it is told to end."""
    pid = Detached({}, tmp_path / "log").start("http.server", ["0", "--bind", "127.0.0.1"])
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    detached.reap()


def is_there(pid: int) -> bool:
    """Whether the system still knows a process, be it a dead one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_has_ended_leaves_nothing_behind_once_another_is_begun(ended: int, living: int) -> None:
    assert not is_there(ended)
    assert is_there(living)


def test_an_agent_leaves_nothing_behind_of_what_has_ended(ended: int, desk: Desk) -> None:
    stop = threading.Event()
    assert is_there(ended)
    Agent(desk.open, interval=0.01).run(stop, lambda _: stop.set())
    assert not is_there(ended)


def test_a_process_that_was_forked_off_leaves_alone_what_the_other_one_has_begun(living: int) -> None:
    assert in_child(detached.reap) == 0
    assert is_there(living)
    assert living in detached._begun
