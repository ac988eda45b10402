"""Telling hook plugins what happened, each from where it was last told (at least once, numbered)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from flowbridge.errors import DamagedRow, NotFound
from flowbridge.hookspecs import Change
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Entry
from flowbridge.model import Record
from flowbridge.plugins import Hooks
from flowbridge.sync import TASK_ENDED


class Observers:
    """The hook plugins of a process, loaded when they are first needed, and how far each was told the history."""

    def __init__(self, ledger: Ledger, required: Iterable[str]) -> None:
        self._ledger = ledger
        self._required = tuple(required)
        self._hooks: Hooks | None = None

    @property
    def hooks(self) -> Hooks:
        """The plugins. One that was never seen before is told nothing of the past."""
        if self._hooks is None:
            self._hooks = Hooks(self._required)
            with self._ledger.if_possible():
                for plugin in self._hooks.observers:
                    self._ledger.operations.begin_cursor(_cursor(plugin))
        return self._hooks

    def tell(self) -> None:
        """Tell what happened since they were last told; after a crash the last thing is told again."""
        for plugin in self.hooks.observers:
            for entry in self._ledger.operations.history(after=self._ledger.operations.cursor(_cursor(plugin))):
                with suppress(DamagedRow):  # what it is about cannot be read; it tells so wherever it is asked for
                    self._tell_of(plugin, entry)
                self._ledger.operations.move_cursor(_cursor(plugin), entry.seq)

    def _tell_of(self, plugin: str, entry: Entry) -> None:
        if entry.kind == "outcome":
            operation = self._ledger.operations.get(entry.operation)
            self.hooks.tell(plugin, "flowbridge_after_operation", operation=operation)
        elif entry.kind == TASK_ENDED:
            with suppress(NotFound):  # the record was pruned since
                execution = self._ledger.executions.get(entry.execution)
                self.hooks.tell(plugin, "flowbridge_task_ended", execution=execution, number=entry.seq, **entry.doc)
        elif "new" in entry.doc and entry.doc["old"] != entry.doc["new"]:
            with suppress(NotFound):  # the record was pruned since
                execution = self._ledger.executions.get(entry.execution)
                self.hooks.tell(
                    plugin,
                    "flowbridge_status_changed",
                    execution=execution,
                    old=entry.doc["old"],
                    new=entry.doc["new"],
                    number=entry.seq,
                    change=self._change(entry, execution),
                )

    def _change(self, entry: Entry, execution: Record) -> Change:
        above = self._ledger.executions.current(execution.parent) if execution.parent else None
        return Change(
            at=entry.at,
            actor=entry.actor,
            operation=self._ledger.operations.get(entry.operation) if entry.operation else None,
            engine_state=entry.doc.get("engine_state", ""),
            parent=above.id if above else "",
        )


def _cursor(plugin: str) -> str:
    return f"hooks:{plugin}"
