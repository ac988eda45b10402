"""What is re-opened with a task that is run again, up to the root and across engines (X2, X7, X8).

Inside one engine the engine re-opens the ancestors itself. Where a child lives elsewhere, its parent's task is run
again, so that it waits anew, and what it waits for is the child that is re-opened. Items beside it that are over are
told once more, and nothing of them runs a second time (X6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from flowbridge.capabilities import Cascade, PartialRerun
from flowbridge.errors import Rejected, Unsupported
from flowbridge.law.fold import Facts
from flowbridge.law.verbs import Effect, ancestors, describe
from flowbridge.model import Snapshot, Status, TaskLook, TaskRerun, TaskStatus, Verb, Want

#: place -> task id -> how that task is run again.
Tasks = dict[int, dict[str, TaskRerun]]

#: (place, task id) -> the places of its children, of each item the latest only (X5).
Children = Mapping[tuple[int, str], list[int]]


class Reopening(NamedTuple):
    """The executions that are re-opened, the tasks that wait anew for those among them that live elsewhere, and the
    children that these tasks wait for."""

    places: tuple[int, ...]
    waiting: Tasks
    awaited: frozenset[int]

    def effect(self, rerun: Mapping[int, tuple[TaskRerun, ...]], kept: frozenset[int] = frozenset()) -> Effect:
        """What that changes, with the tasks to run again and further children that are told once more."""
        wants = dict.fromkeys(self.places, Want.RUN)
        return Effect(wants=wants, reopened=self.places, rerun=rerun, awaited=self.awaited | kept)


def reopened(snapshot: Snapshot, places: Iterable[int], facts: Facts, verb: Verb) -> Reopening:
    """What is re-opened where tasks of the executions at `places` are run again or skipped. Raises `Unsupported`."""
    found: set[int] = set()
    for place in places:
        _reject_without(snapshot, place, facts, verb)
        found |= {place, *ancestors(snapshot, place)}
    children = children_by_task(snapshot)
    waits = _tasks_that_wait(snapshot, found, children, facts)
    shown = {parent: {task.id: task for task in snapshot.nodes[parent].tasks} for parent, _ in waits}
    waiting: Tasks = {}
    awaited: set[int] = set()
    for (parent, id), place in waits.items():
        task = _task(snapshot, parent, shown[parent].get(id))
        _reject_unless_errored(snapshot, place, task)
        again = _again(snapshot, parent, task, facts)
        waiting.setdefault(parent, {})[id] = again
        beside = children[parent, id]
        told = {at for at in beside if at not in found and (again.reset or not _succeeded(snapshot, at))}
        _reject_gone(snapshot, told)
        awaited |= told | found.intersection(beside)
    return Reopening(tuple(sorted(found)), waiting, frozenset(awaited))


def _tasks_that_wait(
    snapshot: Snapshot, found: Iterable[int], children: Children, facts: Facts
) -> dict[tuple[int, str], int]:
    """(place, task id) -> one of the children that it waits for anew, of all tasks with such a child elsewhere.

    A task is gone through once, however many of its children are re-opened.
    """
    latest = {at for beside in children.values() for at in beside}
    waits: dict[tuple[int, str], int] = {}
    for place in found:
        node = snapshot.nodes[place]
        if node.parent < 0:
            continue
        above = (node.parent, node.record.parent_task)
        if place not in latest:
            _reject_older(snapshot, place, children[above])
        if node.record.native:
            _reject_unless_opens_up(snapshot, place, facts)
            continue
        _reject_unless_waits_again(snapshot, place, facts)
        waits.setdefault(above, place)
    return waits


def keeping(snapshot: Snapshot, tasks: Tasks, facts: Facts) -> frozenset[int]:
    """The children whose results are told once more, where an engine runs all items of a task whose good ones are kept.

    Turns those re-runs in `tasks` into whole ones: what would run a second time lives elsewhere, and is not started.
    """
    kept: set[int] = set()
    children = children_by_task(snapshot)
    for place, named in tasks.items():
        partial = facts[snapshot.nodes[place].record.ref.backend].partial_rerun
        for again in [one for one in named.values() if not one.reset and partial is not PartialRerun.YES]:
            if is_linked(snapshot, children, place, again.task):
                named[again.task] = TaskRerun(again.task)
                kept |= {at for at in children[place, again.task] if _succeeded(snapshot, at)}
    _reject_gone(snapshot, kept)
    return frozenset(kept)


def is_linked(snapshot: Snapshot, children: Children, place: int, task: str) -> bool:
    """Whether every child of a task, given by its id, lives elsewhere, linked by the bridge, and there is one."""
    found = children.get((place, task), ())
    return bool(found) and all(not snapshot.nodes[at].record.native for at in found)


def children_by_task(snapshot: Snapshot) -> dict[tuple[int, str], list[int]]:
    """(place, task id) -> its children, of each item the latest only (X5)."""
    latest: dict[tuple[int, str, int | None], int] = {}
    for place, node in enumerate(snapshot.nodes):
        if node.parent >= 0:
            latest[node.parent, node.record.parent_task, node.record.item] = place
    found: dict[tuple[int, str], list[int]] = {}
    for (parent, task, _), place in latest.items():
        found.setdefault((parent, task), []).append(place)
    return found


def _again(snapshot: Snapshot, place: int, task: TaskLook, facts: Facts) -> TaskRerun:
    """How a task waits anew: only for what failed where its engine can, else for all its items."""
    whole = task.items is None or facts[snapshot.nodes[place].record.ref.backend].partial_rerun is not PartialRerun.YES
    return TaskRerun(task.id, reset=whole)


def _succeeded(snapshot: Snapshot, place: int) -> bool:
    return snapshot.nodes[place].record.status is Status.SUCCEEDED


def _task(snapshot: Snapshot, place: int, task: TaskLook | None) -> TaskLook:
    if task is None:
        raise Unsupported(f"{describe(snapshot.nodes[place])} no longer shows the task that waited for it (X7).")
    return task


def _reject_unless_errored(snapshot: Snapshot, place: int, task: TaskLook) -> None:
    """Only an errored task can wait a second time: one that was skipped, say, has gone on (K1, X8)."""
    if task.status is not TaskStatus.ERRORED:
        node = snapshot.nodes[place]
        raise Rejected(
            f"{describe(node)} cannot be re-opened: task {task.name} above it, in "
            f"{describe(snapshot.nodes[node.parent])}, is {task.status}, and only an errored one can wait for it a "
            f"second time (X8).",
            rule="X8",
            reason="task_not_errored",
            execution=node.record.id,
        )


def _reject_older(snapshot: Snapshot, place: int, beside: Iterable[int]) -> NoReturn:
    """Of several children of one item the latest is meant, whatever name it is given (X5, X8)."""
    node = snapshot.nodes[place]
    newer = next(snapshot.nodes[at].record for at in beside if snapshot.nodes[at].record.item == node.record.item)
    raise Rejected(
        f"{describe(node)} cannot be re-opened: the task above it has a newer child, {newer.id} (X8).",
        rule="X8",
        reason="has_a_newer_one",
        execution=node.record.id,
    )


def _reject_gone(snapshot: Snapshot, places: Iterable[int]) -> None:
    """The result of a child that its engine no longer has cannot be told once more (S7)."""
    for place in places:
        node = snapshot.nodes[place]
        if node.record.gone and _succeeded(snapshot, place):
            raise Rejected(
                f"the result of {describe(node)} is to be kept, and {node.record.ref.backend} no longer has it (X6, "
                "S7). Re-run the whole task without --no-reset.",
                rule="X6",
                reason="kept_result_gone",
                execution=node.record.id,
            )


def _reject_unless_opens_up(snapshot: Snapshot, place: int, facts: Facts) -> None:
    """An engine that links a parent to its child re-opens both, or neither can be."""
    node = snapshot.nodes[place]
    if Cascade.RERUN_UP not in facts[node.record.ref.backend].cascades:
        above = describe(snapshot.nodes[node.parent])
        raise Unsupported(
            f"re-opening {describe(node)} is unsupported: its engine does not re-open {above} above it (X8)."
        )


def _reject_without(snapshot: Snapshot, place: int, facts: Facts, verb: Verb) -> None:
    node = snapshot.nodes[place]
    if verb not in facts[node.record.ref.backend].verbs:
        raise Unsupported(
            f"{verb} of {describe(node)} is unsupported: the engine of {node.record.ref.backend} cannot do it."
        )


def _reject_unless_waits_again(snapshot: Snapshot, place: int, facts: Facts) -> None:
    """A parent on another engine waits again only where that engine hosts children and can re-run the task."""
    above = snapshot.nodes[snapshot.nodes[place].parent]
    fact = facts[above.record.ref.backend]
    if not fact.hosts_children or Verb.RERUN not in fact.verbs:
        raise Unsupported(
            f"re-opening {describe(snapshot.nodes[place])} is unsupported: {describe(above)} above it cannot wait for "
            f"it a second time, because the engine of {above.record.ref.backend} cannot re-run its task (X7)."
        )
