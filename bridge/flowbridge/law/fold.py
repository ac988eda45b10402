"""The status fold (S) and what was changed from outside (P7, O12).

`settle` takes a snapshot and gives it back with its records brought up to what the look showed. It is the only
place where a status is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.law.arrivals import arrived, as_last_seen, as_shown, is_re_opened, left, to_cancel, untold
from flowbridge.law.tables import ACTIVE, ENDED, FOLD, TERMINAL
from flowbridge.model import EngineState, Node, Record, Snapshot, Status, Want

ENGINE = "engine"

#: Each backend instance's capabilities, by its name.
Facts = Mapping[str, Capabilities]


class Kind(StrEnum):
    """What `settle` found that nobody asked the bridge for."""

    PAUSED_ITSELF = "paused_itself"  # P7
    RESUMED_OUTSIDE = "resumed_outside"  # O12
    CANCELED_OUTSIDE = "canceled_outside"  # O12
    REOPENED_OUTSIDE = "reopened_outside"  # O12: ended, and active again, not by us
    ARRIVED_LATE = "arrived_late"  # O3, O5: canceled before any look showed what was asked of it, and done after all
    STATUS = "status"  # a status changed


#: What is wanted of an execution after somebody changed it from outside.
_ADOPTED: Mapping[Kind | None, Want] = {Kind.RESUMED_OUTSIDE: Want.RUN, Kind.CANCELED_OUTSIDE: Want.CANCEL}


class Event(NamedTuple):
    """One thing to write down. `record` is the record's id; `old` and `new` are its statuses."""

    kind: Kind
    record: str
    old: Status
    new: Status


class Settled(NamedTuple):
    """A snapshot with its records up to date, and what happened in between."""

    snapshot: Snapshot
    events: tuple[Event, ...]


def birth_want(parent: Record | None) -> Want:
    """What is wanted of an execution that was just found: what is wanted of its parent (P6)."""
    return parent.want if parent is not None else Want.RUN


def settle(snapshot: Snapshot, facts: Facts) -> Settled:
    """Judge every execution of the tree by a fresh look. `facts` gives each backend instance's capabilities.

    Linear in the number of executions. Records keep everything they knew of an engine that did not answer.
    """
    came = arrived(snapshot)
    late = _with_what_came_late(snapshot, came)
    shown, unclear = snapshot, untold(snapshot, late)
    snapshot = as_last_seen(shown, unclear)
    wants, events = _adopt(snapshot, facts, to_cancel(snapshot, came))
    statuses = fold(snapshot, wants)
    if any(event.kind is Kind.PAUSED_ITSELF for event in events):
        wants = hold_all(snapshot, wants, statuses)
        statuses = fold(snapshot, wants)
    nodes = []
    for place, (node, want, status) in enumerate(zip(snapshot.nodes, wants, statuses, strict=True)):
        nodes.append(_refreshed(node, want, status))
        if place in came:
            nodes[place] = replace(node, record=left(nodes[place], came[place]))
            events.append(Event(Kind.ARRIVED_LATE, node.record.id, node.record.status, status))
        elif status is not node.record.status:
            events.append(_status_event(node.record, status, is_late=place in late))
    for place in unclear:
        nodes[place] = as_shown(shown.nodes[place], nodes[place].record)
    return Settled(Snapshot(tuple(nodes)), tuple(events))


def fold(snapshot: Snapshot, wants: list[Want]) -> list[Status]:
    """The status of every node, children first (S2 to S7)."""
    nodes = snapshot.nodes
    active = [_own_activity(node) for node in nodes]
    statuses: list[Status] = [Status.REQUESTED] * len(nodes)
    for place in range(len(nodes) - 1, -1, -1):
        node = nodes[place]
        want = wants[place]
        status = statuses[place] = _status(node, want, active=active[place])
        parent = node.parent
        # A branch resumed on its own does not count for its held ancestors (S4).
        if parent >= 0 and status in ACTIVE and _counts(node, want, wants[parent]):
            active[parent] = True
    return statuses


def hold_all(snapshot: Snapshot, wants: list[Want], statuses: list[Status]) -> list[Want]:
    """Hold whatever of the tree has not ended and is not canceled (P2, P3)."""
    return [
        Want.HOLD if want is Want.RUN and status not in TERMINAL and not _gone(node) else want
        for node, want, status in zip(snapshot.nodes, wants, statuses, strict=True)
    ]


def _gone(node: Node) -> bool:
    """Whether the engine no longer has it, by this look or, where there was none, by the last (S7)."""
    return node.state is EngineState.GONE or (node.record.gone and not node.reachable)


def _own_activity(node: Node) -> bool:
    if not node.reachable:
        return node.record.status in ACTIVE
    return any(task.active for task in node.tasks)


def _counts(node: Node, want: Want, parent_want: Want) -> bool:
    if _gone(node):
        return False
    return not (parent_want is Want.HOLD and want is Want.RUN)


def _status(node: Node, want: Want, *, active: bool) -> Status:
    state = node.state
    last = node.record.status
    if state is EngineState.GONE:
        return last
    idle, busy = FOLD[want][state]
    if not active:
        return idle
    # `paused` is left only by resume, by cancel, or by the engine ending it (S4).
    return last if busy is Status.PAUSING and idle is last is Status.PAUSED else busy


def _adopt(snapshot: Snapshot, facts: Facts, canceled: Set[int]) -> tuple[list[Want], list[Event]]:
    """What is wanted after what came from outside, and what that was; `canceled` are the places of what a call that
    came late has re-opened: they are canceled as they were to be, with all below."""
    wants = [node.record.want for node in snapshot.nodes]
    events: list[Event] = []
    adopted: dict[int, Want] = {}
    again: set[int] = set()
    cleared = _ended_by_a_child(snapshot, facts)
    for place, node in enumerate(snapshot.nodes):
        above = Want.CANCEL if place in canceled else adopted.get(node.parent)
        if above is not None and (above is Want.CANCEL or _resumed_with_parent(node, facts)):
            wants[place] = adopted[place] = above
        elif is_re_opened(node):
            wants[place] = Want.RUN  # re-opened: whatever was wanted of it was done
            again.add(place)
        elif node.parent in again and node.record.status is Status.REQUESTED:
            wants[place] = Want.RUN  # born since
            again.add(place)
        kind = _outside(node, wants[place], c5=place in cleared) if node.reachable else None
        if kind is not None:
            events.append(Event(kind, node.record.id, node.record.status, node.record.status))
        if kind in _ADOPTED:
            wants[place] = adopted[place] = _ADOPTED[kind]
    return wants, events


def _resumed_with_parent(node: Node, facts: Facts) -> bool:
    """Whether a resume of the parent from outside lifts a hold that has not reached the execution yet (O12).

    So it is with one that is only found now, born after that resume, and where the engine resumes downwards.
    """
    record = node.record
    if record.want is not Want.HOLD:
        return False
    follows = record.native and Cascade.RESUME_DOWN in facts[record.ref.backend].cascades
    return record.status is Status.REQUESTED or (follows and node.state is EngineState.RUNNING)


def _outside(node: Node, want: Want, *, c5: bool) -> Kind | None:
    state, record = node.state, node.record
    if state is EngineState.PAUSED and want is Want.RUN and node.revision != record.resumed_at:
        return Kind.PAUSED_ITSELF
    if state is EngineState.RUNNING and want is Want.HOLD and record.seen is EngineState.PAUSED:
        # A resume of ours that comes late, after a hold, is nobody's wish: it is held again.
        return Kind.RESUMED_OUTSIDE if record.resumed_at is None else None
    if state is EngineState.CANCELED and want is not Want.CANCEL and record.seen is not state and not c5:
        return Kind.CANCELED_OUTSIDE
    return None


def _ended_by_a_child(snapshot: Snapshot, facts: Facts) -> set[int]:
    """Executions that end canceled because of a child (C5), not because somebody canceled them.

    That is so where a child was canceled on its own, and where, beside a canceled child, another one goes on that the
    engine would have canceled with its parent.
    """
    alone, canceled, spared = set(), set(), set()
    for node in snapshot.nodes:
        if node.parent < 0 or snapshot.nodes[node.parent].state is not EngineState.CANCELED:
            continue
        record = node.record
        follows = record.native and Cascade.CANCEL_DOWN in facts[record.ref.backend].cascades
        if record.taken_back or (node.state is EngineState.ABSENT and record.want is Want.CANCEL):
            alone.add(node.parent)
        elif node.state is EngineState.CANCELED:
            canceled.add(node.parent)
            if record.want is Want.CANCEL or record.seen is EngineState.CANCELED or not follows:
                alone.add(node.parent)
        elif follows and node.state is record.seen is EngineState.RUNNING:
            spared.add(node.parent)
    return alone | (canceled & spared)


def _refreshed(node: Node, want: Want, status: Status) -> Node:
    record = node.record
    if not node.reachable:
        fresh = record if want is record.want and status is record.status else replace(record, want=want, status=status)
    elif node.state is EngineState.GONE:
        # Nothing arrives there any more.
        fresh = record if record.gone and not record.asked else replace(record, gone=True, asked=False, withdrawn=())
    elif (
        record.want is want
        and record.status is status
        and record.seen is node.state
        and record.revision == node.revision
        and record.raw == node.raw
        and record.error == node.error
        and not record.gone
    ):
        return node
    else:
        fresh = replace(
            record,
            want=want,
            status=status,
            seen=node.state,
            revision=node.revision,
            raw=node.raw,
            error=node.error,
            gone=False,
            taken_back=record.taken_back and node.state is record.seen,
            held_by=_held_by(record, want),
            resumed_at=resume_under_way(node, want),
        )
    return node if fresh is record else replace(node, record=fresh)


def resume_under_way(node: Node, want: Want) -> str | None:
    """The revision of a resume that the engine has not taken yet, and may still take, even after a new hold."""
    resumed_at = node.record.resumed_at
    same = node.state is EngineState.PAUSED and node.revision == resumed_at
    open_ = want is not Want.CANCEL and (same or node.state is EngineState.ABANDONED)
    return resumed_at if open_ else None


def _held_by(record: Record, want: Want) -> str:
    if want is not Want.HOLD:
        return ""
    return record.held_by or ENGINE


def _came_late(node: Node) -> bool:
    """Whether an execution is there that was canceled while no look had shown it."""
    never = node.record.seen is EngineState.ABSENT and node.record.status is Status.CANCELED
    return never and node.reachable and node.state not in (EngineState.ABSENT, EngineState.GONE)


def _with_what_came_late(snapshot: Snapshot, run_late: Iterable[int]) -> set[int]:
    """The places of what came late, what was run again so among it, and of what is above: nobody re-opened these."""
    found: set[int] = set()
    started = (place for place, node in enumerate(snapshot.nodes) if _came_late(node))
    for late in (*started, *run_late):
        place = late
        while place >= 0 and place not in found:
            found.add(place)
            place = snapshot.nodes[place].parent
    return found


def _status_event(record: Record, status: Status, *, is_late: bool) -> Event:
    kind = Kind.REOPENED_OUTSIDE if record.status in TERMINAL else Kind.STATUS
    if is_late:
        kind = Kind.ARRIVED_LATE if record.seen is EngineState.ABSENT else Kind.STATUS
    return Event(kind, record.id, record.status, status)


def ended(node: Node) -> bool:
    """Whether the engine itself says that the execution has ended."""
    return node.state in ENDED
