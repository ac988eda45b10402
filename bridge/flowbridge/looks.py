"""What a look at one execution gives to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowbridge.errors import NotFound
from flowbridge.ledger.operations import Operation
from flowbridge.model import Record, Snapshot


@dataclass(frozen=True, slots=True)
class Look:
    """One execution with its tree, freshly seen.

    `place` is the execution's place in `snapshot`. `silent` maps instances that did not answer to what they said;
    their executions are shown as last seen, at `Record.looked`. `open` lists operations that are not finished.
    `frozen` is set for a superseded execution only: its tree as it stood (X2), in the shape of `treeviews.tree_view`;
    `snapshot` then holds its record alone. `waits_for_driver` tells that something of the tree moves only while a
    bridge process drives it, and that none does (O13).
    """

    snapshot: Snapshot
    place: int
    silent: Mapping[str, str] = field(default_factory=dict)
    open: tuple[Operation, ...] = ()
    frozen: Mapping[str, Any] | None = None
    waits_for_driver: bool = False

    @property
    def record(self) -> Record:
        """The execution's record."""
        return self.snapshot.nodes[self.place].record


def place_of(snapshot: Snapshot, ids: Sequence[str]) -> int:
    """The place of a record, or of one that took over from it while it was being looked at."""
    for place, node in enumerate(snapshot.nodes):
        if node.record.id in ids:
            return place
    raise NotFound(f"execution {ids[0]} is no longer in its tree")


def shape(look: Look) -> object:
    """What a watcher compares to know that something changed."""
    return [
        (
            node.record.id,
            node.record.status,
            node.reachable,
            node.hung,
            node.record.trouble and node.record.trouble[:2],
            [(task.id, task.status, task.active, task.starts) for task in node.tasks],
        )
        for node in look.snapshot.nodes
    ]
