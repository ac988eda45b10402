"""What moves only while a bridge process drives a tree (O13)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from flowbridge.law.decide import Action, Step, late_call, late_want, may_arrive, may_arrive_as, to_report
from flowbridge.law.tables import ACTIVE, TERMINAL
from flowbridge.model import EngineState, Node, Record, Ref, Snapshot, WaitingChild, Want

#: For how long, in seconds, a re-run or a skip that a cancel took back may arrive: behind that, somebody else made it
#: (O12). A start is told by its id for good; but this long, a driver stays for nothing but what may still arrive.
LATE_SECONDS = 86_400.0

#: What is done with what arrives late, by what is wanted.
_LATE = {Want.HOLD: "hold it then (P6)", Want.CANCEL: "cancel it then (C1)"}


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


def awaits_driver(snapshot: Snapshot, *, since: float = 0.0) -> bool:
    """Whether somebody must go on looking at a tree that links engines: the end of an execution is to be told to a task
    on another one, or what was asked for after `since` (seconds since the epoch), and is held or canceled, may still
    arrive."""
    nodes = snapshot.nodes
    waits = zip(nodes, snapshot.waited_for(), strict=True)
    linked = [
        (node, nodes[node.parent].record, waited) for node, waited in waits if node.record.key and node.parent >= 0
    ]
    if any(_is_awaited(node.record, above, waited=waited) for node, above, waited in linked):
        return True
    return bool(linked) and any(may_arrive(node) and _asked_at(node.record) > since for node in nodes)


def awaits_driver_as_known(
    records: Sequence[Record], waiting: Mapping[str, Sequence[WaitingChild]], *, since: float = 0.0
) -> bool:
    """The same of the records of a tree, with what waited in each of them when it was last seen."""
    by_ref: dict[Ref | None, Record] = {record.ref: record for record in records}
    linked = [(record, by_ref[record.parent]) for record in records if record.key and record.parent in by_ref]
    keys = {id: frozenset(each.key for each in found) for id, found in waiting.items()}
    if any(_is_awaited(record, above, waited=record.key in keys.get(above.id, ())) for record, above in linked):
        return True
    late = (record for record in records if may_arrive_as(record, record.seen) and not record.gone)
    return bool(linked) and any(_asked_at(record) > since for record in late)


def _asked_at(record: Record) -> float:
    """When what may still arrive was asked for, or was taken back."""
    return max((call.at for call in record.withdrawn), default=record.created)


def tells_last_ends(snapshot: Snapshot) -> bool:
    """Whether an execution has ended while the end of one below it is about to be told to its task (C2).

    Not so where that call fails, or an engine does not answer: then it may take any time.
    """
    waited = zip(snapshot.nodes, snapshot.waited_for(), strict=True)
    return any(_is_told_soon(node, snapshot.nodes[node.parent]) for node, is_waited_for in waited if is_waited_for)


def waits_for(snapshot: Snapshot) -> list[str]:
    """For every node what it waits for where it is linked, or was canceled; in words, "" where for nothing."""
    nodes = snapshot.nodes
    return [
        _waits_for(node, snapshot, waited=waited) for node, waited in zip(nodes, snapshot.waited_for(), strict=True)
    ]


def _waits_for(node: Node, snapshot: Snapshot, *, waited: bool) -> str:
    if may_arrive(node):
        return f"{late_call(node.record)}, which may still arrive, to {_LATE[late_want(node.record)]}"
    if not node.record.key or node.parent < 0:
        return ""
    parent = snapshot.nodes[node.parent].record
    if parent.gone:
        return ""
    if node.record.awaited:
        return "the task above it to wait for it again (X7)"
    if node.state is EngineState.ABSENT:
        return {Want.RUN: "its start", Want.HOLD: "its start, at the resume (P6)"}.get(node.record.want, "")
    over = node.record.status in TERMINAL or node.record.gone
    if not over or not waited:
        return ""
    if _held(parent):
        return f"the resume of {parent.workflow or parent.id}, to tell its end (R3)"
    return "its end to be told"


def done_with(records: Sequence[Record], waiting: Mapping[str, Collection[str]]) -> frozenset[Ref]:
    """The linked executions that nothing is to be done for any more, and what is below them.

    Such a one has ended, all below it too, and no task waits for it: its end was told, and a look has shown that its
    parent's engine took that, or its parent is gone. One that was canceled while a call of it may still arrive is not.
    `waiting` holds the keys of the actions that wait, by the record of their host, as last seen. Records of one tree,
    in any order.
    """
    by_ref: dict[Ref | None, Record] = {record.ref: record for record in records}
    below: dict[Ref | None, list[Record]] = {}
    for record in records:
        below.setdefault(record.parent, []).append(record)
    over: dict[Ref, bool] = {}
    for record in reversed(_downwards(below)):
        children = below.get(record.ref, ())
        told = not record.key or _was_told(record, by_ref.get(record.parent), waiting)
        ended = (record.status in TERMINAL or record.gone) and not record.awaited and record.trouble is None
        ended = ended and not record.asked
        over[record.ref] = ended and told and all(over[child.ref] for child in children)
    found: set[Ref] = set()
    for record in _downwards(below):
        if over[record.ref] and (record.key or record.parent in found):
            found.add(record.ref)
    return frozenset(found)


def apart_from(records: Sequence[Record], concerned: Collection[str]) -> frozenset[Ref]:
    """The executions of a tree that need not be asked for where only some are concerned, by the ids of their records.

    Asked for are the native trees that those are in, and those above them. Records of one tree, in any order.
    """
    below: dict[Ref | None, list[Record]] = {}
    for record in records:
        below.setdefault(record.parent, []).append(record)
    roots: dict[Ref | None, Ref] = {}
    above: dict[Ref, Ref | None] = {}
    for record in _downwards(below):
        own = roots[record.ref] = roots[record.parent] if record.native and record.parent in roots else record.ref
        if own == record.ref:
            above[own] = roots.get(record.parent)
    asked: set[Ref | None] = {None}
    for record in records:
        root = roots.get(record.ref) if record.id in concerned else None
        while root not in asked:
            asked.add(root)
            root = above[root] if root is not None else None
    return frozenset(record.ref for record in records if roots.get(record.ref) not in asked)


def _was_told(record: Record, parent: Record | None, waiting: Mapping[str, Collection[str]]) -> bool:
    """Whether no action waits for a linked execution any more. One whose host was never seen may yet be waited for."""
    if parent is None:
        return False
    return parent.gone or record.key not in waiting.get(parent.id, (record.key,))


def _downwards(below: Mapping[Ref | None, Sequence[Record]]) -> list[Record]:
    """Parents before their children."""
    found = list(below.get(None, ()))
    for record in found:
        found += below.get(record.ref, ())
    return found


def _held(record: Record) -> bool:
    return record.want is Want.HOLD and record.status not in TERMINAL


def _is_told_soon(node: Node, above: Node) -> bool:
    ended = above.record.status in TERMINAL
    return ended and node.reachable and node.record.trouble is None and to_report(node, above)


def _is_awaited(record: Record, parent: Record, *, waited: bool) -> bool:
    if parent.gone:
        return False  # nobody is left to be told (S7)
    return (record.awaited or waited) and (record.status in ACTIVE or parent.status in ACTIVE)
