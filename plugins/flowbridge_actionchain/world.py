"""The engine's state of one native tree, and the few moves everything else is made of.

Work is a queue of executions to be looked at, never a recursion. One turn of the queue is one task boundary: between
two turns the state is whole and may be written down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from flowbridge.backend import Definition
from flowbridge.model import EngineState
from flowbridge_actionchain.jobs.model import Job
from flowbridge_actionchain.language import Node
from flowbridge_actionchain.services import Jobs, Services
from flowbridge_actionchain.state import RUN_ENDED, Kind, Run, State, Task


@dataclass(slots=True, eq=False)
class Ahead:
    """What was made ready for the task that comes after another one, while that runs.

    `secrets` are how many were known then. `is_written` tells that the ledger names the job, in the row of `after`: it
    may be begun before anything else is written. `is_handed` tells that it begins by itself once `after` has plainly
    succeeded. `handle` is that of a job which another process made ready, and may have begun.
    """

    after: Task
    node: Node | None
    job: Job | None = None
    secrets: int = 0
    is_written: bool = False
    is_handed: bool = False
    handle: str = ""

    def is_for(self, task: Task) -> bool:
        """Whether it was meant for this task, which begins for the first time."""
        return self.node is task.node and self.after.run is task.run and task.starts == 1


class Launch(NamedTuple):
    """A leaf that is to begin; `is_written`: the ledger knows of its job already."""

    task: Task
    job: Job
    is_written: bool = False


class World:
    """One native tree. What has to be written stands in the sets of what changed.

    `launch` is the leaf that is to begin, `job` the one that runs, `unbegun` one that another process was to begin and
    of which nothing ran. At most one of them is there. `over` are the jobs that are wanted no more once all that
    changed is written.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.runs: list[Run] = []
        self.by_id: dict[str, Run] = {}
        self.books: list[Definition] = []
        self.commands: set[str] = set()
        self.queue: deque[Run] = deque()
        self.launch: Launch | None = None
        self.job: tuple[Task, Job] | None = None
        self.unbegun: Task | None = None
        self.ahead: Ahead | None = None
        self.over: list[Job] = []
        self.changed_runs: dict[Run, None] = {}
        self.changed_tasks: dict[Task, None] = {}
        self.fresh: dict[Run, None] = {}
        self.new_commands: list[str] = []
        self.books_written = 0

    @cached_property
    def jobs(self) -> Jobs:
        """The leaf actions of the tree."""
        return self.services.jobs(self.runs[0].id)

    @property
    def root(self) -> Run | None:
        """The root execution, None before the start."""
        return self.runs[0] if self.runs else None

    def adopt(self, run: Run) -> None:
        """Take a new execution in, to be begun."""
        run.created = time.time()
        self.runs.append(run)
        self.by_id[run.id] = run
        if run.parent is not None:
            run.parent.run.children.append(run)
        self.fresh[run] = None
        self.changed_runs[run] = None
        self.queue.append(run)

    def book(self, definition: Definition) -> int:
        """The number of a definition, which is kept once."""
        for number, known in enumerate(self.books):
            if known == definition:
                return number
        self.books.append(definition)
        return len(self.books) - 1

    def opened(self, run: Run) -> Mapping[str, Any]:
        """The input of an execution with its secrets open: for the moment of use, never to be written."""
        if run.open_input is None:
            run.open_input = self.services.opened(dict(run.input))
        return run.open_input

    def touch(self, task: Task) -> None:
        """Say that a task changed."""
        self.changed_tasks[task] = None

    def move(self, run: Run, state: EngineState) -> None:
        """Give an execution another state, and another revision with it."""
        run.state = state
        run.revision += 1
        run.ended = time.time() if state in RUN_ENDED else None
        self.changed_runs[run] = None
        if state in (EngineState.RUNNING, EngineState.REQUESTED):
            self.queue.append(run)

    @property
    def is_dirty(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.changed_tasks or self.changed_runs or self.fresh or self.new_commands)

    def written(self) -> None:
        """Say that all that changed is written."""
        self.changed_runs, self.changed_tasks, self.fresh = {}, {}, {}
        self.new_commands, self.books_written = [], len(self.books)

    def note_command(self, id: str) -> None:
        """Remember that a command was carried out."""
        self.commands.add(id)
        self.new_commands.append(id)

    def waiting(self) -> Iterator[Task]:
        """The tasks that wait for an execution elsewhere."""
        for run in self.runs:
            last = run.last
            if last is not None and last.kind is Kind.LINK and last.state is State.RUNNING:
                yield last

    def lost(self) -> list[Task]:
        """The leaf tasks whose end nobody saw."""
        return [run.last for run in self.runs if run.last is not None and run.last.lost]


def descendants(run: Run) -> Iterator[Run]:
    """The execution and everything under it, parents first."""
    open_ = deque([run])
    while open_:
        found = open_.popleft()
        yield found
        open_.extend(found.children)


def path_up(run: Run) -> Iterator[Run]:
    """The execution, its parent, and so on up to the root."""
    yield run
    while run.parent is not None:
        run = run.parent.run
        yield run


def is_busy(run: Run) -> bool:
    """Whether a leaf runs in an execution or below it."""
    last = run.last
    while last is not None and last.state is State.RUNNING and last.kind is Kind.CHAIN and last.child is not None:
        last = last.child.last
    return last is not None and last.state is State.RUNNING and last.kind is not Kind.CHAIN
