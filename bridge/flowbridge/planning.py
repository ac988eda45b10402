"""From a verb's effect to what is shown beforehand (O1, O9)."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from flowbridge.capabilities import JoinUnderPause
from flowbridge.errors import EngineError
from flowbridge.instances import Instances
from flowbridge.law.decide import NO_MORE, Action, Joins, Line, Plan, decide, join_warnings
from flowbridge.law.fold import Facts, ended, settle
from flowbridge.law.verbs import Effect, apply
from flowbridge.model import EngineState, Node, Record, Snapshot, Status, Verb, Want

#: What is done for tasks that wait, whatever verb was asked for: it is no part of what was confirmed.
_FOLLOWS = frozenset({Action.START, Action.REPORT})


def not_reported(plan: Plan, again: Container[str]) -> Plan:
    """A plan in which the old end of what is being run `again`, by its record, is not told to anybody (X7)."""
    lines = [
        line._replace(action=Action.LEAVE, by="", reason="its re-run is not finished: its end is not told (X7)")
        if line.action is Action.REPORT and line.record in again
        else line
        for line in plan.lines
    ]
    return plan._replace(lines=tuple(lines))


def planned(snapshot: Snapshot, effect: Effect, facts: Facts, joins: Mapping[str, Joins]) -> Plan:
    """What an effect comes to on a snapshot: a line for each execution, with a reason (O1).

    `joins` is what instances told of the joins behind the tasks of their workflows.
    """
    wanted = settle(apply(snapshot, effect, ""), facts).snapshot
    plan = decide(wanted, facts)
    lines = list(plan.lines)
    children = snapshot.children()
    reopened = frozenset(effect.reopened)
    for place in effect.reopened:
        action = Action.RERUN if place in effect.rerun else Action.SKIP if place in effect.skip else Action.REOPEN
        by = "engine" if action is Action.REOPEN else "bridge"
        why = _names(snapshot, effect, place, children[place], reopened)
        lines[place] = lines[place]._replace(action=action, by=by, reason=why)
    for place in effect.awaited - reopened:
        lines[place] = lines[place]._replace(reason="it is over: its end is told once more, nothing runs again (X6)")
    for place, task in _replaced(snapshot, effect, children, reopened):
        why = f"it stays as it ended: task {task} starts a new one (X5)"
        lines[place] = lines[place]._replace(reason=why)
    for place in effect.along:
        why = "its engine resumes it with what is below (accepted R4)"
        lines[place] = lines[place]._replace(action=Action.RESUME, by="engine", reason=why)
    for place in _never_started(snapshot, effect):
        why = NO_MORE if snapshot.nodes[place].record.asked else "it is not started at all (C1)"
        lines[place] = lines[place]._replace(action=Action.CANCEL, by="bridge", reason=why)
    statuses = [node.record.status for node in snapshot.nodes]
    lines = [line._replace(status=status) for line, status in zip(lines, statuses, strict=True)]
    return plan._replace(lines=tuple(lines), warnings=(*plan.warnings, *effect.warnings, *join_warnings(wanted, joins)))


def _replaced(
    snapshot: Snapshot, effect: Effect, children: Sequence[Sequence[int]], reopened: frozenset[int]
) -> list[tuple[int, str]]:
    """The children that a task which runs again starts anew, each with the task's name."""
    found = []
    for place, tasks in effect.rerun.items():
        node = snapshot.nodes[place]
        names = {task.id: task.name for task in node.tasks}
        newest: dict[str, dict[int | None, int]] = {}
        for child in children[place]:
            record = snapshot.nodes[child].record
            newest.setdefault(record.parent_task, {})[record.item] = child
        for task in tasks:
            for child in newest.get(task.task, {}).values():
                good = snapshot.nodes[child].record.status is Status.SUCCEEDED
                if child not in effect.awaited and child not in reopened and (task.reset or not good):
                    found.append((child, names.get(task.task, task.task)))
    return found


def _never_started(snapshot: Snapshot, effect: Effect) -> list[int]:
    """What a cancel reaches before it was started."""
    canceled = [place for place, want in effect.wants.items() if want is Want.CANCEL]
    return [place for place in canceled if snapshot.nodes[place].state is EngineState.ABSENT]


def joins_ahead(instances: Instances, snapshot: Snapshot, facts: Facts, verb: Verb) -> Mapping[str, Joins]:
    """What a pause or a resume has to know of joins, from those instances whose joins may slip through a pause (P5).

    One question for each. One that does not answer it stands in no verb's way.
    """
    state = {Verb.PAUSE: EngineState.RUNNING, Verb.RESUME: EngineState.PAUSED}.get(verb)
    wanted: dict[str, set[str]] = {}
    for node in snapshot.nodes:
        if node.state is state and _may_slip(node, facts):
            wanted.setdefault(node.record.ref.backend, set()).add(node.record.workflow)
    found: dict[str, Joins] = {}
    for name, workflows in wanted.items():
        try:
            found[name] = instances.get(name).joins_behind(sorted(workflows))
        except EngineError:
            continue
    return found


def _may_slip(node: Node, facts: Facts) -> bool:
    """Whether a task may end, or has ended, under a pause at an engine that then forgets the join behind it."""
    if not node.reachable or ended(node):
        return False
    at_work = any(task.active for task in node.tasks) if node.state is EngineState.RUNNING else bool(node.tasks)
    return at_work and facts[node.record.ref.backend].join_under_pause is JoinUnderPause.MAY_SLIP


def start_plan(record: Record) -> Plan:
    """The plan of a start."""
    return Plan((), (Line(record.id, record.ref, record.workflow, record.status, Action.START, "bridge", ""),))


def fingerprint(plan: Plan) -> frozenset[tuple[str, str]]:
    """Which executions a plan touches, and how. Two plans with the same one are the same to a user (O9)."""
    return frozenset((line.record, str(line.action)) for line in plan.lines if line.by and line.action not in _FOLLOWS)


def _names(snapshot: Snapshot, effect: Effect, place: int, children: Sequence[int], reopened: frozenset[int]) -> str:
    anew = {snapshot.nodes[child].record.parent_task for child in children if child in effect.awaited}
    again = {task.task for task in effect.rerun.get(place, ())}
    skipped = set(effect.skip.get(place, ()))
    names = {task.id: task.name for task in snapshot.nodes[place].tasks}
    below = {snapshot.nodes[child].record.parent_task for child in children if child in reopened}
    parts = []
    if direct := [names[id] for id in names if id in again | skipped and id not in anew & below]:
        parts.append(f"tasks {', '.join(direct)}")
    if waits := [names[id] for id in names if id in again & anew & below]:
        parts.append(f"task {', '.join(waits)} waits again for what is re-opened below it (X7)")
    return "; ".join(parts) or "its engine re-opens it with the task below (X2)"
