"""What a cancel takes back of a re-run or a skip whose calls no look shows yet (O5, O10).

A cancel makes no call that starts work. The calls of such an operation that lie at or below the execution that is
canceled are not made any more, nor those that make a task wait for what does not run again; a record that took over
only for their sake gives its place back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowbridge.law.decide import Action
from flowbridge.law.edges import not_shown
from flowbridge.law.verbs import ancestors, descendants
from flowbridge.model import Ref, Snapshot, WithdrawnCall


class Withdrawal(NamedTuple):
    """`steps` are the calls that stay; `places` the executions whose earlier record is the current one again;
    `awaited` the children that no task waits for anew after all; `sent`, by place, what may arrive all the same."""

    steps: tuple[Mapping[str, Any], ...]
    places: tuple[int, ...]
    awaited: tuple[int, ...]
    sent: Mapping[int, tuple[WithdrawnCall, ...]]


def pending(steps: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> dict[str, frozenset[str]]:
    """The tasks of such calls that a look does not show yet, by their execution's record."""
    found: dict[str, frozenset[str]] = {}
    for step in not_shown(steps, snapshot):
        found[step.record] = found.get(step.record, frozenset()) | {task.task for task in step.tasks}
    return found


def withdrawal(
    steps: Sequence[Mapping[str, Any]], reopened: Collection[str], snapshot: Snapshot, place: int, at: float
) -> Withdrawal | None:
    """What a cancel, `at` that time, of the execution at a place takes back of an operation; None where it is nothing.

    `reopened` are the records that took over for the operation.
    """
    inside = {snapshot.nodes[below].record.id for below in (place, *descendants(snapshot, place))}
    waiting = pending(steps, snapshot)
    dropped = {id: tasks for id, tasks in waiting.items() if id in inside}
    if not dropped:
        return None
    places = {node.record.id: where for where, node in enumerate(snapshot.nodes)}
    while True:
        kept, back = _left(steps, reopened, dropped, snapshot, places)
        idle = _idle_hosts(waiting, dropped, reopened, back, snapshot)
        if not idle:
            break
        dropped |= {id: dropped.get(id, frozenset()) | tasks for id, tasks in idle.items()}
    awaited = tuple(
        where
        for where, node in enumerate(snapshot.nodes)
        if node.record.awaited and node.parent >= 0 and _is_dropped(dropped, snapshot, where)
    )
    canceled = snapshot.nodes[place].record.ref
    return Withdrawal(kept, back, awaited, _sent(steps, dropped, places, canceled, at))


def _left(
    steps: Sequence[Mapping[str, Any]],
    reopened: Collection[str],
    dropped: Mapping[str, Collection[str]],
    snapshot: Snapshot,
    places: Mapping[str, int],
) -> tuple[tuple[Mapping[str, Any], ...], tuple[int, ...]]:
    """The calls that stay where others are dropped, and the places of the records that are not needed any more."""
    kept = tuple(left for step in steps if (left := _left_of(step, dropped.get(step["record"], ())))["tasks"])
    needed = {places[step["record"]] for step in kept if step["record"] in places}
    needed |= {above for where in needed for above in ancestors(snapshot, where)}
    return kept, tuple(where for id, where in places.items() if id in reopened and where not in needed)


def _idle_hosts(
    waiting: Mapping[str, Collection[str]],
    dropped: Mapping[str, Collection[str]],
    reopened: Collection[str],
    back: Collection[int],
    snapshot: Snapshot,
) -> Mapping[str, frozenset[str]]:
    """The tasks, by their execution's record, that were to wait for children elsewhere again, and need not: no call has
    made them do so yet, and none of these children runs again after all (X7)."""
    going: set[tuple[str, str]] = set()
    idle: set[tuple[str, str]] = set()
    for where, node in enumerate(snapshot.nodes):
        if node.record.awaited and node.parent >= 0 and node.record.id in reopened:
            waits = snapshot.nodes[node.parent].record.id, node.record.parent_task
            (idle if where in back else going).add(waits)
    found: dict[str, frozenset[str]] = {}
    for host, task in idle - going:
        if task in waiting.get(host, ()) and task not in dropped.get(host, ()):
            found[host] = found.get(host, frozenset()) | {task}
    return found


def _sent(
    steps: Iterable[Mapping[str, Any]],
    dropped: Mapping[str, Collection[str]],
    places: Mapping[str, int],
    canceled: Ref,
    at: float,
) -> Mapping[int, tuple[WithdrawnCall, ...]]:
    """What was sent of the calls that are taken back."""
    found: dict[int, tuple[WithdrawnCall, ...]] = {}
    for step in steps:
        gone = [task for task, *_ in step["tasks"] if task in dropped.get(step["record"], ())]
        if not gone or not step.get("sent"):
            continue
        place, skip = places[step["record"]], step["action"] == Action.SKIP
        calls = (WithdrawnCall(task, step["mark"][task], skip, canceled, at, step["sent"]) for task in gone)
        found[place] = (*found.get(place, ()), *calls)
    return found


def _left_of(step: Mapping[str, Any], dropped: Collection[str]) -> Mapping[str, Any]:
    return {**step, "tasks": [task for task in step["tasks"] if task[0] not in dropped]} if dropped else step


def _is_dropped(dropped: Mapping[str, Collection[str]], snapshot: Snapshot, place: int) -> bool:
    record = snapshot.nodes[place].record
    return record.parent_task in dropped.get(snapshot.nodes[snapshot.nodes[place].parent].record.id, ())
