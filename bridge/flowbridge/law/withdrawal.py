"""What a cancel takes back of a re-run or a skip whose calls no look shows yet (O5, O10).

A cancel makes no call that starts work. The calls of such an operation that lie at or below the execution that is
canceled are not made any more, and a record that took over only for their sake gives its place back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flowbridge.law.edges import not_shown
from flowbridge.law.verbs import ancestors, descendants
from flowbridge.model import LateCall, Record, Ref, Snapshot


class Withdrawal(NamedTuple):
    """`steps` are the calls that stay; `places` the executions whose earlier record is the current one again;
    `awaited` the children that no task waits for anew after all; `sent`, by place, what may arrive all the same: the
    tasks, each with its `starts` before."""

    steps: tuple[Mapping[str, Any], ...]
    places: tuple[int, ...]
    awaited: tuple[int, ...]
    sent: Mapping[int, tuple[tuple[str, int], ...]]


def pending(steps: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> dict[str, frozenset[str]]:
    """The tasks of such calls that a look does not show yet, by their execution's record."""
    found: dict[str, frozenset[str]] = {}
    for step in not_shown(steps, snapshot):
        found[step.record] = found.get(step.record, frozenset()) | {task.task for task in step.tasks}
    return found


def withdrawal(
    steps: Sequence[Mapping[str, Any]], reopened: Collection[str], snapshot: Snapshot, place: int
) -> Withdrawal | None:
    """What a cancel of the execution at a place takes back of an operation; None where that is nothing.

    `reopened` are the records that took over for the operation.
    """
    inside = {snapshot.nodes[below].record.id for below in (place, *descendants(snapshot, place))}
    dropped = {id: tasks for id, tasks in pending(steps, snapshot).items() if id in inside}
    if not dropped:
        return None
    kept = tuple(left for step in steps if (left := _left_of(step, dropped.get(step["record"], frozenset())))["tasks"])
    places = {node.record.id: at for at, node in enumerate(snapshot.nodes)}
    needed = {places[step["record"]] for step in kept if step["record"] in places}
    needed |= {above for at in needed for above in ancestors(snapshot, at)}
    back = tuple(at for id, at in places.items() if id in reopened and at not in needed)
    awaited = tuple(
        at
        for at, node in enumerate(snapshot.nodes)
        if node.record.awaited and node.parent >= 0 and _is_dropped(dropped, snapshot, at)
    )
    return Withdrawal(kept, back, awaited, _sent(steps, dropped, places))


def with_late(record: Record, tasks: Iterable[tuple[str, int]], canceled: Ref, at: float) -> Record:
    """A record that calls for these tasks may still arrive for, which a cancel of `canceled` took back, `at` a time."""
    known = record.late.tasks if record.late is not None else ()
    return replace(record, asked=True, late=LateCall(tuple(dict.fromkeys((*known, *tasks))), canceled, at))


def _sent(
    steps: Iterable[Mapping[str, Any]], dropped: Mapping[str, Collection[str]], places: Mapping[str, int]
) -> Mapping[int, tuple[tuple[str, int], ...]]:
    """What was sent of the calls that are taken back."""
    found: dict[int, tuple[tuple[str, int], ...]] = {}
    for step in steps:
        id = step["record"]
        tasks = [task for task, *_ in step["tasks"] if task in dropped.get(id, ())] if step.get("sent") else []
        if tasks:
            found[places[id]] = (*found.get(places[id], ()), *((task, step["mark"][task]) for task in tasks))
    return found


def _left_of(step: Mapping[str, Any], dropped: Collection[str]) -> Mapping[str, Any]:
    return {**step, "tasks": [task for task in step["tasks"] if task[0] not in dropped]} if dropped else step


def _is_dropped(dropped: Mapping[str, Collection[str]], snapshot: Snapshot, place: int) -> bool:
    record = snapshot.nodes[place].record
    return record.parent_task in dropped.get(snapshot.nodes[snapshot.nodes[place].parent].record.id, ())
