"""The words of the law as data: statuses, what an engine shows, what the bridge keeps. No I/O.

Everything here is immutable. `ExecutionLook` and `TaskLook` are what a backend reports after looking at its
engine; `Record` is what the bridge keeps of one run; `Snapshot` joins both into a whole tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

#: No keys: what a mapping is that was not given. Not to be changed by anybody.
NOTHING: Mapping[str, Any] = {}


class Status(StrEnum):
    """Status of an execution, as every command shows it (S1)."""

    REQUESTED = "requested"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    CANCELING = "canceling"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    ABANDONED = "abandoned"


class TaskStatus(StrEnum):
    """Status of a task or of an item (S1)."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELING = "canceling"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    SKIPPED = "skipped"


class EngineState(StrEnum):
    """An engine's own word for an execution, translated by its backend and not yet judged (S3)."""

    ABSENT = "absent"  # the bridge has not started it (P6): never reported by a backend
    REQUESTED = "requested"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    ABANDONED = "abandoned"  # a local runner died (S6)
    GONE = "gone"  # the engine no longer has it (S7)


class Want(StrEnum):
    """What the bridge wants of an execution: the last verb that was accepted for it."""

    RUN = "run"
    HOLD = "hold"
    CANCEL = "cancel"


class Verb(StrEnum):
    """The verbs of the law that change an execution."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RERUN = "re-run"
    SKIP = "skip"
    RECOVER = "recover"


class Ref(NamedTuple):
    """One execution at one engine: the backend instance's name and the engine's own id."""

    backend: str
    id: str

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}"


@dataclass(frozen=True, slots=True)
class TaskLook:
    """One task as its engine shows it.

    `active` is judged by actions, not by the engine's word (S2): an action of the task runs or is delayed, an
    item's action does, or a sub-workflow was asked for and is not there yet. Children that are there are not
    counted here: they are looked at themselves.
    `status` is the engine's own word for the task, translated. `raw` is that word as it came.
    `starts` counts the actions and children ever begun for this task; it only grows, so a re-run shows.
    `items` is the number of items of a with-items task, None for any other task.
    `serial` tells that items run one at a time (`concurrency: 1`). `running` lists what runs now (leaf actions), in
    words for a person. `started` and `finished` are seconds since the epoch, as far as the engine tells. `notify` is
    what the definition says of whom to tell of the task's end, in the engine's own words; observers get it
    (`flowbridge_task_ended`).
    """

    id: str
    name: str
    status: TaskStatus
    raw: str = ""
    active: bool = False
    starts: int = 0
    items: int | None = None
    serial: bool = False
    running: tuple[str, ...] = ()
    error: str = ""
    started: float | None = None
    finished: float | None = None
    notify: Mapping[str, Any] | None = None


class ParentLink(NamedTuple):
    """Where an execution hangs: the parent's engine id, the task there, and the item's index (None: no items)."""

    id: str
    task: str
    item: int | None = None


@dataclass(frozen=True, slots=True)
class WaitingChild:
    """A task of a host that waits for an execution elsewhere. `key` names the waiting action at the engine.

    `target` is what to run there, `input` what to start it with, in the environment `env`. `workflow` and `task_name`
    say which of the target's workflows, and which of its tasks is wanted; they are empty where the target decides.
    `owner` is the ledger that is to start it, "" where the host's executions can only be this ledger's.
    """

    key: str
    task: str
    item: int | None
    target: str
    input: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    env: Mapping[str, Any] = field(default_factory=dict)
    workflow: str = ""
    task_name: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionLook:
    """One execution as its engine shows it, tasks in the order they were created.

    `revision` is opaque: it differs whenever the engine changed the execution's state in between, so a resume
    that was taken can be told from one that was not. `created` and `ended` are seconds since the epoch.
    `unknown` lists leaf tasks whose end nobody saw (an abandoned local run). `hung` says why the engine will never
    go on with the execution, although it calls it running; it is empty where the engine will.
    """

    ref: Ref
    state: EngineState
    raw: str = ""
    revision: str = ""
    workflow: str = ""
    parent: ParentLink | None = None
    tasks: tuple[TaskLook, ...] = ()
    waiting: tuple[WaitingChild, ...] = ()
    error: str = ""
    created: float | None = None
    ended: float | None = None
    unknown: tuple[str, ...] = ()
    hung: str = ""


@dataclass(frozen=True, slots=True)
class ItemRead:
    """One item of a with-items task, at its place. `attempts` is how often it began, None where that is not told."""

    index: int
    status: TaskStatus
    result: Any = None
    error: str = ""
    attempts: int | None = None


class TaskRead(NamedTuple):
    """What a task was given and gave. `items` is None where there are none or their places cannot be told."""

    id: str
    name: str
    status: TaskStatus
    result: Any = None
    published: Mapping[str, Any] = NOTHING
    items: tuple[ItemRead, ...] | None = None


class ExecutionRead(NamedTuple):
    """Inputs and results of one execution, read when somebody asks for them.

    `given` is what of the input a start anew is given, where the engine adds the rest by itself; None: all of it.
    """

    input: Mapping[str, Any] = NOTHING
    output: Any = None
    tasks: tuple[TaskRead, ...] = ()
    given: Mapping[str, Any] | None = None


class TaskRerun(NamedTuple):
    """A task to run again, by the engine's id of the task. `reset` false: only its failed items (X6)."""

    task: str
    reset: bool = True


class Trouble(NamedTuple):
    """A call that nobody asked for and that fails, as `why` says: `call` is start, report, pause, cancel, or link where
    it cannot be told yet what a task waits for. It has failed `tries` times, first at `since`, and at `last` (seconds
    since the epoch).
    """

    call: str
    why: str
    since: float
    last: float
    tries: int = 1


class WithdrawnCall(NamedTuple):
    """A re-run, or a skip, of a task that was sent, that no look had shown, and that a cancel took back: it may yet be
    on its way.

    `task` had so many `starts` before it; `canceled` is the execution that the cancel named, and `at` when that was
    (seconds since the epoch). It was sent `calls` times; `came_once` tells that one of these has come since. `opened`
    is when the execution was first seen to run again without showing why, 0.0 where it was not.
    """

    task: str
    starts: int
    skip: bool
    canceled: Ref
    at: float
    calls: int = 1
    came_once: bool = False
    opened: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """What the bridge keeps of one run, under the bridge's own id.

    `want`, `status`, `seen`, `revision` and `resumed_at` are what the law needs from one look to the next;
    `tree` is the same for every record of a tree, re-runs included. `parent` joins engine executions, so that a
    parent's newest record is always the current one (Words in the law).
    `native` tells that the engine itself links it to its parent; otherwise the bridge does, and `key` names the
    parent's waiting action. `awaited` tells that the parent's task is run again, and that its next waiting action is
    for this one: nothing new is started for it (X7).
    `asked` tells that its start was sent and that no look has shown it yet: it may still be on its way. So may a re-run
    or a skip that a cancel took back: those are `withdrawn`, and it is `asked` as well.
    `taken_back` tells that its parent's task waits for it again although a cancel took back its re-run: to that it ends
    as canceled (C5).
    `resumed_at` is the engine's revision at which a resume was recorded, None where none is under way.
    `trouble` is what stands in the way of a call that is due, None where nothing does. `hung` is `ExecutionLook.hung`
    as it was last seen.
    """

    id: str
    tree: str
    ref: Ref
    workflow: str = ""
    parent: Ref | None = None
    parent_task: str = ""
    item: int | None = None
    native: bool = True
    key: str = ""
    awaited: bool = False
    asked: bool = False
    withdrawn: tuple[WithdrawnCall, ...] = ()
    taken_back: bool = False
    want: Want = Want.RUN
    status: Status = Status.REQUESTED
    seen: EngineState = EngineState.REQUESTED
    raw: str = ""
    revision: str = ""
    resumed_at: str | None = None
    held_by: str = ""
    gone: bool = False
    superseded_by: str = ""
    rerun_of: str = ""
    error: str = ""
    actor: str = ""
    created: float = 0.0
    looked: float = 0.0
    trouble: Trouble | None = None
    hung: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One execution of a tree: its current record beside what a fresh look showed.

    `parent` is the parent's place in the snapshot, -1 for the root. `reachable` is false where the engine did not
    answer; state, revision and tasks are then those of the last look.
    """

    record: Record
    parent: int
    state: EngineState
    revision: str = ""
    raw: str = ""
    tasks: tuple[TaskLook, ...] = ()
    waiting: tuple[WaitingChild, ...] = ()
    error: str = ""
    reachable: bool = True
    unknown: tuple[str, ...] = ()
    hung: str = ""

    @property
    def unended(self) -> tuple[str, ...]:
        """The tasks of a hung execution that never began, or never ended: to end it as it is would lose them."""
        return tuple(task.name for task in self.tasks if _is_unended(task)) if self.hung else ()

    @property
    def failed(self) -> tuple[str, ...]:
        """The tasks of a hung execution that failed: whether that was handled cannot be told from outside."""
        return tuple(task.name for task in self.tasks if _has_failed(task)) if self.hung else ()

    @property
    def endable(self) -> bool:
        """Whether it is hung and `recover` can end it: all that began succeeded, and all that was to begin did."""
        return bool(self.hung) and not self.unended and not self.failed


def _is_unended(task: TaskLook) -> bool:
    """Whether a task never ended; one that waits again after it ran has."""
    return task.status is TaskStatus.RUNNING or (task.status is TaskStatus.WAITING and not task.starts)


def _has_failed(task: TaskLook) -> bool:
    return task.status is TaskStatus.ERRORED or bool(task.error)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole tree, whatever engines it lives on: the root first, parents before their children."""

    nodes: tuple[Node, ...]

    def place(self, record_id: str) -> int:
        """The place of a record in the tree. Raises `KeyError` where it has none."""
        for place, node in enumerate(self.nodes):
            if node.record.id == record_id:
                return place
        raise KeyError(record_id)

    def waited_for(self) -> list[bool]:
        """For every node whether an action of its parent waits for it, by its key."""
        keys = [frozenset(waiting.key for waiting in node.waiting) for node in self.nodes]
        return [node.parent >= 0 and bool(key := node.record.key) and key in keys[node.parent] for node in self.nodes]

    def children(self) -> list[list[int]]:
        """For every node the places of its children, oldest first."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for place, node in enumerate(self.nodes):
            if node.parent >= 0:
                found[node.parent].append(place)
        return found
