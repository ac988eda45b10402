"""Records of executions, what was last seen of them, and what they were started with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from flowbridge.errors import DamagedRow, InvalidInput, NotFound
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.codec import document, dumps, record_from, record_to, request_from, tasks_from, tasks_to
from flowbridge.ledger.database import Database
from flowbridge.ledger.operations import TAKEN_BACK
from flowbridge.model import Node, Record, Ref, TaskLook, WaitingChild

#: Sorts behind every character of an id, so that a prefix is a range of the index.
_HIGHEST = "\U0010ffff"

#: How many values one statement asks for.
_MARKS = 500

#: A watch looks every second; what it saw last is written down as seen at most this many seconds too early.
_LOOKED_STEP = 5.0


#: What a filter may ask for beside the statuses: what its engine no longer has (S7). Its last status is not its own any
#: more, unless it had ended.
GONE = "gone"
#: A row that is damaged is not called gone: it is not known.
_IS_GONE = "(json_valid(doc) AND json_extract(doc, '$.gone') IS NOT NULL)"
_IS_LINKED = "json_valid(doc) AND json_extract(doc, '$.key') IS NOT NULL"
_IS_UNFINISHED = (
    "id IN (SELECT json_extract(doc, '$.target') FROM operations WHERE state = 'open' AND json_valid(doc) "
    "AND json_extract(doc, '$.verb') = ?)"
)
#: Read by an index of its own.
_LATE = (
    "SELECT DISTINCT tree FROM executions WHERE is_current = 1 AND instr(doc, '\"asked\":') > 0 "
    "AND status IN ('canceled', 'errored', 'succeeded')"
)
_ENDED = ", ".join(f"'{status}'" for status in sorted(TERMINAL))


def is_due(before: Record, at: float) -> bool:
    """Whether the time of a look is to be written down."""
    return at > before.looked + _LOOKED_STEP


class Filter(NamedTuple):
    """Which executions to list. Empty fields select nothing away; `roots` false lists children too.

    What its engine no longer has is not active: a `status` that is does not find it, `GONE` does (S7).

    `before` and `after` are seconds since the epoch, for the time of creation. `unfinished` is a verb: it finds what an
    operation of that verb names that is still open.
    """

    status: tuple[str, ...] = ()
    backend: str | None = None
    workflow: str | None = None
    actor: str | None = None
    roots: bool = True
    before: float | None = None
    after: float | None = None
    limit: int = 50
    offset: int = 0
    unfinished: str | None = None


class Executions:
    """The records. Every method runs inside the caller's transaction where there is one.

    What is asked for and cannot be read raises `DamagedRow`. A list leaves it out; `damaged` says why, by its id.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self.damaged: dict[str, str] = {}

    def put(self, records: Iterable[Record]) -> None:
        """Write records, new or changed."""
        self._db.run_many(
            "INSERT INTO executions VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET "
            "is_current=excluded.is_current, status=excluded.status, workflow=excluded.workflow, doc=excluded.doc, "
            "engine_id=excluded.engine_id, root=excluded.root",
            [_row(record) for record in records],
        )

    def touch(self, pairs: Iterable[tuple[Record, Record]]) -> None:
        """Write down when records were looked at, where that is due: the second of each pair in the first's place.

        What was written by another meanwhile is left.
        """
        due = [
            (record_to(after), after.id, record_to(before)) for before, after in pairs if is_due(before, after.looked)
        ]
        if due:
            with self._db.transaction():
                self._db.run_many("UPDATE executions SET doc = ? WHERE id = ? AND doc = ?", due)

    def get(self, id: str) -> Record:
        """One record by its full id. Raises `NotFound`."""
        row = self._db.one("SELECT doc FROM executions WHERE id = ?", (id,))
        if row is None:
            raise NotFound(self._missing(id, self._in_place_of(id)))
        return record_from(row[0], id)

    def find(self, text: str, actor: str) -> Record:
        """One record by id, by a unique prefix of it, or `last`: the newest root that `actor` started.

        Blanks around it, as they come with a pasted one, and capitals make no difference. An id that a re-run has told,
        and that was taken back or refused, finds what stands in its place again. Raises `NotFound`, or `InvalidInput`
        where several ids begin so.
        """
        given, text = text, text.strip().lower()
        if text == "last":
            row = self._db.one(
                "SELECT doc, id FROM executions WHERE root = 1 AND actor = ? ORDER BY created DESC, rowid DESC LIMIT 1",
                (actor,),
            )
            if row is None:
                raise NotFound(f"{actor} has started nothing yet, so there is no last execution")
            return record_from(*row)
        rows = self._db.all(
            "SELECT id, doc FROM executions WHERE id >= ? AND id < ? ORDER BY id LIMIT 4", (text, text + _HIGHEST)
        )
        exact = [doc for id, doc in rows if id == text]
        if not rows or not text:
            instead = self._in_place_of(text)
            if instead and self._db.one("SELECT 1 FROM executions WHERE id = ?", (instead,)):
                return self.get(instead)
            raise NotFound(self._missing(given, instead))
        if len(rows) > 1 and not exact:
            ids = ", ".join(id for id, _ in rows[:3])
            raise InvalidInput(
                f"execution {given!r} is ambiguous: {ids}{' ...' if len(rows) > 3 else ''}; give more of the id"
            )
        return record_from(exact[0], text) if exact else record_from(rows[0][1], rows[0][0])

    def _in_place_of(self, text: str) -> str:
        """What stands again in the place of a record that a re-run had made, by that one's id or how it begins."""
        row = text and self._db.one(
            "SELECT json_extract(doc, '$.execution') FROM events WHERE kind = ? AND execution >= ? AND execution < ? "
            "AND json_valid(doc) ORDER BY seq DESC LIMIT 1",
            (TAKEN_BACK, text, text + _HIGHEST),
        )
        return str(row[0]) if row else ""

    def _missing(self, given: str, instead: str) -> str:
        """Why there is no such execution."""
        if instead:
            return (
                f"execution {given!r} is no more: the re-run or skip that made it was refused or taken back, and "
                f"{instead} stands in its place again"
            )
        return f"no execution {given!r} in the ledger; `flowbridge execution list` shows what there is"

    def successors(self, id: str) -> Sequence[str]:
        """An execution and the records that took over from it, one after the other."""
        ids = [id]
        while following := self.get(ids[-1]).superseded_by:
            ids.append(following)
        return ids

    def current(self, ref: Ref) -> Record | None:
        """The current record of an engine execution, or None."""
        row = self._db.one(
            "SELECT doc, id FROM executions WHERE backend = ? AND engine_id = ? AND is_current = 1",
            (ref.backend, ref.id),
        )
        return record_from(*row) if row else None

    def currents(self, refs: Sequence[Ref]) -> dict[Ref, Record]:
        """The current records of those engine executions, all of one backend, that have one."""
        sql = "SELECT doc, id FROM executions WHERE engine_id IN (%s) AND is_current = 1 AND backend = ?"
        rows = self._of_many(sql, [ref.id for ref in refs], [ref.backend for ref in refs[:1]])
        return {record.ref: record for record in self._readable(rows)}

    def tree(self, tree: str) -> list[Record]:
        """The current records of a tree, in the order in which they were found."""
        rows = self._db.all(
            "SELECT doc, id FROM executions WHERE tree = ? AND is_current = 1 ORDER BY created, rowid", (tree,)
        )
        return [record_from(*row) for row in rows]

    def trees(self, statuses: Sequence[str]) -> frozenset[str]:
        """Every tree with something in one of these statuses."""
        return frozenset(tree for (tree,) in self._db.all(_trees_with(statuses), statuses))

    def places(self, statuses: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Every tree with something in one of these statuses, with something that may still arrive, or with an
        operation that is open, with each instance that it lives on."""
        return self._db.all(
            "SELECT DISTINCT tree, backend FROM executions WHERE is_current = 1 AND tree IN "  # noqa: S608
            f"({_trees_with(statuses)} UNION {_LATE} UNION SELECT tree FROM operations WHERE state = 'open')",
            statuses,
        )

    def late(self) -> Sequence[str]:
        """Every tree with something that was canceled while a call of it may still arrive."""
        return [tree for (tree,) in self._db.all(_LATE)]

    def linking(self, trees: Sequence[str]) -> frozenset[str]:
        """Those of these trees in which a bridge links executions to tasks of other engines."""
        sql = (
            f"SELECT DISTINCT tree FROM executions WHERE tree IN (%s) AND is_current = 1 AND root = 0 AND {_IS_LINKED}"  # noqa: S608
        )
        return frozenset(tree for (tree,) in self._of_many(sql, trees))

    def linked(self, trees: Sequence[str], statuses: Sequence[str]) -> Sequence[tuple[str, Ref]]:
        """What a bridge links to tasks of other engines in these trees, and is in one of these statuses; each with its
        tree."""
        marks = ",".join("?" * len(statuses))
        sql = (
            "SELECT tree, backend, engine_id FROM executions WHERE tree IN (%s) AND is_current = 1 AND root = 0 "  # noqa: S608
            f"AND status IN ({marks}) AND {_IS_LINKED}"
        )
        return [(tree, Ref(backend, id)) for tree, backend, id in self._of_many(sql, trees, statuses)]

    def _of_many(self, sql: str, values: Sequence[str], more: Sequence[str] = ()) -> Iterator[Any]:
        """The rows of a query for many values, whose marks go where it has %s, and for whatever `more` it asks for."""
        for start in range(0, len(values), _MARKS):
            part = values[start : start + _MARKS]
            yield from self._db.all(sql % ",".join("?" * len(part)), (*part, *more))

    def list(self, filter: Filter) -> list[Record]:
        """Records by a filter, newest first; what cannot be read of them is told by `damaged`."""
        sql, values = _where(filter)
        rows = self._db.all(
            f"SELECT doc, id FROM executions WHERE {sql} ORDER BY created DESC, rowid DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*values, filter.limit, filter.offset),
        )
        return list(self._readable(rows))

    def _readable(self, rows: Iterable[tuple[str, str]]) -> Iterator[Record]:
        for doc, id in rows:
            try:
                yield record_from(doc, id)
            except DamagedRow as error:
                self.damaged[id] = error.message

    def put_looks(self, nodes: Iterable[Node]) -> None:
        """Keep the tasks that a look showed, for when an engine does not answer."""
        self._db.run_many(
            "INSERT INTO looks VALUES (?, ?) "
            "ON CONFLICT (id) DO UPDATE SET doc = excluded.doc WHERE doc != excluded.doc",
            [(node.record.id, tasks_to(node.tasks, node.waiting)) for node in nodes],
        )

    def has_looks(self, nodes: Sequence[Node]) -> bool:
        """Whether the tasks that a look showed are those that are kept."""
        kept = self._looks([node.record.id for node in nodes])
        return all(kept.get(node.record.id) == tasks_to(node.tasks, node.waiting) for node in nodes)

    def looks(self, ids: Sequence[str]) -> dict[str, tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]]:
        """What was last seen of the tasks of these records. What cannot be read of it is as if it had never been seen:
        the next look at the engine is written over it."""
        found = {}
        for id, doc in self._looks(ids).items():
            with suppress(DamagedRow):
                found[id] = tasks_from(doc, id)
        return found

    def _looks(self, ids: Sequence[str]) -> dict[str, str]:
        return dict(self._of_many("SELECT id, doc FROM looks WHERE id IN (%s)", ids))

    def put_frozen(self, id: str, view: Mapping[str, Any]) -> None:
        """Keep a superseded record's tree as it stood (X2)."""
        self._db.run("INSERT OR REPLACE INTO frozen VALUES (?, ?)", (id, dumps(view)))

    def put_frozen_within(self, id: str, above: str) -> None:
        """Say that a superseded record's tree is part of that of `above`, which is superseded with it."""
        self._db.run("INSERT OR REPLACE INTO frozen VALUES (?, ?)", (id, dumps({"within": above})))

    def frozen(self, id: str) -> dict[str, Any] | None:
        """A superseded record's tree as it stood, or None."""
        row = self._db.one("SELECT doc FROM frozen WHERE id = ?", (id,))
        if row is None:
            return None
        found = document("frozen", id, row[0])
        return _part(self.frozen(found["within"]), id) if "within" in found else found

    def reinstate(self, ids: Iterable[str]) -> dict[str, str]:
        """Take back records that took over from others; gives whose place each had, and these are current again."""
        found = {}
        for id in ids:
            old = self.get(self.get(id).rerun_of)
            for table, gone in (("executions", id), ("looks", id), ("requests", id), ("frozen", old.id)):
                self._db.run(f"DELETE FROM {table} WHERE id = ?", (gone,))  # noqa: S608
            self.put([replace(old, superseded_by="")])
            found[id] = old.id
        return found

    def put_request(self, id: str, request: Mapping[str, Any]) -> None:
        """Keep what an execution was started with (X1)."""
        self._db.run("INSERT OR REPLACE INTO requests VALUES (?, ?)", (id, dumps(request)))

    def hand_on_request(self, old: str, new: str) -> None:
        """Let a record that takes over know what the old one was started with, if that is known (X1, X2)."""
        self._db.run("INSERT OR REPLACE INTO requests SELECT ?, doc FROM requests WHERE id = ?", (new, old))

    def request(self, id: str) -> dict[str, Any] | None:
        """What an execution was started with, or None where somebody else started it."""
        row = self._db.one("SELECT doc FROM requests WHERE id = ?", (id,))
        return request_from(row[0], id) if row else None

    def with_request(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of these executions of which it is known what they were started with."""
        return frozenset(id for (id,) in self._of_many("SELECT id FROM requests WHERE id IN (%s)", ids))

    def forget(self, tree: str) -> None:
        """Remove a tree's records and what belongs to them; its history stays."""
        for table in ("looks", "frozen", "requests"):
            self._db.run(f"DELETE FROM {table} WHERE id IN (SELECT id FROM executions WHERE tree = ?)", (tree,))  # noqa: S608
        for table in ("rows", "inbox"):
            self._db.run(
                f"DELETE FROM {table} WHERE root IN "  # noqa: S608
                "(SELECT backend || ':' || engine_id FROM executions WHERE tree = ?)",
                (tree,),
            )
        self._db.run("DELETE FROM executions WHERE tree = ?", (tree,))


def _part(view: dict[str, Any] | None, id: str) -> dict[str, Any] | None:
    """The view of one execution within that of one above it."""
    waiting = [view] if view else []
    while waiting:
        found = waiting.pop()
        if found["id"] == id:
            return found
        waiting += [child for task in found["tasks"] for child in task["children"]]
    return None


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.id,
        record.tree,
        record.ref.backend,
        record.ref.id,
        int(record.parent is None),
        int(not record.superseded_by),
        str(record.status),
        record.workflow,
        record.actor,
        record.created,
        record_to(record),
    )


def _trees_with(statuses: Sequence[str]) -> str:
    marks = ",".join("?" * len(statuses))
    return f"SELECT tree FROM executions WHERE is_current = 1 AND status IN ({marks}) AND NOT {_IS_GONE}"  # noqa: S608


def _where(filter: Filter) -> tuple[str, list[Any]]:
    parts = ["is_current = 1"]
    values: list[Any] = []
    for sql, value in (
        ("backend = ?", filter.backend),
        ("workflow = ?", filter.workflow),
        ("actor = ?", filter.actor),
        ("created < ?", filter.before),
        ("created > ?", filter.after),
    ):
        if value is not None:
            parts.append(sql)
            values.append(value)
    if filter.roots:
        parts.append("root = 1")
    if filter.unfinished:
        parts.append(_IS_UNFINISHED)
        values.append(filter.unfinished)
    if filter.status:
        marks = ",".join("?" * len(filter.status))
        also = f" OR {_IS_GONE}" if GONE in filter.status else ""
        parts.append(f"((status IN ({marks}) AND (status IN ({_ENDED}) OR NOT {_IS_GONE})){also})")
        values += filter.status
    return " AND ".join(parts), values
