"""Operations and the history: who did what, when, why, and what came of it (O3, O6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from flowbridge.errors import DamagedRow
from flowbridge.ledger.codec import document, dumps, plain, reading
from flowbridge.ledger.database import Database

#: The kind of a line of the history that cannot be read.
DAMAGED = "damaged"

#: The kind of one about a record that took over and has given its place back to the one that its `execution` names.
TAKEN_BACK = "taken_back"


class State(StrEnum):
    """How an operation stands."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    ALREADY = "already so"  # rejected, but whoever asked takes that for a success (O7)
    REPLACED = "replaced"  # a cancel was asked for instead of what was left of it (O5)
    TAKEN_OVER = "taken over"  # a cancel, by another one: that does what was left of it


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one execution, written down before the first call to an engine.

    `steps` are the calls that happen once (re-run, skip), each with the mark of what was seen before, and how
    often it may have arrived (`sent`) at an engine elsewhere; everything else is derived from what is wanted.
    `outcome` is a sentence.
    """

    id: str
    tree: str
    verb: str
    target: str
    actor: str
    at: float
    state: State = State.OPEN
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()
    outcome: str = ""

    @property
    def reopens(self) -> tuple[str, ...]:
        """The records that it re-opens, some of them perhaps twice."""
        return (*(step["record"] for step in self.steps), *self.options.get("reopened", ()))


def reopening(operations: Iterable[Operation]) -> Mapping[str, Operation]:
    """The records that operations re-open, each with its operation."""
    return {record: operation for operation in operations for record in operation.reopens}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history. `seq` numbers all of them, for ever."""

    seq: int
    at: float
    tree: str
    execution: str
    operation: str
    actor: str
    kind: str
    doc: Mapping[str, Any]


class Operations:
    """Operations and history. Every method runs inside the caller's transaction where there is one."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tried: set[str] = set()

    def put(self, operation: Operation) -> None:
        """Write an operation, new or changed."""
        self._tried.add(operation.id)
        self._db.run(
            "INSERT INTO operations VALUES (?,?,?,?,?) "
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc",
            (operation.id, operation.tree, str(operation.state), operation.at, dumps(plain(operation))),
        )

    def get(self, id: str) -> Operation:
        """One operation by its id, which the history names."""
        return operation_from(*self._db.one("SELECT doc, id FROM operations WHERE id = ?", (id,)))

    def known(self, id: str) -> Operation | None:
        """One operation by its id, None where it is not written down."""
        row = self._db.one("SELECT doc, id FROM operations WHERE id = ?", (id,))
        return operation_from(*row) if row else None

    def was_tried(self, id: str) -> bool:
        """Whether this process has begun to write an operation, be it there or not."""
        return id in self._tried

    def open(self, tree: str) -> list[Operation]:
        """The unfinished operations of a tree, oldest first."""
        rows = self._db.all(
            "SELECT doc, id FROM operations WHERE tree = ? AND state = 'open' ORDER BY at, rowid", (tree,)
        )
        return [operation_from(*row) for row in rows]

    def once(self, tree: str) -> list[Mapping[str, Any]]:
        """The calls of the unfinished operations of a tree that happen once, but for those that an engine refused."""
        return [
            step
            for operation in self.open(tree)
            for step in operation.steps
            if step["record"] not in operation.options.get("refused", ())
        ]

    def reopening(self, tree: str) -> Mapping[str, Operation]:
        """The records that the unfinished operations of a tree re-open, each with its operation."""
        return reopening(self.open(tree))

    def along(self, tree: str) -> frozenset[str]:
        """The executions that an engine resumes by itself with what the last verb on a tree resumed (R4)."""
        row = self._db.one(
            "SELECT doc, id FROM operations WHERE tree = ? AND state NOT IN ('rejected', 'already so') "
            "AND NOT (json_valid(doc) AND json_extract(doc, '$.verb') = 'recover') "
            "ORDER BY at DESC, rowid DESC LIMIT 1",
            (tree,),
        )
        return frozenset(operation_from(*row).options.get("along", ())) if row else frozenset()

    def open_trees(self) -> list[str]:
        """Every tree that has an unfinished operation."""
        return [row[0] for row in self._db.all("SELECT DISTINCT tree FROM operations WHERE state = 'open'")]

    def end(self, operation: Operation, state: State, outcome: str, at: float, **detail: Any) -> Operation:
        """Close an operation and say so in the history, with whatever else is to be known."""
        ended = replace(operation, state=state, outcome=outcome)
        with self._db.transaction():
            self.put(ended)
            self.note(
                ended.tree,
                ended.target,
                "outcome",
                ended.actor,
                at,
                {"state": state, "outcome": outcome, **detail},
                ended.id,
            )
        return ended

    def refuse(self, operation: Operation, told: Mapping[str, str]) -> None:
        """Note in an open operation what engines refused: executions with what each was told. A crash keeps it."""
        known = self.get(operation.id)
        self.put(replace(known, options={**known.options, "refused": dict(told)}))

    def note_sent(self, operation: Operation, calls: Collection[tuple[str, str]], by: int) -> None:
        """Note in an open operation that calls of it, by action and record, were sent once more; -1 takes that back."""
        known = self.get(operation.id)
        steps = tuple(
            {**step, "sent": step.get("sent", 0) + by} if (step["action"], step["record"]) in calls else step
            for step in known.steps
        )
        self.put(replace(known, steps=steps))

    def note(
        self,
        tree: str,
        execution: str,
        kind: str,
        actor: str,
        at: float,
        doc: Mapping[str, Any],
        operation: str = "",
    ) -> None:
        """Append one line to the history."""
        self.note_many([(at, tree, execution, operation, actor, kind, dumps(doc))])

    def note_many(self, lines: Iterable[tuple[float, str, str, str, str, str, str]]) -> None:
        """Append lines: at, tree, execution, operation, actor, kind, JSON text."""
        self._db.run_many(
            "INSERT INTO events (at, tree, execution, operation, actor, kind, doc) VALUES (?,?,?,?,?,?,?)", lines
        )

    def history(self, tree: str | None = None, *, after: int = 0, limit: int = -1) -> list[Entry]:
        """The history of a tree, or of all, oldest first."""
        rows = self._db.all(
            "SELECT seq, at, tree, execution, operation, actor, kind, doc FROM events "
            "WHERE seq > ? AND (? IS NULL OR tree = ?) ORDER BY seq LIMIT ?",
            (after, tree, tree, limit),
        )
        return [_entry(row) for row in rows]

    def latest(self, tree: str, execution: str, kind: str) -> Entry | None:
        """The last line of a kind about one execution of a tree; None where there is none."""
        row = self._db.one(
            "SELECT seq, at, tree, execution, operation, actor, kind, doc FROM events "
            "WHERE tree = ? AND execution = ? AND kind = ? ORDER BY seq DESC LIMIT 1",
            (tree, execution, kind),
        )
        return None if row is None else _entry(row)

    def changed(self, tree: str) -> dict[str, float]:
        """When the status of each execution of a tree was last seen to change, in seconds since the epoch."""
        return dict(
            self._db.all(
                "SELECT execution, max(at) FROM events WHERE tree = ? AND json_valid(doc) "
                "AND json_extract(doc, '$.new') IS NOT NULL GROUP BY execution",
                (tree,),
            )
        )

    def held_since(self, tree: str) -> dict[str, float]:
        """Since when each execution of a tree is held without a break, in seconds since the epoch.

        It is held from when it was first seen pausing or paused. That its runner died changes nothing of it (S6): only
        another status does, or a resume in between that was not refused. What is not held is not in it, but for what
        was abandoned since.
        """
        rows = self._db.all(
            "WITH seen AS (SELECT execution, seq, at, json_extract(doc, '$.new') IN ('pausing', 'paused') AS held "
            "FROM events WHERE tree = ? AND json_valid(doc) AND json_extract(doc, '$.new') <> 'abandoned' "
            "AND NOT (json_extract(doc, '$.new') = 'resuming' AND operation IN "
            "(SELECT id FROM operations WHERE tree = ? AND state = 'failed'))), "
            "asked AS (SELECT id, iif(json_valid(doc), doc, '{}') AS doc FROM operations WHERE tree = ? "
            "AND state <> 'failed'), "
            "resumed AS (SELECT one.key AS execution, events.seq FROM events JOIN asked ON asked.id = operation, "
            "json_each(asked.doc, '$.options.before') AS one WHERE tree = ? AND kind = 'operation' "
            "AND json_extract(asked.doc, '$.verb') = 'resume'), "
            "free AS (SELECT execution, max(seq) AS last FROM (SELECT execution, seq FROM seen WHERE NOT held "
            "UNION ALL SELECT execution, seq FROM resumed) GROUP BY execution) "
            "SELECT execution, min(at) FROM seen LEFT JOIN free USING (execution) "
            "WHERE held AND seq > coalesce(last, 0) GROUP BY execution",
            (tree, tree, tree, tree),
        )
        return dict(rows)

    def tree_of(self, execution: str) -> str | None:
        """The tree of an execution that the history speaks of, by its full id or the tree's; None where it does not."""
        row = self._db.one("SELECT tree FROM events WHERE execution = ? OR tree = ? LIMIT 1", (execution, execution))
        return str(row[0]) if row else None

    def last(self, tree: str) -> int:
        """The number of the newest line in a tree's history, 0 where there is none."""
        return int(self._db.one("SELECT coalesce(max(seq), 0) FROM events WHERE tree = ?", (tree,))[0])

    def mark(self, tree: str) -> tuple[int, int]:
        """What differs once anybody has written of a tree, or has begun to make calls that follow from a look at it."""
        return self.last(tree), self.cursor(_tended(tree))

    def tended(self, tree: str) -> None:
        """Note that such calls begin: another look, made before them, is not to be acted upon (`mark`)."""
        self.move_cursor(_tended(tree), self.cursor(_tended(tree)) + 1)

    def forget(self, tree: str) -> None:
        """Remove what is kept of the looks at a tree; its history stays."""
        self._db.run("DELETE FROM cursors WHERE name = ?", (_tended(tree),))

    def cursor(self, name: str) -> int:
        """How far a reader of the history has come."""
        row = self._db.one("SELECT seq FROM cursors WHERE name = ?", (name,))
        return int(row[0]) if row else 0

    def begin_cursor(self, name: str) -> None:
        """Let a reader that was never seen before begin with what comes next."""
        self._db.run("INSERT OR IGNORE INTO cursors SELECT ?, coalesce(max(seq), 0) FROM events", (name,))

    def move_cursor(self, name: str, seq: int) -> None:
        """Note how far a reader of the history has come."""
        self._db.run("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, seq))


def _tended(tree: str) -> str:
    return f"tended:{tree}"


def operation_from(text: str, id: str) -> Operation:
    """An operation from JSON text. Raises `DamagedRow`."""
    doc = document("operations", id, text)
    with reading("operations", id):
        doc["state"] = State(doc.get("state", State.OPEN))
        doc["steps"] = tuple(doc.get("steps", ()))
        return Operation(**doc)


def _entry(row: Any) -> Entry:
    seq, at, tree, execution, operation, actor, kind, doc = row
    try:
        return Entry(seq, at, tree, execution, operation, actor, kind, document("events", seq, doc))
    except DamagedRow as error:  # one line of a history that is for reading: the others are not to be lost with it
        return Entry(seq, at, tree, execution, operation, actor, DAMAGED, {"damaged": error.message})
