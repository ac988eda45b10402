"""What the engine knows of one tree: executions (`Run`), their tasks and the calls of these. Plain mutable data.

A *call* is one action or one sub-workflow of a task: the only one of a plain task, or that of one item. A plain task
whose action runs at once has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowbridge.model import EngineState, ExecutionLook, TaskLook
from flowbridge_memory.context import Context
from flowbridge_memory.plan import TaskPlan, WorkflowPlan


class State(StrEnum):
    """The engine's word for a task or a call."""

    WAITING = "waiting"  # a join that has not come together
    IDLE = "idle"  # to be started, now or when the execution is resumed
    DELAYED = "delayed"  # by wait-before, wait-after or retry
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELED = "canceled"
    SKIPPED = "skipped"


ENDED = frozenset({State.SUCCEEDED, State.ERRORED, State.CANCELED, State.SKIPPED})
RUN_ENDED = frozenset({EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.CANCELED})


@dataclass(slots=True, eq=False)
class Call:
    """One action or sub-workflow of a task. `index` is the item's, None for a plain task.

    `generation` counts what was ever begun in this place. `begun` tells that the action was handed out, so that after
    a crash nobody knows how it ended. `due` is when a delayed action ends by itself.
    """

    task: Task
    index: int | None
    generation: int = 0
    state: State = State.IDLE
    action: str = ""
    input: Mapping[str, Any] | None = None
    result: Any = None
    error: str = ""
    begun: bool = False
    due: float | None = None
    child: Run | None = None

    @property
    def key(self) -> str:
        """The name of what runs here now; another one after a re-run or a retry."""
        place = "" if self.index is None else f"[{self.index}]"
        return f"{self.task.id}{place}.{self.generation}"


@dataclass(slots=True, eq=False)
class Task:
    """One task. `causes` are the tasks whose end led here; its variables are theirs (`context`; None: not at hand).

    `way` is what it led to: pairs of task name and clause; `pending` what of its ways out waits for a resume.
    `todo` are the items that still have to begin; `left` the calls that have not ended, `running` those that run.
    `outcome` is how it ended, kept while wait-after delays the end. `epoch` grows when it starts over, so that an old
    timer is known.
    """

    run: Run
    plan: TaskPlan
    number: int
    state: State = State.IDLE
    causes: tuple[Task, ...] = ()
    context: Context | None = None
    published: Mapping[str, Any] | None = None
    published_global: Mapping[str, Any] | None = None
    order: int = 0
    result: Any = None
    error: str = ""
    handled: bool = False
    way: tuple[tuple[str, str], ...] = ()
    pending: tuple[tuple[str, str, str], ...] = ()
    parked: bool = False
    attempt: int = 0
    paused_before: bool = False
    waited_before: bool = False
    waited_after: bool = False
    outcome: tuple[str, str] | None = None
    starts: int = 0
    due: float | None = None
    deadline: float | None = None
    epoch: int = 0
    calls: list[Call | None] | None = None
    lists: Mapping[str, list[Any]] | None = None
    todo: deque[int] | None = None
    width: int = 0
    limit: int = 0
    left: int = 0
    running: int = 0
    consumed: dict[str, None] | None = None
    arrived: dict[str, Task] | None = None
    queued: bool = False
    created: float = 0.0
    ended: float | None = None
    look: TaskLook | None = None

    @property
    def id(self) -> str:
        """The engine's id of the task."""
        return f"{self.run.id}.{self.number}"


@dataclass(slots=True, eq=False)
class Run:
    """One execution. `open` counts its tasks that have not ended, `waiting` the joins among them, `busy` the actions,
    delays and child executions that somebody waits for. `context` is vars with what was published globally laid over.
    `level` counts the executions from the root down to this one.
    `unwanted` tells that a cancel reached it, be it after its end: what is still born under it is canceled (P6).
    """

    number: int
    id: str
    book: int
    plan: WorkflowPlan
    parent: Call | None
    input: Mapping[str, Any]
    vars: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    state: EngineState = EngineState.RUNNING
    revision: int = 0
    begun: bool = False
    error: str = ""
    output: Any = None
    created: float = 0.0
    ended: float | None = None
    told: bool = False
    unwanted: bool = False
    tasks: list[Task] = field(default_factory=list)
    latest: dict[str, Task] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    published: int = 0
    open: int = 0
    waiting: int = 0
    busy: int = 0
    unhandled: int = 0
    canceled: int = 0
    parked: list[Task] = field(default_factory=list)
    children: list[Run] = field(default_factory=list)
    level: int = 1
    look: ExecutionLook | None = None
