"""What moves only while a bridge process drives a tree (O13)."""

from __future__ import annotations

from flowbridge.law.decide import Action, Step
from flowbridge.law.tables import ACTIVE
from flowbridge.model import Node, Snapshot


def linked(snapshot: Snapshot) -> frozenset[str]:
    """The records of the executions that the bridge links to their parents."""
    return frozenset(node.record.id for node in snapshot.nodes if node.record.key)


def follows(step: Step, links: frozenset[str]) -> bool:
    """Whether a step is taken by whoever looks, without anybody asking for it.

    So it is with what follows from holds and cancels (P6), and with the start and the report of linked children.
    """
    if step.action is Action.START:
        return step.record in links
    return step.action in (Action.PAUSE, Action.CANCEL, Action.REPORT)


def awaits_driver(snapshot: Snapshot) -> bool:
    """Whether somebody must go on looking: the end of an execution is to be told to a task on another engine."""
    return any(_is_awaited(snapshot, node) for node in snapshot.nodes if node.record.key and node.parent >= 0)


def _is_awaited(snapshot: Snapshot, node: Node) -> bool:
    parent = snapshot.nodes[node.parent]
    waits = node.record.awaited or any(waiting.key == node.record.key for waiting in parent.waiting)
    return waits and (node.record.status in ACTIVE or parent.record.status in ACTIVE)
