"""Leases: one holder at a time, given up by whoever lives no longer (O5, S6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from core.kit import Desk, one
from flowbridge.bridge import Bridge
from flowbridge.errors import LedgerError, Timeout
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import TTL_SECONDS, Lease, Leases

HOLD = """
import sys
from pathlib import Path
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Leases
assert Leases(Database(Path(sys.argv[1]))).take("tree:t", "somebody else") is not None
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "ledger.db", durable=False)
    yield database
    database.close()


@pytest.fixture
def leases(ledger: Database) -> Leases:
    return Leases(ledger)


def taken(leases: Leases, name: str = "tree:t", holder: str = "me") -> Lease:
    lease = leases.take(name, holder)
    assert lease is not None
    return lease


def alter(ledger: Database, **columns: object) -> None:
    """Make the lease look as another host, process or time would have written it."""
    for column, value in columns.items():
        ledger.run(f"UPDATE leases SET {column} = ?", (value,))


def test_O5_a_lease_is_taken_by_one_only_and_free_again_when_given_back(leases: Leases) -> None:
    lease = taken(leases)
    assert leases.take("tree:t", "you") is None
    assert leases.holder("tree:t") == "me"
    assert taken(leases, "tree:u", "you").token != lease.token
    leases.give(lease)
    assert leases.holder("tree:t") is None
    assert taken(leases, holder="you").token != lease.token


def test_a_lease_that_was_lost_can_be_neither_renewed_nor_given_back(leases: Leases, ledger: Database) -> None:
    mine = taken(leases)
    assert leases.ours(mine)
    ledger.run("DELETE FROM leases")
    theirs = taken(leases, holder="you")
    assert not leases.ours(mine)
    assert not leases.renew(mine)
    assert not leases.hand_over(mine, os.getpid(), "me again")
    leases.give(mine)
    assert leases.holder("tree:t") == "you"
    assert leases.ours(theirs)
    assert leases.renew(theirs)


def test_a_lease_of_another_host_ends_when_its_time_runs_out(leases: Leases, ledger: Database) -> None:
    lease = taken(leases)
    alter(ledger, host="elsewhere", pid=1)
    assert leases.take("tree:t", "you") is None
    alter(ledger, expires=1.0)
    assert leases.holder("tree:t") is None
    assert leases.renew(lease)
    assert leases.holder("tree:t") == "me"
    alter(ledger, expires=1.0)
    assert leases.ours(taken(leases, holder="you"))


def test_a_living_process_of_this_host_keeps_its_lease_however_slow_it_is(leases: Leases, ledger: Database) -> None:
    taken(leases)
    alter(ledger, expires=1.0)
    assert leases.take("tree:t", "you") is None


def test_renewing_gives_the_whole_time_again(leases: Leases, ledger: Database) -> None:
    lease = taken(leases)
    first = ledger.one("SELECT expires FROM leases")[0]
    alter(ledger, expires=first - TTL_SECONDS)
    assert leases.renew(lease)
    assert ledger.one("SELECT expires FROM leases")[0] >= first


@pytest.fixture
def holder(ledger: Database) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ledger.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_S6_the_lease_of_a_killed_process_is_free_at_once_reaped_or_not(
    leases: Leases, holder: subprocess.Popen[str]
) -> None:
    assert leases.take("tree:t", "me") is None
    assert leases.holder("tree:t") == "somebody else"
    holder.send_signal(signal.SIGSTOP)
    assert leases.holder("tree:t") == "somebody else"
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
    assert leases.holder("tree:t") is None
    holder.wait()
    assert leases.ours(taken(leases))


def test_S6_a_process_that_was_given_the_dead_ones_number_holds_nothing(leases: Leases, ledger: Database) -> None:
    taken(leases)
    alter(ledger, started="1")
    assert leases.holder("tree:t") is None
    assert leases.ours(taken(leases, holder="you"))


def test_a_lease_is_handed_over_to_a_process_and_ends_with_it(
    leases: Leases, ledger: Database, holder: subprocess.Popen[str]
) -> None:
    lease = taken(leases, "run:r", "the command")
    assert leases.hand_over(lease, holder.pid, "the runner")
    assert leases.holder("run:r") == "the runner"
    assert leases.ours(lease)
    holder.kill()
    holder.wait()
    assert leases.holder("run:r") is None


def test_O5_waiting_ends_with_the_holders_name(leases: Leases, holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(Timeout, match=r"the tree t is in use by somebody else; nothing was done.*longer --timeout"),
        leases.held("tree:t", "me", what="the tree t", timeout=0.1),
    ):
        raise AssertionError("the lease is not ours")


def test_O5_waiting_is_over_when_the_holder_is(ledger: Database, leases: Leases) -> None:
    first = taken(leases)
    mine = Database(ledger.path)
    timer = threading.Timer(0.1, lambda: leases.give(first))
    timer.start()
    with Leases(mine).held("tree:t", "me", what="it", timeout=20):
        assert leases.holder("tree:t") == "me"
    assert leases.holder("tree:t") is None
    timer.join()
    mine.close()


def test_what_fails_under_a_lease_gives_it_back(leases: Leases) -> None:
    with pytest.raises(KeyError), leases.held("tree:t", "me", what="it", timeout=0):
        raise KeyError
    assert leases.holder("tree:t") is None


@pytest.fixture
def full(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A while in which no lease can be given back."""
    run = ledger.run

    def refused(sql: str, values: Iterable[object] = ()) -> int:
        if sql.startswith("DELETE FROM leases"):
            raise LedgerError("the disk is full")
        return run(sql, values)

    @contextmanager
    def refusing() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "run", refused)
            yield

    return refusing


@pytest.fixture
def left(leases: Leases, full: Callable[[], AbstractContextManager[None]]) -> Lease:
    """A lease that could not be given back."""
    lease = taken(leases)
    with full(), pytest.raises(LedgerError):
        leases.give(lease)
    return lease


@pytest.mark.parametrize("asks", ["take", "holder"])
def test_O5_a_lease_that_could_not_be_given_back_is_when_its_process_asks_next(
    leases: Leases, full: Callable[[], AbstractContextManager[None]], asks: str
) -> None:
    lease = taken(leases)
    with full():
        with pytest.raises(LedgerError):
            leases.give(lease)
        assert leases.holder("tree:t") == "me"
    if asks == "take":
        assert leases.ours(taken(leases, "tree:another"))
    assert leases.holder("tree:t") is None


def test_O5_a_lease_that_was_left_is_not_forgotten_in_a_transaction_that_fails(
    leases: Leases, ledger: Database, left: Lease
) -> None:

    def fails() -> None:
        with ledger.transaction():
            leases.holder("tree:t")
            raise LedgerError("the disk is full")

    with pytest.raises(LedgerError):
        fails()
    assert leases.holder("tree:t") is None


def test_O5_a_lease_that_was_left_stays_so_where_another_that_is_taken_cannot_be_written(
    ledger: Database, leases: Leases, left: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room again while the other one is taken, and none when that is committed."""
    run = ledger.run

    def room_within(sql: str, values: Iterable[object] = ()) -> int:
        if not ledger.inside or sql.startswith("INSERT"):
            raise LedgerError("the disk is full")
        return run(sql, values)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "run", room_within)
        with pytest.raises(LedgerError):
            leases.take("tree:another", "me")
    assert leases.holder("tree:t") is None


def test_O5_a_lease_that_was_left_is_not_taken_from_who_has_it_by_then(
    ledger: Database, leases: Leases, left: Lease
) -> None:
    ledger.run("DELETE FROM leases")
    other = Leases(ledger)
    theirs = taken(other, holder="you")
    assert leases.holder("tree:t") == "you"
    assert other.ours(theirs)


def test_O5_a_verb_waits_for_its_timeout_only_and_names_who_holds_the_tree(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    with flow.ledger.leases.held(f"tree:{record.tree}", "cancel by alice", what="it", timeout=0):
        before = desk.engine.count()
        with pytest.raises(Timeout, match="cancel by alice") as caught:
            desk.open("bob").pause(record.id, timeout=0.1)
        assert caught.value.exit_code == 9
        assert desk.engine.count() == before
        assert flow.get(record.id).record.status == "running"
    assert flow.pause(record.id).done


def test_O6_a_verb_that_waited_in_vain_stays_in_the_history(flow: Bridge, desk: Desk) -> None:
    record = one(desk)
    held = flow.ledger.leases.held(f"tree:{record.tree}", "cancel by alice", what="it", timeout=0)
    with held, pytest.raises(Timeout):
        desk.open("bob").pause(record.id, timeout=0.1, reason="smoke")
    asked, came = flow.history(record.id)[-2:]
    assert (asked.actor, asked.doc["verb"], asked.doc["reason"]) == ("bob", "pause", "smoke")
    assert came.operation == asked.operation
    assert "cancel by alice" in came.doc["outcome"]


def test_O5_verbs_on_different_trees_do_not_wait_for_each_other(flow: Bridge, desk: Desk) -> None:
    first, second = one(desk), one(desk, id="f0")
    with flow.ledger.leases.held(f"tree:{first.tree}", "somebody", what="it", timeout=0):
        assert flow.pause(second.id, timeout=0.1).done
