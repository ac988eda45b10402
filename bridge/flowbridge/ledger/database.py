"""Opening the ledger's file, its transactions, and the one place where SQLite's errors become ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowbridge.errors import LedgerError
from flowbridge.ledger.schema import MIGRATIONS, VERSION

_BUSY_SECONDS = 20.0


class Database:
    """One connection to one ledger file, for one thread.

    The file is made with mode 0600 and brought to the newest schema. `durable` false gives up the sync to disk at
    each commit, which only a power cut can tell: local engines write their steps that way.

    Raises `LedgerError` where the file cannot be used, naming it and what to do.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._depth = 0
        with self._errors():
            self._open(durable=durable)
            self._migrate()

    def _open(self, *, durable: bool) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise LedgerError(f"ledger {self.path}: {error.strerror}; set FLOWBRIDGE_LEDGER to another file") from error
        self._connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    def _migrate(self) -> None:
        found = self._version()
        if found == VERSION:
            return
        with self.transaction():
            for version in range(self._version(), VERSION):
                for statement in _statements(MIGRATIONS[version]):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={VERSION}")

    def _version(self) -> int:
        found = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise LedgerError(
                f"ledger {self.path} has version {found}, written by a newer flowbridge; this one knows {VERSION}. "
                f"Upgrade flowbridge, or set FLOWBRIDGE_LEDGER to another file."
            )
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are written together or not at all. May be nested: the outermost one commits."""
        if self._depth:
            yield
            return
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            self._connection.execute("ROLLBACK")
            raise
        self._depth = 0
        self.commit()

    def commit(self) -> None:
        """End a transaction; rolls back where the disk refuses."""
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise self._translated(error) from error

    def run(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Carry out one statement; gives the number of rows it changed."""
        with self._errors():
            return self._connection.execute(sql, tuple(values)).rowcount

    def run_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Carry out one statement for many rows."""
        with self._errors():
            self._connection.executemany(sql, rows)

    def all(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """Every row of a query."""
        with self._errors():
            return self._connection.execute(sql, tuple(values)).fetchall()

    def one(self, sql: str, values: Iterable[Any] = ()) -> Any:
        """The first row of a query, or None."""
        with self._errors():
            return self._connection.execute(sql, tuple(values)).fetchone()

    def stamp(self) -> int:
        """A number that changes when another connection has written. Costs next to nothing."""
        with self._errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> LedgerError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return LedgerError(
                f"ledger {self.path} is in use by another process for over {_BUSY_SECONDS:.0f} s; try again"
            )
        if "full" in text:
            return LedgerError(f"ledger {self.path}: the disk is full; nothing was written. Make room and try again")
        if "not a database" in text or "malformed" in text:
            return LedgerError(f"ledger {self.path} is not a ledger ({text}); set FLOWBRIDGE_LEDGER to another file")
        return LedgerError(f"ledger {self.path}: {text}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit each on its own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
