"""Re-run and skip: the records that take over, and the calls that happen once (X2, K1, O3).

What is wanted is a level, and looks bring the engines to it; a re-run is an edge. Each call keeps a mark of what was
seen before it, and is done when a look shows what the mark did not know: a crash before or after it loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowbridge.law.decide import Action, Step
from flowbridge.law.tables import ENDED, TASK_OVER, TERMINAL
from flowbridge.law.verbs import Effect, ancestors
from flowbridge.model import EngineState, Node, Record, Snapshot, TaskLook, TaskRerun, TaskStatus, Want


def reopened(snapshot: Snapshot, effect: Effect, new_id: Callable[[], str], at: float) -> Snapshot:
    """The snapshot with a new record, made `at` that time, for each execution that is re-opened, holds cleared (X2).

    What was told as canceled to a task of one of them, because a cancel took its re-run back, is told as it ended.
    """
    nodes = list(snapshot.nodes)
    for place, node in enumerate(nodes):
        if node.record.taken_back and node.parent in effect.reopened:
            nodes[place] = replace(node, record=replace(node.record, taken_back=False))
    for place in effect.reopened:
        record = nodes[place].record
        cleared = replace(record, want=Want.RUN, held_by="", resumed_at=None, trouble=None, taken_back=False)
        nodes[place] = replace(nodes[place], record=replace(cleared, id=new_id(), rerun_of=record.id, created=at))
    return Snapshot(tuple(nodes))


def once_steps(snapshot: Snapshot, effect: Effect) -> tuple[dict[str, Any], ...]:
    """The calls that happen once, deepest execution first, each with the mark of what was seen before."""
    steps = []
    for place in sorted({*effect.rerun, *effect.skip}, reverse=True):
        node = snapshot.nodes[place]
        rerun = [list(task) for task in effect.rerun.get(place, ())]
        skip = [[id, True] for id in effect.skip.get(place, ())]
        for action, tasks in ((Action.RERUN, rerun), (Action.SKIP, skip)):
            ids = {task[0] for task in tasks}
            mark = {task.id: task.starts for task in node.tasks if task.id in ids}
            if tasks:
                steps.append({"action": str(action), "record": node.record.id, "tasks": tasks, "mark": mark})
    return tuple(steps)


def not_shown(steps: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> list[Step]:
    """Those of such calls that a look does not show yet, each with the tasks that it does not show."""
    nodes = {node.record.id: node for node in snapshot.nodes}
    found = []
    for step in steps:
        node = nodes.get(step["record"])
        if node is None or node.state is EngineState.GONE:
            continue
        known = {task.id: task for task in node.tasks}
        tasks = tuple(TaskRerun(*task) for task in step["tasks"] if not _shown(step, known.get(task[0])))
        if any(task.task in known for task in tasks):
            found.append(Step(Action(step["action"]), node.record.id, node.record.ref, node.revision, tasks))
    return found


def without_idle_waits(steps: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> Snapshot:
    """The snapshot without the marks of children whose parent's task does not wait for them any more (X7).

    `steps` are the calls that may still make it wait. Otherwise it waits no more once each run of it that its engine
    shows is over: it ended before it came to wait, or was never run again.
    """
    nodes = list(snapshot.nodes)
    again = {(step.record, task.task) for step in not_shown(steps, snapshot) for task in step.tasks}
    for place, node in enumerate(nodes):
        if node.record.awaited and node.parent >= 0 and _is_idle(nodes[node.parent], node.record.parent_task, again):
            nodes[place] = replace(node, record=replace(node.record, awaited=False, taken_back=False))
    return Snapshot(tuple(nodes))


def _is_idle(parent: Node, task: str, again: Container[tuple[str, str]]) -> bool:
    """Whether no run of a task is under way, or still to come. Another run may have another id, not another name."""
    name = next((each.name for each in parent.tasks if each.id == task), None)
    if not parent.reachable or parent.record.gone or name is None or (parent.record.id, task) in again:
        return False
    return all(each.status in TASK_OVER for each in parent.tasks if each.name == name)


def run_again(before: Snapshot, after: Snapshot) -> set[str]:
    """The records of what had ended when it was last seen, and runs by the look behind that."""
    return {
        node.record.id
        for old, node in zip(before.nodes, after.nodes, strict=True)
        if node.record.seen is EngineState.RUNNING and old.record.seen in ENDED
    }


def held_again(before: Snapshot, after: Snapshot, ours: Container[str]) -> Snapshot:
    """The snapshot after a look, in which what re-runs and skips of ours have re-opened only now is held under what is
    (P3, P6).

    `ours` are their records that run again since the look before. An engine may have resumed, with them, what is above
    and was held: that stays so. Where nothing is to be held, it is the same snapshot.
    """
    nodes = list(after.nodes)
    held: set[int] = set()
    lifted = {place for place, old in enumerate(before.nodes) if _is_lifted(old, nodes[place])}
    if any(_lies_below(after, place, lifted) for place, node in enumerate(nodes) if node.record.id in ours):
        for place in lifted:
            nodes[place] = _held(nodes[place], before.nodes[place].record)
        held.update(lifted)
    for place, node in enumerate(nodes):
        record = node.record
        if record.want is not Want.RUN or record.status in TERMINAL or node.parent < 0:
            continue
        above = nodes[node.parent].record
        if above.want is Want.HOLD and (record.id in ours or node.parent in held):
            nodes[place] = _held(node, above)
            held.add(place)
    return Snapshot(tuple(nodes)) if held else after


def _lies_below(snapshot: Snapshot, place: int, places: Container[int]) -> bool:
    return any(above in places for above in ancestors(snapshot, place))


def _is_lifted(old: Node, node: Node) -> bool:
    return old.record.want is Want.HOLD and node.record.want is Want.RUN and node.record.status not in TERMINAL


def _held(node: Node, by: Record) -> Node:
    return replace(node, record=replace(node.record, want=Want.HOLD, held_by=by.held_by))


def overtaken(steps: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> dict[str, str]:
    """What came of such calls in another way than they wanted, by execution: somebody else was faster (O4)."""
    nodes = {node.record.id: node for node in snapshot.nodes}
    found: dict[str, list[str]] = {}
    for step in steps:
        node = nodes.get(step["record"])
        for task in node.tasks if node is not None else ():
            if task.id in step["mark"] and _is_overtaken(step, task):
                found.setdefault(step["record"], []).append(f"task {task.name} is {task.status}")
    return {record: f"{', '.join(tasks)}: something else was done to it meanwhile" for record, tasks in found.items()}


def _shown(step: Mapping[str, Any], task: TaskLook | None) -> bool:
    """A call shows once its task has left `errored`, or has begun something that the mark did not know."""
    return task is not None and (task.status is not TaskStatus.ERRORED or task.starts > step["mark"][task.id])


def _is_overtaken(step: Mapping[str, Any], task: TaskLook) -> bool:
    if step["action"] == Action.SKIP:
        return _shown(step, task) and task.status is not TaskStatus.SKIPPED
    return task.status is TaskStatus.SKIPPED and task.starts <= step["mark"][task.id]
