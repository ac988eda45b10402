"""What the engine knows of one tree: executions (`Run`) and their tasks. Plain mutable data.

A tree of chains does one thing after the other: of all its tasks at most one runs a leaf action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowbridge.model import EngineState
from flowbridge_actionchain.language import Chain, Node


class State(StrEnum):
    """The engine's word for a task."""

    IDLE = "idle"  # to be started again, now or when the execution is resumed
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELED = "canceled"
    SKIPPED = "skipped"


ENDED = frozenset({State.SUCCEEDED, State.ERRORED, State.CANCELED, State.SKIPPED})
RUN_ENDED = frozenset({EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.CANCELED})


class Kind(StrEnum):
    """What a task runs."""

    NONE = ""  # nothing was started yet
    JOB = "job"  # a leaf action; its handle leads to it from any process
    CHAIN = "chain"  # a chain, as a child execution here
    LINK = "link"  # an execution elsewhere, which the bridge starts and reports


@dataclass(slots=True, eq=False)
class Task:
    """One task. `number` is unique in its execution for good: a task that a re-run took back leaves its number unused.

    `job` is the handle of a leaf action; `lost` tells that nobody knows how it ended, `assumed` what a recover of this
    process has said to take for such an end. `ahead`, while it runs, is the handle of the one that was made ready for
    the task behind it, and may begin as soon as this one succeeds. `child` is the latest child execution. `target` and
    `given` say what a linked task waits for, `env`, `workflow` and `goal` (the task that is wanted of it) how it is
    started, `owner` which ledger starts it. `timed_out` tells why a task failed.
    """

    run: Run
    number: int
    node: Node
    state: State = State.IDLE
    starts: int = 0
    kind: Kind = Kind.NONE
    job: str = ""
    ahead: str = ""
    lost: bool = False
    assumed: str = ""
    child: Run | None = None
    target: str = ""
    owner: str = ""
    given: Mapping[str, Any] | None = None
    env: Mapping[str, Any] | None = None
    workflow: str = ""
    goal: str = ""
    result: Any = None
    error: str = ""
    timed_out: bool = False
    published: Mapping[str, Any] | None = None
    created: float = 0.0
    ended: float | None = None

    @property
    def id(self) -> str:
        """The engine's id of the task."""
        return f"{self.run.id}.{self.number}"

    @property
    def key(self) -> str:
        """The name of what runs here now; another one after a re-run."""
        return f"{self.id}.{self.starts}"


@dataclass(slots=True, eq=False)
class Run:
    """One execution: of a chain, or of one action (`single`: its chain has one task, whose result is the execution's).

    `ref` is the catalog's name of it, empty for a file's. `input` is as it is written, secrets sealed. `vars` are the
    chain's variables at the start; `now` is what they and what was published are at this moment, with secrets open,
    never written; it and `results` are built when they are needed (None: not yet). `failure` is the chain's own error:
    it ends the execution when that is running. `taken_back` are the tasks that a
    re-run went back behind. `quiet` names the tasks that notify nobody, `notify` says whom
    the others do where they do not say it themselves.
    """

    number: int
    id: str
    chain: Chain
    ref: str
    pack: str
    parent: Task | None
    input: Mapping[str, Any]
    open_input: Mapping[str, Any] | None = None
    name: str = ""
    single: bool = False
    show_published: bool = True
    quiet: tuple[str, ...] = ()
    notify: Mapping[str, Any] = field(default_factory=dict)
    book: int = -1
    vars: Mapping[str, Any] = field(default_factory=dict)
    now: dict[str, Any] | None = None
    results: dict[str, Any] = field(default_factory=dict)
    state: EngineState = EngineState.REQUESTED
    revision: int = 0
    begun: bool = False
    failure: str = ""
    trace: str = ""
    error: str = ""
    created: float = 0.0
    ended: float | None = None
    tasks: list[Task] = field(default_factory=list)
    children: list[Run] = field(default_factory=list)
    taken_back: list[Task] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many tasks were begun, those that were taken back too."""
        return len(self.tasks) + len(self.taken_back)

    @property
    def last(self) -> Task | None:
        """Where the chain stands: its latest task."""
        return self.tasks[-1] if self.tasks else None
