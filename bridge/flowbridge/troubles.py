"""Calls that nobody asked for and that fail: what is known of them, when they are tried again, what the history says.

Whoever looks after a tree makes calls that follow from what is wanted: starts and reports of linked children, pauses
and cancels of what was born late (P6). No person waits for these at a terminal, so what stands in their way is kept
with the record: every look shows it until the call succeeds or is not due any more. The history tells of it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flowbridge.errors import EngineError, FlowbridgeError, InvalidInput, LedgerError
from flowbridge.law.fold import ENGINE
from flowbridge.ledger.operations import Operations
from flowbridge.model import Record, Snapshot, Trouble

#: The kind of an entry of the history that tells of a call that fails, or that this is over.
TROUBLE = "trouble"

#: What `Trouble.call` says where it cannot even be told yet what a task waits for.
LINK = "link"

#: What is left to be tried again. Anything else is no matter of one call.
TRIED_AGAIN = (EngineError, InvalidInput, LedgerError)

_FIRST_REST, _LONGEST_REST = 1.0, 60.0


def failed(record: Record, call: str, error: FlowbridgeError, at: float) -> Record:
    """A record whose call has failed, at `at`; how long it has been failing is kept."""
    before = record.trouble
    if before is None or before.call != call:
        return replace(record, trouble=Trouble(call, error.message, at, at))
    return replace(record, trouble=Trouble(call, error.message, before.since, at, before.tries + 1))


def rests(record: Record, call: str, at: float) -> bool:
    """Whether a call that has failed is not to be tried again yet: each time for twice as long, a minute at most."""
    trouble = record.trouble
    if trouble is None or trouble.call != call:
        return False
    return at < trouble.last + min(_FIRST_REST * 2.0 ** min(trouble.tries - 1, 10), _LONGEST_REST)


def no_longer_due(snapshot: Snapshot, due: Iterable[tuple[str, str]]) -> list[Record]:
    """The records whose failing call a look does not ask for any more. What no engine shows is left as it is."""
    wanted = set(due)
    over = []
    for node in snapshot.nodes:
        trouble, above = node.record.trouble, snapshot.nodes[node.parent] if node.parent >= 0 else node
        if trouble is None or trouble.call == LINK or (node.record.id, trouble.call) in wanted:
            continue
        if node.reachable and above.reachable:
            over.append(node.record)
    return over


def note(operations: Operations, before: Record | None, after: Record, at: float) -> None:
    """Put into the history that a call of a record began to fail, or that this is over. Each try is not told."""
    old, new = before.trouble if before else None, after.trouble
    if old is not None and (new is None or new.call != old.call):
        operations.note(after.tree, after.id, TROUBLE, ENGINE, at, {"call": old.call, "over": True, "tries": old.tries})
    if new is not None and (old is None or new.call != old.call):
        operations.note(after.tree, after.id, TROUBLE, ENGINE, at, {"call": new.call, "error": new.why})


def with_records(snapshot: Snapshot, records: Iterable[Record]) -> Snapshot:
    """A snapshot with some records as they are now."""
    by_id = {record.id: record for record in records}
    if not by_id:
        return snapshot
    return Snapshot(
        tuple(
            replace(node, record=by_id[node.record.id]) if node.record.id in by_id else node for node in snapshot.nodes
        )
    )
