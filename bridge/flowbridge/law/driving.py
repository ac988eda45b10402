"""What moves only while a bridge process drives a tree (O13)."""

from __future__ import annotations

from flowbridge.law.decide import Action, Step
from flowbridge.law.tables import ACTIVE, TERMINAL
from flowbridge.model import EngineState, Node, Record, Snapshot, Want


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


def waits_for(snapshot: Snapshot, node: Node) -> str:
    """What a linked execution waits for, in words; "" where it waits for nothing."""
    if not node.record.key or node.parent < 0:
        return ""
    parent = snapshot.nodes[node.parent].record
    if node.record.awaited:
        return "the task above it to wait for it again (X7)"
    if node.state is EngineState.ABSENT:
        return {Want.RUN: "its start", Want.HOLD: "its start, at the resume (P6)"}.get(node.record.want, "")
    over = node.record.status in TERMINAL or node.record.gone
    if not over or not any(waiting.key == node.record.key for waiting in snapshot.nodes[node.parent].waiting):
        return ""
    if _held(parent):
        return f"the resume of {parent.workflow or parent.id}, to tell its end (R3)"
    return "its end to be told"


def _held(record: Record) -> bool:
    return record.want is Want.HOLD and record.status not in TERMINAL


def _is_awaited(snapshot: Snapshot, node: Node) -> bool:
    parent = snapshot.nodes[node.parent]
    waits = node.record.awaited or any(waiting.key == node.record.key for waiting in parent.waiting)
    return waits and (node.record.status in ACTIVE or parent.record.status in ACTIVE)
