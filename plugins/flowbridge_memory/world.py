"""The engine's state of one native tree, and the few moves everything else is made of.

Work is a queue of jobs, never a recursion: a chain of 100,000 tasks is 100,000 jobs. One job is one task boundary:
between two jobs the state is whole and may be written down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from heapq import heappop, heappush

from flowbridge.capabilities import Cascade
from flowbridge.model import EngineState
from flowbridge_memory.books import Library
from flowbridge_memory.clock import Clock
from flowbridge_memory.state import ENDED, RUN_ENDED, Call, Run, State, Task

ALL_CASCADES = frozenset(Cascade)

#: So many tasks one tree may have, unless it is told otherwise; more than a loop that ends by itself needs.
MAX_TASKS = 250_000

#: So many executions may stand one below another.
MAX_LEVELS = 100


class Job(IntEnum):
    """What can stand in the queue, each with its subject."""

    START = 0  # a task that is to be started
    BIRTH = 1  # an execution whose first tasks are to be created
    JOIN = 2  # a join that may have become unreachable
    CHECK = 3  # an execution that may have ended
    TELL = 4  # an execution that has ended and whose parent does not know yet
    WAYS = 5  # an ended task with a command to take behind the tasks that it started


class Alarm(IntEnum):
    """What can be due."""

    START = 0  # wait-before or retry is over
    END = 1  # wait-after is over
    TIMEOUT = 2
    CALL = 3  # an action that only takes time


Entity = Run | Task | Call
Timer = tuple[float, int, Alarm, Task | Call, int]


class World:
    """One native tree. `dirty` is what has to be written; it stays empty where nothing is journaled.

    `tasks` counts the tasks of all its executions; there are never more than `max_tasks`.
    """

    def __init__(
        self,
        library: Library,
        clock: Clock,
        cascades: frozenset[Cascade],
        *,
        journal: bool,
        max_tasks: int = MAX_TASKS,
    ) -> None:
        self.library, self.clock, self.cascades, self.journal = library, clock, cascades, journal
        self.tasks, self.max_tasks = 0, max_tasks
        self.runs: list[Run] = []
        self.by_id: dict[str, Run] = {}
        self.commands: set[str] = set()
        self.jobs: deque[tuple[Job, Run | Task]] = deque()
        self.launches: deque[Call] = deque()
        self.waiting: dict[str, Call] = {}
        self.flying: dict[str, Call] = {}
        self.lost: dict[Call, None] = {}
        self.dirty: dict[Entity, None] = {}
        self.fresh: dict[Run | Task, None] = {}
        self.new_commands: list[str] = []
        self.books_written = 0
        self._timers: list[Timer] = []
        self._ticket = 0

    @property
    def root(self) -> Run | None:
        """The root execution, None before the start."""
        return self.runs[0] if self.runs else None

    def add(self, task: Task) -> None:
        """Make a new task known to its execution."""
        run = task.run
        self.tasks += 1
        run.tasks.append(task)
        run.latest[task.plan.name] = task
        run.open += 1
        self.touch(task)

    def touch(self, entity: Task | Call) -> None:
        """Say that a task or a call changed."""
        task = entity if type(entity) is Task else entity.task  # type: ignore[union-attr]
        task.look = task.run.look = None
        if self.journal:
            self.dirty[entity] = None

    def touch_run(self, run: Run) -> None:
        """Say that an execution changed."""
        run.look = None
        if self.journal:
            self.dirty[run] = None

    def write_once(self, entity: Run | Task) -> None:
        """Say that the large part of an execution (its input) or of a task (its lists) is new."""
        if self.journal:
            self.fresh[entity] = None

    def note_command(self, id: str) -> None:
        """Remember that a command was carried out."""
        self.commands.add(id)
        if self.journal:
            self.new_commands.append(id)

    def move(self, run: Run, state: EngineState) -> None:
        """Give an execution another state, and another revision with it."""
        run.state = state
        run.revision += 1
        run.ended = self.clock.now() if state in RUN_ENDED else None
        self.touch_run(run)
        if run.parent is not None:
            run.parent.task.run.look = None

    def calmer(self, run: Run) -> None:
        """One thing less that an execution waits for; an ended one with nothing left tells its parent."""
        run.busy -= 1
        self.tell(run)

    def tell(self, run: Run) -> None:
        """Let the parent know, once, where an execution has ended and nothing of it runs any more."""
        if run.busy == 0 and run.parent is not None and not run.told and run.state in RUN_ENDED:
            run.told = True
            self.jobs.append((Job.TELL, run))

    def park(self, task: Task) -> None:
        """Keep a task for the time when its execution is running again."""
        if not task.parked:
            task.parked = True
            task.run.parked.append(task)
            self.touch(task)

    def alarm(self, due: float, kind: Alarm, subject: Task | Call) -> None:
        """Ring at `due`, unless the subject starts over before."""
        self._ticket += 1
        heappush(self._timers, (due, self._ticket, kind, subject, _epoch(subject)))

    def due(self) -> tuple[Alarm, Task | Call] | None:
        """The next alarm whose time has come, taken out; None where there is none."""
        next_due = self.next_due()
        if next_due is None or next_due > self.clock.now():
            return None
        _, _, kind, subject, _ = heappop(self._timers)
        return kind, subject

    def next_due(self) -> float | None:
        """When the next alarm rings, None where none will."""
        while self._timers and not _live(self._timers[0]):
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def descendants(self, run: Run) -> Iterator[Run]:
        """The execution and everything under it, parents first."""
        open_ = deque([run])
        while open_:
            found = open_.popleft()
            yield found
            open_.extend(found.children)


def ancestors(run: Run) -> Iterator[Run]:
    """The execution's parent, its parent, and so on up to the root."""
    while run.parent is not None:
        run = run.parent.task.run
        yield run


def _epoch(subject: Task | Call) -> int:
    return subject.epoch if isinstance(subject, Task) else subject.generation


def _live(timer: Timer) -> bool:
    _, _, kind, subject, epoch = timer
    if _epoch(subject) != epoch:
        return False
    if isinstance(subject, Call):
        return subject.state is State.RUNNING
    return subject.state not in ENDED if kind is Alarm.TIMEOUT else subject.state is State.DELAYED
