"""How an operation ends: what the history says of it once there is nothing left to do, or nothing more can be done."""

from __future__ import annotations

import time
from collections.abc import Mapping

from flowbridge.carry import Progress
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State
from flowbridge.model import EngineState, Node, Snapshot, Verb
from flowbridge.outcome import ended_first


def end(ledger: Ledger, operation: Operation, progress: Progress) -> Operation:
    """Close an operation that was carried so far; gives it as it now stands. One that goes on later stays open."""
    operation = ledger.operations.get(operation.id)
    if progress.open or operation.state is not State.OPEN:
        return operation
    if operation.verb == Verb.RECOVER:
        return end_recovery(ledger, operation, progress.found.snapshot)
    not_done = {**_refused_before(operation, progress), **progress.not_done}
    state = State.FAILED if not_done else State.DONE
    first = ended_first(progress.found.snapshot, operation.options.get("before", ()), operation.verb)
    late = "".join(f"; {id} ended first: {status}" for id, status in first.items())
    done = "written down to be started anew" if _starts_anew(operation) else f"done{late}"
    if by := operation.options.get("taken_back"):
        done += f"; the rest of it was taken back by cancel {by}"
    outcome = "; ".join(f"{id}: {why}" for id, why in not_done.items()) or done
    with ledger.transaction():
        ended = ledger.operations.end(operation, state, outcome, time.time())
        if operation.verb == Verb.START and _never_was(ledger, operation, progress):
            ledger.executions.forget(operation.tree)
    return ended


def end_recovery(ledger: Ledger, operation: Operation, snapshot: Snapshot) -> Operation:
    """Close the recovery of one execution by what a look shows of it, be the command that asked for it alive or not.

    Where its engine does not answer it stays open.
    """
    node = next((node for node in snapshot.nodes if node.record.id == operation.target), None)
    if node is not None and not node.reachable:
        return operation
    left = _still(node, operation) if node is not None else ""
    state = State.FAILED if left else State.DONE
    return ledger.operations.end(operation, state, left or f"done{_assumed(operation)}", time.time())


def _assumed(operation: Operation) -> str:
    """What a recovery took for the end of tasks that nobody saw (S6)."""
    unseen = ", ".join(operation.options.get("unseen", ()))
    taken = "run again" if operation.options.get("assume") == "rerun" else "taken as failed"
    return f"; nobody saw how {unseen} ended: {taken}" if unseen else ""


def _still(node: Node, operation: Operation) -> str:
    """What a recovery was to mend and is still so; "" where it is mended."""
    if "end_hung" in operation.options:
        return f"it is still hung: {node.hung}" if node.hung else ""
    why = f": {node.error}" if node.error else ""
    return f"it is still abandoned{why}" if node.state is EngineState.ABANDONED else ""


def _never_was(ledger: Ledger, operation: Operation, progress: Progress) -> bool:
    """Whether an engine refused a start, so that there never was such an execution."""
    return operation.target in progress.refused and not ledger.executions.get(operation.target).looked


def _refused_before(operation: Operation, progress: Progress) -> Mapping[str, str]:
    """What engines refused before a crash, as far as it was taken back then and not sent again since."""
    sent = {record for record, _ in progress.sent} | set(progress.not_done)
    return {id: why for id, why in operation.options.get("refused", {}).items() if id not in sent}


def _starts_anew(operation: Operation) -> bool:
    """Whether it is a re-run from the beginning: what it does is the start of another execution (X1)."""
    return operation.verb == Verb.RERUN and not operation.options.get("tasks")
