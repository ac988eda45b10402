"""Re-runs and skips that a cancel took back and that arrive all the same (O3, O5).

Such a call has no id: its task tells that it came. What it has re-opened is canceled then, as it was to be; but only
where nothing of it runs for anybody else by now, which is never reverted (O12).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import replace

from flowbridge.law.tables import ENDED
from flowbridge.model import EngineState, Node, Record, Snapshot, TaskLook, TaskStatus, Want, WithdrawnCall

#: How long, in seconds, an engine may take to show for which task it has re-opened an execution.
_SHOWN_WITHIN = 10.0

#: The calls that came, by the place of their execution.
Arrived = Mapping[int, Collection[WithdrawnCall]]


def arrived(snapshot: Snapshot) -> Arrived:
    """Which of such calls a look shows to have come."""
    marked = [place for place, node in enumerate(snapshot.nodes) if node.record.withdrawn]
    if not marked:
        return {}
    hosts = {(node.parent, node.record.parent_task) for node in snapshot.nodes}
    found = {}
    for place in marked:
        node = snapshot.nodes[place]
        tasks = {task.id: task for task in node.tasks} if node.reachable and node.state is not EngineState.GONE else {}
        came = [
            call
            for call in node.record.withdrawn
            if call.task in tasks and _shows(call, tasks[call.task], hosts=(place, call.task) in hosts)
        ]
        if came:
            found[place] = came
    return found


def _shows(call: WithdrawnCall, task: TaskLook, *, hosts: bool) -> bool:
    """Whether a task tells that a call came; `hosts`: it has children, and runs too where one of them is run again."""
    if call.skip:
        return task.status is TaskStatus.SKIPPED
    only_starts = hosts or call.came_once or task.status in (TaskStatus.ERRORED, TaskStatus.SKIPPED)
    return task.starts > call.starts or not only_starts


def to_cancel(snapshot: Snapshot, came: Arrived) -> set[int]:
    """The places of what is canceled, with all below, because of what came.

    A call re-opens its execution and what is above it. All of that, up to what the cancel had named, is canceled where
    nothing of it goes on for anybody: it had ended until now, and nobody has re-run it since, or is canceled anyway.
    """
    tops = (_top(snapshot, place, call) for place, calls in came.items() for call in calls)
    return {top for top in tops if top >= 0}


def _top(snapshot: Snapshot, place: int, call: WithdrawnCall) -> int:
    at = place
    while at >= 0:
        record = snapshot.nodes[at].record
        if record.want is not Want.CANCEL and (record.seen not in ENDED or record.created > call.at):
            return -1
        if record.ref == call.canceled:
            return _canceled_above(snapshot, at)
        at = snapshot.nodes[at].parent
    return place


def _canceled_above(snapshot: Snapshot, place: int) -> int:
    """The highest of what is canceled from a place up: its engine may have re-opened that as well."""
    while (above := snapshot.nodes[place].parent) >= 0 and snapshot.nodes[above].record.want is Want.CANCEL:
        place = above
    return place


def in_the_way(snapshot: Snapshot, reopened: Collection[int], whole: Mapping[int, Collection[str]]) -> list[int]:
    """The places of what such calls may still re-open together with what is to be re-opened now: what comes late could
    not be told from what was asked for.

    `reopened` are the executions that are to be re-opened, `whole` the tasks, by place, that are to be run again, or
    skipped, with all below them.
    """
    return [
        place
        for place, node in enumerate(snapshot.nodes)
        if node.record.withdrawn and _meets(snapshot, place, reopened, whole)
    ]


def _meets(snapshot: Snapshot, place: int, reopened: Collection[int], whole: Mapping[int, Collection[str]]) -> bool:
    canceled = {call.canceled for call in snapshot.nodes[place].record.withdrawn}
    at, is_inside = place, True
    while at >= 0:
        node = snapshot.nodes[at]
        if (is_inside and at in reopened) or node.record.parent_task in whole.get(node.parent, ()):
            return True
        canceled.discard(node.record.ref)
        at, is_inside = node.parent, bool(canceled)
    return False


def left(node: Node, came: Collection[WithdrawnCall]) -> Record:
    """The record of an execution once these calls have come. What was sent more than once may come once more."""
    starts = {task.id: task.starts for task in node.tasks}
    calls = [
        call._replace(calls=call.calls - 1, starts=starts[call.task], came_once=True) if call in came else call
        for call in node.record.withdrawn
        if call not in came or (call.calls > 1 and not call.skip)
    ]
    return with_withdrawn(node.record, calls)


def with_withdrawn(record: Record, calls: Iterable[WithdrawnCall]) -> Record:
    """A record for which just these calls may still arrive."""
    kept = tuple(calls)
    return replace(record, withdrawn=kept, asked=bool(kept))


def untold(snapshot: Snapshot, sure: Set[int]) -> set[int]:
    """The places of what an engine has re-opened, with what is above it, without showing yet for which task.

    Whether a call came that was taken back, or somebody else's, the next looks tell; what stays so for longer than that
    takes an engine is somebody else's. `sure` are the places of what surely came late.
    """
    found: set[int] = set()
    for place in (place for place, node in enumerate(snapshot.nodes) if node.record.withdrawn):
        at = place if _shows_nothing_yet(snapshot.nodes[place]) else -1
        while at >= 0 and at not in sure and is_re_opened(snapshot.nodes[at]):
            found.add(at)
            at = snapshot.nodes[at].parent
    return found


def _shows_nothing_yet(node: Node) -> bool:
    since = min((call.opened for call in node.record.withdrawn if call.opened), default=node.record.looked)
    is_new = node.record.looked <= since + _SHOWN_WITHIN
    return is_new and not any(task.active or task.status is TaskStatus.RUNNING for task in node.tasks)


def is_re_opened(node: Node) -> bool:
    """Whether an execution runs that had ended when it was last seen."""
    return node.reachable and node.record.seen in ENDED and node.state is EngineState.RUNNING


def as_last_seen(snapshot: Snapshot, places: Collection[int]) -> Snapshot:
    """The snapshot with some executions in the state in which they were last seen."""
    nodes = list(snapshot.nodes)
    for place in places:
        record = nodes[place].record
        nodes[place] = replace(nodes[place], state=record.seen, raw=record.raw, revision=record.revision)
    return Snapshot(tuple(nodes)) if places else snapshot


def as_shown(node: Node, judged: Record) -> Node:
    """An execution as its engine shows it, with a record that was judged by what was seen before."""
    calls = tuple(call if call.opened else call._replace(opened=node.record.looked) for call in judged.withdrawn)
    return replace(node, record=replace(judged, raw=node.raw, revision=node.revision, withdrawn=calls))
