"""The ledger's file: who may read it, what is in its way, and that a write is whole or not there."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.kit import Desk, in_child, one
from flowbridge import bridge, deadline
from flowbridge.backend import Definition
from flowbridge.errors import LedgerError
from flowbridge.ledger import database as module
from flowbridge.ledger import schema
from flowbridge.ledger.database import Database
from flowbridge.model import EngineState, Status

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def refused(path: Path) -> str:
    """The one line that a ledger which cannot be used is refused with."""
    with pytest.raises(LedgerError) as caught:
        Database(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value.message


def insert(database: Database, name: str, size: int = 1) -> None:
    database.run("INSERT INTO cursors VALUES (?, 1)", (name * size,))


def small_and_large(database: Database) -> None:
    with database.transaction():
        insert(database, "small")
        insert(database, "large", 1_000_000)


def names(path: Path) -> list[str]:
    database = Database(path)
    try:
        return [row[0] for row in database.all("SELECT name FROM cursors ORDER BY name")]
    finally:
        database.close()


def test_the_ledger_and_what_stands_beside_it_are_for_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        database = Database(tmp_path / "deep" / "er" / "ledger.db")
        insert(database, "x")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "deep" / "er").iterdir()}
        database.close()
    finally:
        os.umask(old)
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "deep" / "er").stat().st_mode) == 0o700


def test_readers_and_a_writer_do_not_wait_for_each_other(place: Path) -> None:
    writer, reader = Database(place), Database(place)
    assert writer.one("PRAGMA journal_mode")[0] == "wal"
    with writer.transaction():
        insert(writer, "x")
        assert reader.all("SELECT * FROM cursors") == []
    assert len(reader.all("SELECT * FROM cursors")) == 1
    writer.close()
    reader.close()


def test_an_old_ledger_is_brought_up_step_by_step(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(place).close()
    later = (*schema.MIGRATIONS, "CREATE TABLE a (x);\nINSERT INTO a VALUES (1);", "CREATE TABLE b AS SELECT x FROM a;")
    monkeypatch.setattr(module, "MIGRATIONS", later)
    monkeypatch.setattr(module, "VERSION", len(later))
    for _ in range(2):
        database = Database(place)
        assert database.all("SELECT x FROM b") == [(1,)]
        assert database.one("PRAGMA user_version")[0] == len(later)
        database.close()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(place).close()
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE a (x);\nCREATE TABLE events (x);"))
        patch.setattr(module, "VERSION", schema.VERSION + 1)
        assert "events" in refused(place)
    database = Database(place)
    assert "a" not in [row[0] for row in database.all(TABLES)]
    database.close()


def test_a_newer_ledger_is_refused_and_both_versions_are_named(place: Path) -> None:
    database = Database(place)
    database.run(f"PRAGMA user_version={schema.VERSION + 7}")
    database.close()
    before = place.read_bytes()
    message = refused(place)
    assert f"version {schema.VERSION + 7}" in message
    assert f"knows {schema.VERSION}." in message
    assert place.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all " * 99, b"SQLite format 3\0" + b"\xff" * 4096, b"notes\n"])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    refused(place)
    assert place.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(place: Path) -> None:
    foreign = sqlite3.connect(place)
    foreign.execute("CREATE TABLE bookmarks (url)")
    foreign.close()
    before = place.read_bytes()
    assert "not a ledger" in refused(place)
    assert place.read_bytes() == before


@pytest.mark.parametrize("where", ["", "file/ledger.db"])
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    assert "set FLOWBRIDGE_LEDGER to another file" in refused(tmp_path / where)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: root itself is stopped by no mode."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _as_nobody(work: Callable[[], object]) -> int:
    def fallen() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return in_child(fallen)


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o444, 0o555), (0o666, 0o555)])
def test_a_ledger_that_may_only_be_read_is_read_and_every_write_is_refused(
    open_folder: Path, file: int, folder: int
) -> None:
    path = open_folder / "ledger.db"
    database = Database(path)
    insert(database, "before")
    database.close()
    path.chmod(file)
    open_folder.chmod(folder)

    def look() -> None:
        seen = Database(path)
        assert [row[0] for row in seen.all("SELECT name FROM cursors")] == ["before"]
        with pytest.raises(LedgerError, match=r"written|readonly"):
            insert(seen, "after")
        with pytest.raises(LedgerError, match=r"written|readonly"):
            small_and_large(seen)
        seen.close()

    assert _as_nobody(look) == 0
    assert names(path) == ["before"]


def test_a_ledger_that_may_not_be_read_is_refused(open_folder: Path) -> None:
    path = open_folder / "ledger.db"
    Database(path).close()
    path.chmod(0o000)
    assert _as_nobody(lambda: refused(path)) == 0


def test_a_transaction_is_whole_or_not_there(place: Path) -> None:
    database = Database(place)

    def broken() -> None:
        with database.transaction():
            insert(database, "a")
            with database.transaction():
                insert(database, "b")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    with database.transaction():
        insert(database, "c")
    database.close()
    assert names(place) == ["c"]


def test_a_full_disk_is_told_in_one_line_and_nothing_is_written(place: Path) -> None:
    database = Database(place)
    insert(database, "before")
    pages = database.one("PRAGMA page_count")[0]
    database.run(f"PRAGMA max_page_count={pages}")
    for _ in range(2):
        with pytest.raises(LedgerError, match="the disk is full; make room and try again") as caught:
            small_and_large(database)
        assert "\n" not in caught.value.message
    database.run(f"PRAGMA max_page_count={pages + 100}")
    insert(database, "after")
    database.close()
    assert names(place) == ["after", "before"]


def test_a_disk_that_refuses_a_write_is_told_in_one_line_and_nothing_is_written(place: Path) -> None:
    Database(place).close()

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        database = Database(place)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with pytest.raises(LedgerError, match="make room and try again"):
            small_and_large(database)

    assert in_child(work) == 0
    assert names(place) == []


def test_O2_a_full_disk_stops_a_verb_before_any_engine_is_asked(desk: Desk) -> None:
    record = one(desk)
    flow = desk.bridges[0]
    pages = flow.ledger.database.one("PRAGMA page_count")[0]
    flow.ledger.database.run(f"PRAGMA max_page_count={pages}")
    before = len(flow.history())
    with pytest.raises(LedgerError, match="full"):
        flow.run(Definition("flow"), {"much": "x" * 1_000_000}, backend="fake")
    with pytest.raises(LedgerError, match="full"):
        flow.pause(record.id, reason="x" * 1_000_000)
    assert desk.engine.sent() == []
    assert len(flow.history()) == before
    assert flow.ledger.operations.open_trees() == []


def test_a_writer_that_never_ends_is_named_after_a_while(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    holder, waiting = Database(place), Database(place)
    with holder.transaction():
        insert(holder, "x")
        with pytest.raises(LedgerError, match="in use by another process"):
            insert(waiting, "y")
    insert(waiting, "y")
    holder.close()
    waiting.close()
    assert names(place) == ["x", "y"]


@dataclass
class Clock:
    """Time that goes on only while somebody waits."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the wait for another writer goes by. SQLite itself waits for no moment."""
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(deadline, "time", made)
    return made


@pytest.mark.parametrize(("limit", "seconds"), [(None, 20), (60.0, 20), (5.0, 4), (0.0, 0)])
def test_another_writer_is_waited_for_no_longer_than_whoever_asks_will_wait(
    place: Path, clock: Clock, limit: float | None, seconds: int
) -> None:
    holder, waiting = Database(place), Database(place)
    writes: list[Callable[[], object]] = [
        lambda: insert(waiting, "y"),
        lambda: waiting.run("DELETE FROM cursors"),
        lambda: waiting.run_many("INSERT INTO cursors VALUES (?, 1)", [("y",)]),
    ]
    with holder.transaction():
        insert(holder, "x")
        for write in writes:
            waiting.close()
            waiting = Database(place)
            began = clock.now
            said = f"for over {seconds} s" if seconds else "now"
            with deadline.within(limit), pytest.raises(LedgerError, match=f"in use by another process {said}; try"):
                write()
            assert clock.now - began == pytest.approx(max(seconds, module._LEAST_SECONDS), abs=0.1)
    with deadline.within(0):
        insert(waiting, "y")
    holder.close()
    waiting.close()
    assert names(place) == ["x", "y"]


@pytest.mark.parametrize("limit", [0.0, 5.0])
def test_all_that_is_tried_behind_the_time_waits_once_and_anew_when_a_write_got_through(
    place: Path, clock: Clock, limit: float
) -> None:
    holder, waiting = Database(place), Database(place)
    for _ in range(2):
        with holder.transaction(), deadline.within(limit):
            began, allowed = clock.now, max(limit - deadline.GRACE_SECONDS, module._LEAST_SECONDS)
            for number in range(4):
                with pytest.raises(LedgerError, match="in use by another process"):
                    insert(waiting, f"y{number}")
            assert clock.now - began == pytest.approx(allowed, abs=0.1)
        insert(waiting, f"y{clock.now}")
    holder.close()
    waiting.close()


def _waits(waiting: Database, clock: Clock) -> float:
    """How long a write waits for another writer, in seconds, before it gives up."""
    began = clock.now
    with pytest.raises(LedgerError, match="in use by another process for over 2 s"):
        insert(waiting, "y")
    return clock.now - began


def test_what_can_be_left_for_the_next_time_waits_shortly_and_in_all_until_a_write_gets_through(
    place: Path, clock: Clock
) -> None:
    holder, waiting = Database(place), Database(place)
    with waiting.hurried(), waiting.hurried():
        for _ in range(2):
            with holder.transaction():
                assert _waits(waiting, clock) == pytest.approx(2.0, abs=0.1)
                assert _waits(waiting, clock) < 0.1
            insert(waiting, f"y{clock.now}")
    holder.close()
    waiting.close()


def test_who_keeps_nobody_waiting_waits_for_a_writer_as_long_as_it_takes(
    place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, waiting = Database(place), Database(place)
    until = clock.now + 500.0

    def sleep(seconds: float) -> None:
        clock.now += max(seconds, 1.0)
        if clock.now >= until and holder.inside:
            released.close()

    released = ExitStack()
    released.enter_context(holder.transaction())
    monkeypatch.setattr(clock, "sleep", sleep)
    with waiting.patient(), waiting.hurried():
        insert(waiting, "y")
    assert clock.now >= until
    holder.close()
    waiting.close()


def test_O2_a_look_is_shown_soon_though_the_ledger_is_locked(clock: Clock, desk: Desk) -> None:
    record = one(desk)
    flow, other = desk.open(), Database(desk.ledger)
    began = clock.now
    desk.engine.has[record.ref.id].go(EngineState.SUCCEEDED)
    desk.engine.has[record.ref.id].tasks = []
    with other.transaction():
        assert flow.get(record.id).record.status is Status.SUCCEEDED
        assert "in use by another process for over 2 s" in flow.ledger.unwritten
        assert next(iter(flow.watch(record.id))).record.status is Status.SUCCEEDED
    assert clock.now - began < 2.5
    other.close()


def test_O2_a_watch_of_what_has_ended_shows_it_at_once_though_the_ledger_is_locked(clock: Clock, desk: Desk) -> None:
    record = one(desk)
    flow, other = desk.open(), Database(desk.ledger)
    desk.engine.has[record.ref.id].tasks = []
    desk.engine.has[record.ref.id].go(EngineState.SUCCEEDED)
    flow.get(record.id)
    began = clock.now
    with other.transaction():
        watch = flow.watch(record.id)
        assert next(iter(watch)).record.status is Status.SUCCEEDED
        assert clock.now - began < 0.1
    other.close()


def test_a_watch_sleeps_no_longer_than_to_its_deadline(
    clock: Clock, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "time", clock)
    record, flow = one(desk), desk.open()
    until = clock.now + 4.0
    assert len(list(flow.watch(record.id, deadline=until))) == 1
    assert clock.now == pytest.approx(until)


def test_what_is_written_for_many_rows_is_there_for_all_or_for_none(place: Path) -> None:
    database = Database(place)
    with pytest.raises(LedgerError, match="UNIQUE"):
        database.run_many("INSERT INTO cursors VALUES (?, 1)", [("a",), ("b",), ("a",)])
    assert database.all("SELECT * FROM cursors") == []
    database.close()


def test_O5_a_run_waits_for_a_locked_ledger_as_long_as_it_may_take_and_starts_nothing(
    clock: Clock, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "time", clock)
    flow, other = desk.open(), Database(desk.ledger)
    with other.transaction(), pytest.raises(LedgerError, match=r"for over [45] s; try again; the start was not begun"):
        flow.run("flow", backend="fake", timeout=4)
    other.close()
    assert (desk.engine.has, clock.now < 1010) == ({}, True)


_AT_ONCE = """
import multiprocessing, sys
from pathlib import Path
from flowbridge.ledger.database import Database

def work(barrier, name):
    for place in sys.argv[1:]:
        barrier.wait()
        database = Database(Path(place), durable=False)
        with database.transaction():
            database.run("INSERT INTO cursors VALUES (?, 1)", (str(name),))
        database.close()

barrier = multiprocessing.Barrier(4, timeout=30)
writers = [multiprocessing.Process(target=work, args=(barrier, name)) for name in range(4)]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
sys.exit(any(writer.exitcode for writer in writers))
"""


def test_processes_that_open_a_new_ledger_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    places = [tmp_path / f"{number}.db" for number in range(300)]
    command = [sys.executable, "-c", _AT_ONCE, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {len(names(place)) for place in places} == {4}


def test_another_connections_write_is_noticed_and_ones_own_is_not(place: Path) -> None:
    mine, theirs = Database(place), Database(place)
    stamp = mine.stamp()
    insert(mine, "mine")
    assert mine.stamp() == stamp
    insert(theirs, "theirs")
    assert mine.stamp() != stamp
    mine.close()
    theirs.close()


def test_O6_the_history_cannot_be_changed(flow: object, desk: Desk) -> None:
    record = one(desk)
    bridge = desk.bridges[0]
    bridge.pause(record.id)
    for sql in ("UPDATE events SET actor = 'nobody'", "DELETE FROM events"):
        with pytest.raises(LedgerError, match="only appended to"):
            bridge.ledger.database.run(sql)
