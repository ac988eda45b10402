"""What is re-opened with a task that is run again, up to the root and across engines (X2, X7, X8).

Inside one engine the engine re-opens the ancestors itself. Where a child lives elsewhere, its parent's task is run
again, so that it waits anew, and what it waits for is the child that is re-opened. Items beside it that are over are
told once more, and nothing of them runs a second time (X6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from flowbridge.capabilities import Cascade, PartialRerun
from flowbridge.errors import Rejected, Unsupported
from flowbridge.law.fold import Facts
from flowbridge.law.verbs import Effect, ancestors, describe
from flowbridge.model import Snapshot, Status, TaskLook, TaskRerun, TaskStatus, Verb, Want

#: place -> task id -> how that task is run again.
Tasks = dict[int, dict[str, TaskRerun]]


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
    waiting: Tasks = {}
    awaited: set[int] = set()
    children = children_by_task(snapshot)
    for place in found:
        node = snapshot.nodes[place]
        if node.parent < 0:
            continue
        if node.record.native:
            _reject_unless_opens_up(snapshot, place, facts)
            continue
        _reject_unless_waits_again(snapshot, place, facts)
        task = _task(snapshot, node.parent, node.record.parent_task)
        _reject_unless_errored(snapshot, place, task)
        beside = children[node.parent, task.id]
        _reject_unless_latest(snapshot, place, beside)
        again = _again(snapshot, node.parent, task, facts)
        waiting.setdefault(node.parent, {})[task.id] = again
        told = {at for at in beside if at not in found and (again.reset or not _succeeded(snapshot, at))}
        _reject_gone(snapshot, told)
        awaited |= told | found.intersection(beside)
    return Reopening(tuple(sorted(found)), waiting, frozenset(awaited))


def keeping(snapshot: Snapshot, tasks: Tasks, facts: Facts) -> frozenset[int]:
    """The children whose results are told once more, where an engine runs all items of a task whose good ones are kept.

    Turns those re-runs in `tasks` into whole ones: what would run a second time lives elsewhere, and is not started.
    """
    kept: set[int] = set()
    children = children_by_task(snapshot)
    for place, named in tasks.items():
        partial = facts[snapshot.nodes[place].record.ref.backend].partial_rerun
        for again in [one for one in named.values() if not one.reset and partial is not PartialRerun.YES]:
            if is_linked(snapshot, place, _task(snapshot, place, again.task)):
                named[again.task] = TaskRerun(again.task)
                kept |= {at for at in children[place, again.task] if _succeeded(snapshot, at)}
    _reject_gone(snapshot, kept)
    return frozenset(kept)


def is_linked(snapshot: Snapshot, place: int, task: TaskLook) -> bool:
    """Whether every child of a task lives elsewhere, linked by the bridge, and there is one."""
    children = children_by_task(snapshot).get((place, task.id), ())
    return bool(children) and all(not snapshot.nodes[at].record.native for at in children)


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


def _task(snapshot: Snapshot, place: int, id: str) -> TaskLook:
    task = next((task for task in snapshot.nodes[place].tasks if task.id == id), None)
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


def _reject_unless_latest(snapshot: Snapshot, place: int, beside: Collection[int]) -> None:
    """Of several children of one item only the latest is waited for (X5)."""
    if place not in beside:
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
        raise Unsupported(f"re-opening {describe(node)} is unsupported: nothing can re-open {above} above it (X7).")


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
