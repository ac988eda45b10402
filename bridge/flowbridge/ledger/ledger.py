"""The ledger as a whole: one file, and the parts that keep something in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from flowbridge.errors import DamagedRow, LedgerError, NotFound
from flowbridge.ledger.codec import document, record_from, request_from, tasks_from
from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Executions
from flowbridge.ledger.leases import Leases
from flowbridge.ledger.operations import TAKEN_BACK, Operation, Operations, operation_from
from flowbridge.ledger.rows import Rows, command_from
from flowbridge.model import Record
from flowbridge.vault import Vault

#: How the text of a row is read, by its table, where it is more than data.
_READ: Mapping[str, Callable[[str, str], object]] = {
    "executions": record_from,
    "operations": operation_from,
    "inbox": command_from,
    "looks": tasks_from,
    "requests": request_from,
}


class Ledger:
    """One ledger file, opened. For one thread at a time. Raises `LedgerError` where it cannot be used.

    `unwritten` is what stood in the way of writing down a look, "" where nothing did.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.database = Database(path, durable=durable)
        self.executions = Executions(self.database)
        self.operations = Operations(self.database)
        self.leases = Leases(self.database)
        self.rows = Rows(self.database)
        self.vault = Vault(path.with_name("vault.key"))
        self.unwritten = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.database.path

    @property
    def id(self) -> str:
        """Which ledger this is, among others that know the same engines."""
        return str(self.database.one("SELECT id FROM identity")[0])

    def tree_of(self, id: str, find: Callable[[str], Record]) -> str:
        """The tree of an execution, which the history knows although the record that `find` looks for may have been
        pruned. Raises what `find` raises."""
        try:
            return find(id).tree
        except NotFound:
            tree = self.operations.tree_of(id)
            if tree is None:
                raise
            return tree

    def reinstate(self, ids: Iterable[str], operation: Operation, at: float) -> Mapping[str, str]:
        """Take back records that took over from others, for an operation; gives whose place each had, and these are
        current again. The history keeps their ids: somebody may have been told."""
        with self.transaction():
            found = self.executions.reinstate(ids)
            for id, old in found.items():
                self.operations.note(
                    operation.tree, id, TAKEN_BACK, operation.actor, at, {"execution": old}, operation.id
                )
        return found

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside are written together or not at all."""
        return self.database.transaction()

    @contextmanager
    def if_possible(self) -> Iterator[None]:
        """Write what a look found. Where that cannot be done, or not soon, the look is good all the same; `unwritten`
        says why."""
        try:
            with self.database.hurried():
                yield
        except LedgerError as error:
            self.unwritten = error.message

    def damaged(self) -> Iterator[DamagedRow]:
        """What cannot be read of all that stands in the ledger, but for what engines keep in rows of their own: they
        tell it themselves. Takes the longer, the more there is."""
        for table in (*_READ, "frozen", "events"):
            key = "seq" if table == "events" else "id"
            for id, text in self.database.all(f"SELECT {key}, doc FROM {table} ORDER BY rowid"):  # noqa: S608
                try:
                    _READ[table](text, id) if table in _READ else document(table, id, text)
                except DamagedRow as error:
                    yield error

    def close(self) -> None:
        """Give the file back."""
        self.database.close()
