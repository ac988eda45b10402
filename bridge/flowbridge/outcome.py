"""What is asked for with a verb, and what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowbridge.law.decide import Plan
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.operations import Operation
from flowbridge.model import Node, Record, Snapshot, Status, Verb, Want


def _now() -> float:
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for a verb, why, and how long to wait for the engines, in seconds, from `began` (monotonic) on.

    `expect` is the fingerprint of a plan that was shown and confirmed (O9); None carries out whatever is planned.
    `already_ok` tells that what is already so is no rejection to whoever asks, and is not written down as one (O7).
    """

    verb: Verb
    actor: str
    reason: str = ""
    timeout: float = 30.0
    expect: frozenset[tuple[str, str]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    already_ok: bool = False
    began: float = field(default_factory=_now, compare=False)

    @property
    def deadline(self) -> float:
        """When the waiting is over, in monotonic seconds."""
        return self.began + self.timeout

    @property
    def left(self) -> float:
        """How many seconds there are until then."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a verb.

    `execution` is the id to go on with: a re-run gives a new one. `done` tells that the engines show it; otherwise
    `not_done` maps executions to why, and `exit_code` is 5 (an engine is silent) or 6 (it did not do it). `running`
    lists the tasks that still run, `ended_first` the executions that ended before the verb reached them, `abandoned`
    those that go on only when they are recovered (S6).
    """

    operation: str
    verb: str
    execution: str
    status: Status
    done: bool
    exit_code: int
    plan: Plan
    not_done: Mapping[str, str] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    ended_first: Mapping[str, str] = field(default_factory=dict)
    abandoned: tuple[str, ...] = ()


def operation_of(record: Record, ask: Ask) -> Operation:
    """What is written down of a verb on an execution before it begins."""
    return Operation(
        id=str(uuid.uuid4()),
        tree=record.tree,
        verb=str(ask.verb),
        target=record.id,
        actor=ask.actor,
        at=time.time(),
        reason=ask.reason,
        options=dict(ask.options),
    )


def running_tasks(snapshot: Snapshot, verb: Verb) -> tuple[str, ...]:
    """The tasks whose actions still run, each by the way to it from the root; of a cancel those that it is about.

    What is abandoned runs no more, whatever was last seen of its tasks (S6).
    """
    places = [place for place in _concerned(snapshot, verb) if not _is_abandoned(snapshot.nodes[place])]
    tree = ways(snapshot)
    return tuple(
        _running(tree[place], task.name, task.running)
        for place in places
        for task in snapshot.nodes[place].tasks
        if task.active
    )


def abandoned(snapshot: Snapshot, verb: Verb) -> tuple[str, ...]:
    """The executions that nobody drives any more until they are recovered (S6); of a cancel those that it is about."""
    nodes = [snapshot.nodes[place] for place in _concerned(snapshot, verb)]
    return tuple(node.record.id for node in nodes if _is_abandoned(node))


def _concerned(snapshot: Snapshot, verb: Verb) -> list[int]:
    return [
        place for place, node in enumerate(snapshot.nodes) if verb is not Verb.CANCEL or node.record.want is Want.CANCEL
    ]


def _is_abandoned(node: Node) -> bool:
    return node.record.status is Status.ABANDONED


def _running(way: str, name: str, actions: tuple[str, ...]) -> str:
    detail = f" ({', '.join(actions)})" if actions else ""
    return f"{way}.{name}{detail}"


def ways(snapshot: Snapshot) -> list[str]:
    """For every node the root's workflow, and the tasks and items that lead from there to it, as `get --path` takes
    them."""
    hosts = {node.parent for node in snapshot.nodes if node.parent >= 0}
    names = {host: {task.id: task.name for task in snapshot.nodes[host].tasks} for host in hosts}
    found: list[str] = []
    for node in snapshot.nodes:
        record = node.record
        if node.parent < 0:
            found.append(record.workflow or record.id)
            continue
        name = names[node.parent].get(record.parent_task, record.parent_task)
        item = "" if record.item is None else f"[{record.item}]"
        found.append(f"{found[node.parent]}.{name}{item}")
    return found


def touched(plan: Plan) -> frozenset[str]:
    """The executions that a plan does something to."""
    return frozenset(line.record for line in plan.lines if line.by)


def ended_first(snapshot: Snapshot, touched: Container[str], verb: str) -> dict[str, str]:
    """Those of the executions that a verb touched that had ended before it reached them, with how."""
    wanted = {Verb.PAUSE: Status.PAUSED, Verb.CANCEL: Status.CANCELED}.get(Verb(verb))
    return {
        node.record.id: str(node.record.status)
        for node in snapshot.nodes
        if wanted and node.record.id in touched and node.record.status in TERMINAL - {wanted}
    }


def place_of_target(snapshot: Snapshot, execution: str) -> int:
    """The place of the record that a verb named, or of the one that took over from it."""
    for place, node in enumerate(snapshot.nodes):
        if execution in (node.record.id, node.record.rerun_of):
            return place
    return 0
