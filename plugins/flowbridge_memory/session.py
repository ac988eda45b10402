"""The reference engine's session: one tree, its queue of jobs, its threads and its timers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowbridge.backend import Definition
from flowbridge.capabilities import Cascade
from flowbridge.errors import NotFound
from flowbridge.local import Changes, Command, Flush, Session, readable_rows
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead
from flowbridge_memory import flow, loading, looks, rows, starts, verbs
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.books import Catalog, Library
from flowbridge_memory.clock import Clock, SystemClock
from flowbridge_memory.state import RUN_ENDED, State
from flowbridge_memory.workers import Outcome, Work, Workers
from flowbridge_memory.world import ALL_CASCADES, MAX_TASKS, Alarm, Job, World

#: Rows that may come together before they are written, where no action asks for it sooner.
BATCH = 512

_JOBS: Mapping[Job, Callable[[World, Any], None]] = {
    Job.START: starts.start,
    Job.BIRTH: starts.birth,
    Job.JOIN: flow.look_at_join,
    Job.CHECK: flow.check,
    Job.TELL: starts.child_over,
    Job.WAYS: flow.go_on_behind,
}
_ALARMS: Mapping[Alarm, Callable[[World, Any], None]] = {
    Alarm.START: starts.restart,
    Alarm.END: starts.resume_end,
    Alarm.TIMEOUT: starts.timed_out,
    Alarm.CALL: starts.over,
}


class MemorySession(Session):
    """One native tree in this process. Built by `open_session`."""

    def __init__(self, instance: str, world: World, flush: Flush | None, workers: int) -> None:
        self._instance = instance
        self._world = world
        self._flush = flush
        self._workers = Workers(workers)
        self._outcomes: list[Outcome] = []

    def apply(self, command: Command) -> None:
        """Carry out a verb. Raises `EngineRefused`, `NotFound` or (a definition that is wrong) `InvalidInput`."""
        verbs.apply(self._world, command)

    def look(self) -> tuple[ExecutionLook, ...]:
        """The whole tree, the root first, parents before children; costs only what changed since the last look."""
        return looks.look(self._world, self._instance)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Input, output and results of one execution. Raises `NotFound`."""
        run = self._world.by_id.get(id)
        if run is None:
            raise NotFound(f"There is no execution {id} here.")
        return looks.read(run, tasks)

    def definition(self, id: str) -> Definition | None:
        """The text that one execution runs: its own file, or that of the catalog it was found in."""
        run = self._world.by_id.get(id)
        return None if run is None else self._world.library.definitions[run.book]

    def changes(self) -> Changes:
        """The rows that changed since they were last asked for or flushed."""
        return rows.take(self._world)

    def advance(self, *, until: Callable[[], bool]) -> None:
        """Do all that can be done now; rows are flushed every few hundred tasks, before any action with an effect
        begins, and at the end."""
        world, jobs = self._world, self._world.jobs
        dirty_limit = BATCH if world.journal else 0
        while True:
            if jobs:
                kind, subject = jobs.popleft()
                _JOBS[kind](world, subject)
                if dirty_limit and len(world.dirty) >= dirty_limit:
                    self._write()
            elif not (self._take_outcome() or self._ring() or self._launch()):
                break
            if until():  # asked behind a step, never before the first: a busy ledger must not keep a run where it is
                break
        self._write()

    def wait(self, seconds: float) -> None:
        """Return when an action has ended, a timer is due, or after `seconds`. A virtual clock is moved instead."""
        world = self._world
        if world.jobs or self._outcomes or (world.launches and self._workers.free):
            return
        due = world.next_due()
        left = seconds if due is None else min(seconds, due - world.clock.now())
        if left <= 0:
            return
        if not self._workers.busy and world.clock.skip(left):
            return
        outcome = self._workers.outcome(left)
        if outcome is not None:
            self._outcomes.append(outcome)

    @property
    def settled(self) -> bool:
        """True when nothing runs here and nothing will without a command: every execution paused or ended."""
        world = self._world
        if world.jobs or world.launches or self._outcomes or world.flying or world.next_due() is not None:
            return False
        return all(run.state in RUN_ENDED or run.state is EngineState.PAUSED for run in world.runs)

    def close(self) -> None:
        """Let the threads go. Actions under way are left as they are, without a result."""
        self._workers.close()

    def _write(self) -> None:
        if self._flush is None:
            return
        changed = rows.take(self._world)
        if changed:
            self._flush(changed)

    def _take_outcome(self) -> bool:
        outcome = self._outcomes.pop() if self._outcomes else self._workers.outcome()
        if outcome is None:
            return False
        call = self._world.flying.pop(outcome.key, None)
        # A call that was given up (its task took too long) is told by its key: another attempt has another one.
        if call is not None and call.key == outcome.key:
            state = State.ERRORED if outcome.error else State.SUCCEEDED
            starts.call_over(self._world, call, state, outcome.result, outcome.error)
        return True

    def _ring(self) -> bool:
        found = self._world.due()
        if found is None:
            return False
        kind, subject = found
        _ALARMS[kind](self._world, subject)
        return True

    def _launch(self) -> bool:
        """Hand out as many actions as there are threads free, after writing down that they begin."""
        world, free = self._world, self._workers.free
        works: list[Work] = []
        while world.launches and len(works) < free:
            call = world.launches.popleft()
            if call.state is State.RUNNING and not call.begun:
                works.append(starts.launch(world, call))
        if not works:
            return False
        self._write()
        for work in works:
            self._workers.begin(*work)
        return True


def open_session(  # noqa: PLR0913  (what a session is made of; all but the first three by name)
    instance: str,
    rows: Mapping[str, str],
    flush: Flush | None,
    *,
    actions: ActionRegistry,
    clock: Clock | None = None,
    catalog: Catalog = lambda _: None,
    cascades: frozenset[Cascade] = ALL_CASCADES,
    workers: int = 8,
    max_tasks: int = MAX_TASKS,
) -> MemorySession:
    """A session of the tree in `rows`; no rows make an empty one, which the `start` command fills.

    `instance` names the backend in looks. `flush` None journals nothing. `catalog` finds the definition of a workflow
    that is not in the file. `cascades` are those the engine does itself. `workers` is how many actions with effects
    run at once. A tree has at most `max_tasks` tasks. Raises `EngineRefused` or `InvalidInput` where rows
    cannot be used.
    """
    library = Library(actions, catalog)
    world = World(library, clock or SystemClock(), cascades, journal=flush is not None, max_tasks=max_tasks)
    if rows:
        with readable_rows():
            loading.load(world, rows)
    return MemorySession(instance, world, flush, workers)
