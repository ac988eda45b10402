"""The state of local engines, row by row, and the commands that wait for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowbridge.errors import DamagedRow
from flowbridge.ledger.codec import document, dumps, reading
from flowbridge.ledger.database import Database
from flowbridge.local import Changes, Command


class Rows:
    """Rows and commands of local runs, each run named by its root's reference in words (`instance:engine id`)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def load(self, root: str) -> dict[str, str]:
        """Every row of a run."""
        return dict(self._db.all("SELECT key, value FROM rows WHERE root = ?", (root,)))

    def exists(self, root: str) -> bool:
        """Whether there is a run of that name."""
        return self._db.one("SELECT 1 FROM rows WHERE root = ? LIMIT 1", (root,)) is not None

    def write(self, root: str, changes: Changes) -> None:
        """Write changed rows in one transaction."""
        gone = [(root, key) for key, value in changes.items() if value is None]
        kept = [(root, key, value) for key, value in changes.items() if value is not None]
        with self._db.transaction():
            if kept:
                self._db.run_many(
                    "INSERT INTO rows VALUES (?,?,?) ON CONFLICT (root, key) DO UPDATE SET value = excluded.value", kept
                )
            if gone:
                self._db.run_many("DELETE FROM rows WHERE root = ? AND key = ?", gone)

    def send(self, root: str, command: Command, at: float) -> None:
        """Put a command into the inbox of a run. One that is there already is not put twice."""
        doc = dumps({"name": command.name, "execution": command.execution, "args": dict(command.args)})
        self._db.run("INSERT OR IGNORE INTO inbox VALUES (?,?,?,?,NULL)", (command.id, root, at, doc))

    def pending(self, root: str) -> list[Command]:
        """The commands of a run that nobody has carried out yet, oldest first.

        One that cannot be read is there too, without a name: `args` says `damaged`, and why.
        """
        rows = self._db.all("SELECT id, doc FROM inbox WHERE root = ? AND outcome IS NULL ORDER BY at, rowid", (root,))
        return [_pending(doc, id) for id, doc in rows]

    def answer(self, command: str, outcome: Any) -> None:
        """Note what came of a command."""
        self._db.run("UPDATE inbox SET outcome = ? WHERE id = ?", (dumps(outcome), command))

    def outcome(self, command: str) -> Any | None:
        """What came of a command, or None while it waits."""
        row = self._db.one("SELECT outcome FROM inbox WHERE id = ?", (command,))
        if not row or not row[0]:
            return None
        with reading("inbox", command):
            return json.loads(row[0])

    def withdraw(self, command: str) -> bool:
        """Take back a command that nobody has carried out. False where it was carried out already."""
        return self._db.run("DELETE FROM inbox WHERE id = ? AND outcome IS NULL", (command,)) == 1


def command_from(text: str, id: str) -> Command:
    """A command from JSON text. Raises `DamagedRow`."""
    doc = document("inbox", id, text)
    with reading("inbox", id):
        name, execution, args = doc["name"], doc["execution"], doc["args"]
        if not (isinstance(name, str) and isinstance(execution, str) and isinstance(args, Mapping)):
            raise TypeError(f"no command but {text[:20]!r}")
        return Command(id, name, execution, args)


def _pending(text: str, id: str) -> Command:
    try:
        return command_from(text, id)
    except DamagedRow as error:
        return Command(id, "", "", {"damaged": error.message})
