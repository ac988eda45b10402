"""What is wanted, turned into steps: the smallest set of calls that the engines need (O1).

Pauses and cancels go roots first, resumes leaves first. An engine that cascades gets one call for each region that
it links natively, and none for a node whose native parent gets the same call: a second, stale call does harm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from flowbridge.capabilities import Cascade, JoinUnderPause
from flowbridge.law.fold import Facts, ended
from flowbridge.law.tables import ACTIVE, TASK_OVER, TERMINAL
from flowbridge.model import EngineState, Node, Record, Ref, Snapshot, TaskRerun, TaskStatus, Want


class Action(StrEnum):
    """What is done to an execution."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    START = "start"
    REPORT = "report"
    RERUN = "re-run"
    SKIP = "skip"
    REOPEN = "re-open"
    LEAVE = "leave"


class Step(NamedTuple):
    """One call to one engine. `revision` is what the look showed; `tasks` belong to re-run and skip."""

    action: Action
    record: str
    ref: Ref
    revision: str = ""
    tasks: tuple[TaskRerun, ...] = ()


class Line(NamedTuple):
    """What the plan says of one execution. `by` is "bridge", "engine", or "" where it is left alone."""

    record: str
    ref: Ref
    workflow: str
    status: str
    action: Action
    by: str
    reason: str


class Plan(NamedTuple):
    """Steps in the order in which they are sent, a line for every execution, and what the engines may still do.

    `goes_on` names the operation of the same verb that is still open on that execution, and that this one goes on with:
    "cancel by ada". It is empty where there is none.
    """

    steps: tuple[Step, ...]
    lines: tuple[Line, ...]
    warnings: tuple[str, ...] = ()
    goes_on: str = ""


#: By workflow and the name of a task: the joins right behind it.
Joins = Mapping[str, Mapping[str, Collection[str]]]

_NEEDS: dict[Want, dict[EngineState, Action]] = {
    Want.HOLD: {EngineState.RUNNING: Action.PAUSE},
    Want.CANCEL: {
        EngineState.REQUESTED: Action.CANCEL,
        EngineState.RUNNING: Action.CANCEL,
        EngineState.PAUSED: Action.CANCEL,
        EngineState.ABANDONED: Action.CANCEL,
    },
    Want.RUN: {EngineState.PAUSED: Action.RESUME, EngineState.ABSENT: Action.START},
}

_CASCADE = {
    Action.PAUSE: Cascade.PAUSE_DOWN,
    Action.RESUME: Cascade.RESUME_DOWN,
    Action.CANCEL: Cascade.CANCEL_DOWN,
}

#: What becomes of a start that was sent, and that no look has shown, when what it starts is held or canceled.
NO_MORE = "its start was seen nowhere, and is sent no more (C1)"
_NOT_NOW = "its start was seen nowhere, and is not sent again while it is held (P6)"

_LEFT = {
    EngineState.ABSENT: "not started while it is held (P6)",
    EngineState.REQUESTED: "not running yet; the next pass looks again (P6)",
    EngineState.RUNNING: "runs, as wanted",
    EngineState.PAUSED: "is paused, as wanted",
    EngineState.CANCELED: "is canceled",
    EngineState.SUCCEEDED: "has succeeded",
    EngineState.ERRORED: "has errored",
    EngineState.ABANDONED: "its runner died: recover, cancel or re-run it (S6)",
    EngineState.GONE: "its engine no longer has it (S7)",
}

#: The same for one that its engine has done with already, while something in it still runs.
_LEFT_ACTIVE = {
    EngineState.PAUSED: "its engine has paused it; what still runs in it ends first (P5)",
    EngineState.CANCELED: "its engine has canceled it; what still runs in it ends first (C2)",
    EngineState.SUCCEEDED: "its engine calls it succeeded; what still runs in it ends first (S3)",
    EngineState.ERRORED: "its engine calls it errored; what still runs in it ends first (S3)",
}


def decide(snapshot: Snapshot, facts: Facts) -> Plan:
    """The steps that bring the engines to what is wanted, and a reason for every execution left alone.

    Linear in the number of executions. An execution whose engine does not answer gets no step: it stays open (O2).
    """
    actions = _calls(snapshot, facts)
    first: list[Step] = []
    last: list[Step] = []
    lines = []
    for node, (action, by) in zip(snapshot.nodes, actions, strict=True):
        record = node.record
        lines.append(Line(record.id, record.ref, record.workflow, record.status, action, by, _reason(node, action, by)))
        if by == "bridge":
            step = Step(action, record.id, record.ref, node.revision)
            (last if action is Action.RESUME else first).append(step)
    last.reverse()
    return Plan((*first, *last), tuple(lines), warnings(snapshot, facts))


def may_arrive(node: Node) -> bool:
    """Whether a start that was sent, of what is held or canceled, is seen nowhere, or a re-run or skip that a cancel
    took back."""
    return may_arrive_as(node.record, node.state)


def may_arrive_as(record: Record, state: EngineState) -> bool:
    """The same of a record, with the state of it that is known."""
    if record.withdrawn:
        return state is not EngineState.GONE
    return record.asked and record.want is not Want.RUN and state is EngineState.ABSENT


def late_call(record: Record) -> str:
    """What of such an execution may still arrive, in words."""
    if not record.withdrawn:
        return "its start"
    return "its " + " or ".join(sorted({"skip" if call.skip else "re-run" for call in record.withdrawn}))


def late_want(record: Record) -> Want:
    """What is wanted of what arrives so."""
    return Want.CANCEL if record.withdrawn else record.want


def is_unfinished(node: Node) -> bool:
    """Whether an execution is not yet, as far as it was seen, what it is wanted to be."""
    want = node.record.want
    later = want is Want.HOLD and node.state is EngineState.REQUESTED  # there is no call for it until it runs
    return not node.record.gone and (later or node.state in _NEEDS[want])


def warnings(snapshot: Snapshot, facts: Facts) -> tuple[str, ...]:
    """What an engine may still do under a pause or a cancel, against the law (O8, P5)."""
    found = _late_calls(snapshot)
    for node in snapshot.nodes:
        if node.record.want is Want.RUN or ended(node) or not node.tasks:
            continue
        fact = facts[node.record.ref.backend]
        waiting = [task for task in node.tasks if task.status is TaskStatus.WAITING]
        joins = ", ".join(task.name for task in waiting if not task.active)
        delayed = ", ".join(task.name for task in waiting if task.active)
        busy = any(task.active for task in node.tasks)
        if joins and busy and node.record.want is Want.HOLD and fact.join_under_pause is JoinUnderPause.MAY_SLIP:
            found.append(f"{node.record.ref}: {joins} may start under the pause when the last inbound task ends (P5)")
        if delayed and fact.delayed_starts_under_pause:
            found.append(
                f"{node.record.ref}: task {delayed}, delayed or on its way, may still start its action (P5, C2)"
            )
    return tuple(found)


def _late_calls(snapshot: Snapshot) -> list[str]:
    """What is held or canceled while a call of it may be on its way: one warning for all that is alike in a tree."""
    late: dict[tuple[Want, str, bool], list[Record]] = {}
    for node in filter(may_arrive, snapshot.nodes):
        late.setdefault((late_want(node.record), late_call(node.record), node.reachable), []).append(node.record)
    found = []
    for (want, call, asked), (first, *others) in late.items():
        more = f" and {len(others)} more" if others else ""
        named = snapshot.nodes[0].record.id if others else first.id
        gives_up = f"; `flowbridge recover {named}` looks once more, and waits no longer"
        seen = "is seen nowhere" if asked else "its engine cannot be asked for it"
        found.append(
            f"{first.ref}{more}: {call} was sent, and {seen}. What still arrives is "
            f"{'paused' if want is Want.HOLD else 'canceled'} by whoever looks, an agent too"
            f"{gives_up if want is Want.CANCEL else ''} (O3)"
        )
    return found


def join_warnings(snapshot: Snapshot, joins: Mapping[str, Joins]) -> tuple[str, ...]:
    """Which joins a pause and the resume after it may leave waiting for good, by the joins that each instance told.

    An engine whose joins slip does not look again at one that comes into being with the resume, because every task
    before it has ended under the pause (P5); nor at one of some of those tasks that has run, and that it has wait once
    more (R5).
    """
    found = []
    for node in snapshot.nodes:
        behind = joins.get(node.record.ref.backend, {}).get(node.record.workflow, {})
        if not behind or ended(node):
            continue
        if node.record.want is Want.HOLD:
            wait = {task.name for task in node.tasks if task.status not in TASK_OVER}
            ahead = {join for task in node.tasks if task.active for join in behind.get(task.name, ())} - wait
            words = "may wait for good after the resume, if all tasks before it end under the pause"
        elif node.record.want is Want.RUN and node.state is EngineState.PAUSED:
            ahead = _ended_under_the_pause(node, behind) - {task.name for task in node.tasks}
            words = "may wait for good after the resume, because all tasks before it ended under the pause"
        else:
            continue
        if ahead:
            found.append(f"{node.record.ref}: join {', '.join(sorted(ahead))} {words} (P5)")
    return tuple(found)


def _ended_under_the_pause(node: Node, behind: Mapping[str, Collection[str]]) -> set[str]:
    """The joins all of whose inbound tasks are over."""
    over = {task.name for task in node.tasks if task.status in TASK_OVER}
    open_ = {join for task, joins in behind.items() if task not in over for join in joins}
    return {join for joins in behind.values() for join in joins} - open_


def _calls(snapshot: Snapshot, facts: Facts) -> list[tuple[Action, str]]:
    nodes = snapshot.nodes
    calls: list[tuple[Action, str]] = []
    for node, waited in zip(nodes, snapshot.waited_for(), strict=True):
        action = _wanted(node, nodes[node.parent] if waited else None)
        by = "" if action is Action.LEAVE else "bridge"
        cascade = _CASCADE.get(action)
        if cascade is not None and node.record.native and node.parent >= 0:
            same = calls[node.parent][0] is action
            if same and cascade in facts[node.record.ref.backend].cascades:
                by = "engine"
        calls.append((action, by))
    return calls


def _wanted(node: Node, host: Node | None) -> Action:
    """What is done to an execution; `host` is its parent, where an action of that waits for it."""
    if not node.reachable:
        return Action.LEAVE
    if host is not None and to_report(node, host):
        return Action.REPORT
    if node.record.gone:
        return Action.LEAVE
    return _NEEDS[node.record.want].get(node.state, Action.LEAVE)


def to_report(node: Node, parent: Node) -> bool:
    """An ended child that an action of its parent waits for is reported, to a held parent after its resume, to a
    canceled one once it is (C2).

    One that its engine no longer has is over too: its parent would wait for good (S5, S7).
    """
    over = node.record.status in TERMINAL or node.record.gone
    if not over or node.record.awaited or not parent.reachable or parent.record.gone:
        return False
    going_on = parent.state is EngineState.RUNNING and parent.record.want is Want.RUN
    return going_on or ended(parent)


def _reason(node: Node, action: Action, by: str) -> str:
    if action is not Action.LEAVE:
        return "its engine does it with the parent" if by == "engine" else ""
    if node.reachable:
        return _left(node)
    why = "it stays open (O2)" if is_unfinished(node) else f"last seen: {_left(node)}"
    return f"{node.record.ref.backend} does not answer; {why}"


def _left(node: Node) -> str:
    """Why an execution is left alone, by what it shows."""
    if node.record.gone:
        return _LEFT[EngineState.GONE]
    if may_arrive(node) and node.state is EngineState.ABSENT:
        return NO_MORE if node.record.want is Want.CANCEL else _NOT_NOW
    if node.state is EngineState.ABSENT and node.record.want is Want.CANCEL:
        return "never started, and is not (C1)"
    if node.record.status in ACTIVE and node.state in _LEFT_ACTIVE:
        return _LEFT_ACTIVE[node.state]
    return _LEFT[node.state]
