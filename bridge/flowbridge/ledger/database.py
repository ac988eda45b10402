"""Opening the ledger's file, its transactions, and the one place where SQLite's errors become ours."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from flowbridge.deadline import GRACE_SECONDS, left
from flowbridge.errors import LedgerError
from flowbridge.ledger.schema import MIGRATIONS, VERSION

#: How long another process that writes is waited for, where whoever asks does not wait for less.
_BUSY_SECONDS = 20.0

#: The same where what is to be written can be left for the next time: in all, until a transaction gets through.
_HURRIED_SECONDS = 2.0

#: What is waited for all the same where the time is over, in all: what came of a call is to be written down.
_LEAST_SECONDS = 0.5

#: How long SQLite itself waits before the time is looked at. To tell it anew for each statement would cost a statement.
_SLICE_SECONDS = 0.1
_RETRY_SECONDS = 0.005
_ANOTHER = "set FLOWBRIDGE_LEDGER to another file"


class Database:
    """One connection to one ledger file, for one thread.

    The file is made with mode 0600 and brought to the newest schema. `durable` false gives up the sync to disk at
    each commit, which only a power cut can tell: local engines write their steps that way.

    A ledger that is there and can only be read (a read-only mount, a full disk, another user's file) is opened all the
    same; every write then raises what stood in the way.

    Raises `LedgerError` where the file cannot be used, naming it and what to do.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._depth = 0
        self._waited = 0.0
        self._patience = _BUSY_SECONDS
        self.is_hurried = False
        self._spent = 0.0
        self._late = 0.0
        self._unwritable: LedgerError | None = None
        try:
            with self._errors():
                self._create()
                self._connect(str(path), lambda: self._prepare(durable=durable))
        except LedgerError as error:
            if not os.path.isfile(path) or not self._can_read():
                raise
            self._unwritable = error

    def _connect(self, to: str, prepare: Callable[[], object]) -> None:
        self._connection = sqlite3.connect(
            to, timeout=_SLICE_SECONDS, isolation_level=None, check_same_thread=False, uri=to.startswith("file:")
        )
        try:
            prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, *, durable: bool) -> None:
        self._version()
        self._use_wal()
        self._execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._migrate()

    def _can_read(self) -> bool:
        """Open a file that cannot be written. SQLite wants room beside it for that, or the word that nobody writes."""
        for how in ("mode=ro", "immutable=1"):
            with suppress(sqlite3.Error, LedgerError):
                self._connect(f"{self.path.absolute().as_uri()}?{how}", self._require_newest)
                return True
        return False

    def _require_newest(self) -> None:
        if self._version() != VERSION:
            raise LedgerError(f"ledger {self.path} must be written once to be brought to version {VERSION}")

    def _create(self) -> None:
        # A file that is there is not opened: closing it again would drop the locks of this process's other connections.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if self.path.is_dir() or not os.access(self.path, os.W_OK):
                raise LedgerError(f"ledger {self.path} {self._why_not()}; {_ANOTHER}") from None
        except OSError as error:
            raise LedgerError(f"ledger {self.path}: {error.strerror}; {_ANOTHER}") from error

    def _why_not(self) -> str:
        return "is a directory" if self.path.is_dir() else "may not be written"

    def _use_wal(self) -> None:
        # Where several processes open a new ledger at once, SQLite refuses this at once instead of waiting.
        self._execute("PRAGMA journal_mode=WAL")

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """One statement. Where another process writes it is tried again, for as long as whoever asks will wait."""
        began = time.monotonic()
        while True:
            try:
                return self._connection.execute(sql, values)
            except sqlite3.OperationalError as error:
                self._waited = time.monotonic() - began
                if not _is_busy(error) or self._is_over():
                    raise
                time.sleep(_RETRY_SECONDS)

    def _is_over(self) -> bool:
        """Whether another process was waited for long enough."""
        longest = self._patience - self._spent if self.is_hurried else self._patience
        seconds = left()
        if seconds is not None and seconds <= GRACE_SECONDS:
            # What fails behind the time has others behind it (a lease to give back, say): all of them have this much.
            longest = min(longest, _LEAST_SECONDS - self._late)
        is_over = self._waited >= longest
        if is_over and seconds is not None and seconds <= GRACE_SECONDS:
            self._late += self._waited
        if is_over and self.is_hurried:
            self._spent = self._waited = self._spent + self._waited
        return is_over

    def hurried(self) -> AbstractContextManager[None]:
        """Inside it another process that writes is waited for shortly, and once more only for what is left of that:
        `is_hurried`. Who is patient stays so."""
        if self._patience == math.inf:
            return nullcontext()
        return self._waiting(min(self._patience, _HURRIED_SECONDS), hurried=True)

    def at_once(self) -> AbstractContextManager[None]:
        """Inside it another process that writes is hardly waited for: for what is tried again soon, or is no loss."""
        return self._waiting(0.0, hurried=self.is_hurried)

    def patient(self) -> AbstractContextManager[None]:
        """Inside it another process that writes is waited for as long as it takes: for who keeps nobody waiting."""
        return self._waiting(math.inf, hurried=False)

    @contextmanager
    def _waiting(self, seconds: float, *, hurried: bool) -> Iterator[None]:
        outer = self._patience, self.is_hurried
        self._patience, self.is_hurried = seconds, hurried
        try:
            yield
        finally:
            self._patience, self.is_hurried = outer

    def _migrate(self) -> None:
        found = self._version()
        if found == VERSION:
            return
        with self.transaction():
            for version in range(self._version(), VERSION):
                for statement in _statements(MIGRATIONS[version]):
                    self._execute(statement)
            self._execute(f"PRAGMA user_version={VERSION}")

    def _version(self) -> int:
        version, tables = self._execute(
            "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
        ).fetchone()
        if version == 0 and tables:
            raise LedgerError(f"ledger {self.path} is not a ledger (another program's database); {_ANOTHER}")
        if version > VERSION:
            raise LedgerError(
                f"ledger {self.path} has version {version}, written by a newer flowbridge; this one knows {VERSION}. "
                f"Upgrade flowbridge, or {_ANOTHER}."
            )
        return int(version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are written together or not at all. May be nested: the outermost one commits."""
        if self._depth:
            yield
            return
        if self._unwritable is not None:
            raise self._unwritable
        with self._errors():
            self._execute("BEGIN IMMEDIATE")
        self._depth, self._spent, self._late = 1, 0.0, 0.0
        try:
            yield
        except BaseException:
            self._depth = 0
            self._roll_back()
            raise
        self._depth = 0
        self.commit()

    @property
    def inside(self) -> bool:
        """Whether a transaction is under way; outside of one, every statement is written at once."""
        return self._depth > 0

    def commit(self) -> None:
        """End a transaction; rolls back where the disk refuses."""
        try:
            self._execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._translated(error, unsure=True) from error

    def _roll_back(self) -> None:
        # SQLite itself has done it where the disk is full or fails.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def run(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Carry out one statement; gives the number of rows it changed."""
        with self._errors():
            changed = self._execute(sql, tuple(values)).rowcount
        self._spent = self._late = 0.0
        return changed

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Carry out one statement for many rows, all of them or none."""
        if wanted := list(rows):
            with self.transaction(), self._errors():
                self._connection.executemany(sql, wanted)

    def all(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """Every row of a query."""
        with self._errors():
            return self._execute(sql, tuple(values)).fetchall()

    def one(self, sql: str, values: Iterable[Any] = ()) -> Any:
        """The first row of a query, or None."""
        with self._errors():
            return self._execute(sql, tuple(values)).fetchone()

    def stamp(self) -> int:
        """A number that changes when another connection has written. Costs next to nothing."""
        try:
            row = self._execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        return int(row[0])

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error, *, unsure: bool = False) -> LedgerError:
        """Our error. `unsure`: a commit failed; what it had put into the log may count when that is read again."""
        text = str(error)
        if _is_busy(error):
            waited = f"for over {int(self._waited)} s" if self._waited >= 1 else "now"
            return LedgerError(f"ledger {self.path} is in use by another process {waited}; try again")
        if "full" in text:
            return LedgerError(f"ledger {self.path}: the disk is full; make room and try again", unsure=unsure)
        if "I/O" in text:
            words = f"ledger {self.path}: {text}: the disk is full or fails; make room and try again"
            return LedgerError(words, unsure=unsure)
        if "malformed" in text:
            return LedgerError(
                f"ledger {self.path} is damaged ({text}): move it and the files beside it away and put back a sound "
                f"copy (`flowbridge ledger check` tells). Executions go on at their engines meanwhile"
            )
        if "not a database" in text:
            return LedgerError(f"ledger {self.path} is not a ledger ({text}); {_ANOTHER}")
        if "unable to open" in text or "readonly" in text:
            return LedgerError(f"ledger {self.path}: {text}; {_ANOTHER}")
        return LedgerError(f"ledger {self.path}: {text}", unsure=unsure)


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit each on its own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
