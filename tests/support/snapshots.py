"""Small trees for tests of the law, in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowbridge.capabilities import Capabilities, Cascade, JoinUnderPause, PartialRerun, ResumeUp
from flowbridge.model import EngineState, Node, Record, Ref, Snapshot, Status, TaskLook, TaskStatus, Verb, Want

#: `plain` cascades nothing, `eager` everything; `bare` has no verb at all.
FACTS = {
    "plain": Capabilities(verbs=frozenset(Verb), cascades=frozenset({Cascade.RERUN_UP})),
    "eager": Capabilities(
        verbs=frozenset(Verb),
        cascades=frozenset(Cascade),
        resume_up=ResumeUp.LAST_PAUSED,
        partial_rerun=PartialRerun.LAST_FAILED,
        join_under_pause=JoinUnderPause.MAY_SLIP,
        delayed_starts_under_pause=True,
        remedy="Set it up otherwise.",
        remedy_of_actions="Write it otherwise.",
    ),
    "bare": Capabilities(verbs=frozenset()),
}

#: For every status one want and one engine state that show it with nothing active.
SHOWN = {
    Status.REQUESTED: (Want.RUN, EngineState.REQUESTED),
    Status.RUNNING: (Want.RUN, EngineState.RUNNING),
    Status.PAUSING: (Want.HOLD, EngineState.RUNNING),
    Status.PAUSED: (Want.HOLD, EngineState.PAUSED),
    Status.RESUMING: (Want.RUN, EngineState.PAUSED),
    Status.CANCELING: (Want.CANCEL, EngineState.RUNNING),
    Status.CANCELED: (Want.CANCEL, EngineState.CANCELED),
    Status.SUCCEEDED: (Want.RUN, EngineState.SUCCEEDED),
    Status.ERRORED: (Want.RUN, EngineState.ERRORED),
    Status.ABANDONED: (Want.RUN, EngineState.ABANDONED),
}


def execution(id: str, status: Status, parent: int = -1, *, engine: str = "plain", **changes: Any) -> Node:
    """A node that shows `status`; fields of the node and of its record may be changed by name."""
    want, state = SHOWN[status]
    of_node = {key: changes.pop(key) for key in tuple(changes) if key in _NODE_FIELDS}
    of_record = {
        "tree": "t",
        "ref": Ref(engine, f"e{id}"),
        "want": want,
        "status": status,
        "seen": of_node.get("state", state),
        "revision": "r1",
        "resumed_at": "r1" if status is Status.RESUMING else None,
        **changes,
    }
    return Node(**{"state": state, "revision": "r1", **of_node}, record=Record(id, **of_record), parent=parent)


_NODE_FIELDS = {"state", "revision", "raw", "tasks", "waiting", "error", "reachable", "unknown"}


def tree(*nodes: Node) -> Snapshot:
    """A snapshot of nodes, parents before children."""
    return Snapshot(nodes)


def task(name: str, status: TaskStatus = TaskStatus.ERRORED, **fields: Any) -> TaskLook:
    """A task whose id is its name."""
    return TaskLook(fields.pop("id", name), name, status, **fields)


def wants(snapshot: Snapshot) -> list[Want]:
    """What is wanted, in the order of the tree."""
    return [node.record.want for node in snapshot.nodes]


def statuses(snapshot: Snapshot) -> list[Status]:
    """The statuses, in the order of the tree."""
    return [node.record.status for node in snapshot.nodes]


def errored(id: str, parent: int = -1, *tasks: TaskLook, **changes: Any) -> Node:
    """An errored execution with tasks."""
    return execution(id, Status.ERRORED, parent, tasks=tuple(tasks), **changes)


def names(chosen: Sequence[Any]) -> list[tuple[int, str]]:
    """Where each chosen task is, and its id."""
    return [(choice.place, choice.task.id) for choice in chosen]
