"""The engine's session: one tree, its queue, and the one leaf action that may run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused, FlowbridgeError, NotFound
from flowbridge.local import Changes, Command, Flush, Session, readable_rows
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead
from flowbridge_actionchain import flow, loading, looks, rows, verbs
from flowbridge_actionchain.services import Services
from flowbridge_actionchain.state import RUN_ENDED, Run, State, Task
from flowbridge_actionchain.world import Launch, World

#: How long it may take to hear of an end that is known to be there.
_TOLD_SECONDS = 5.0


class ChainSession(Session):
    """One native tree in this process. Built by `open_session`."""

    def __init__(self, instance: str, world: World, flush: Flush) -> None:
        self._instance = instance
        self._world = world
        self._flush = flush

    def apply(self, command: Command) -> None:
        """Carry out a verb. Raises `EngineRefused`, `NotFound`, or `InvalidInput` for a definition or an input."""
        self._catch_up()
        verbs.apply(self._world, command)
        flow.look_away(self._world)

    def look(self) -> tuple[ExecutionLook, ...]:
        """The whole tree, the root first, parents before children."""
        return looks.look(self._world, self._instance)

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Input, output and results of one execution. Raises `NotFound`."""
        return looks.read(self._run(id), tasks, self._world.services.catalog)

    def task(self, id: str, task: str) -> Task:
        """One task of one execution. Raises `NotFound`."""
        return looks.task_of(self._run(id), task)

    def _run(self, id: str) -> Run:
        run = self._world.by_id.get(id)
        if run is None:
            raise NotFound(f"There is no execution {id} here.")
        return run

    def definition(self, id: str) -> Definition | None:
        """The text of a chain; a single action has none."""
        run = self._world.by_id.get(id)
        return None if run is None or run.book < 0 else self._world.books[run.book]

    def changes(self) -> Changes:
        """The rows that changed since they were last asked for or flushed."""
        return rows.take(self._world)

    def advance(self, *, until: Callable[[], bool]) -> None:
        """Do all that can be done now; what begins is written down before it does, and the rest at the end."""
        world, is_first = self._world, True
        while self._has_work():
            if not is_first and until():  # whoever calls has just looked
                break
            is_first = False
            # An end is never written without what follows it: a job that was made ready is named by one of them.
            self._take_outcome()
            while world.queue and world.launch is None:
                flow.go(world, world.queue.popleft())
            if world.launch is not None:
                self._launch(world.launch)
        self._look_ahead()
        self._write()
        flow.hand_over(self._world)

    def wait(self, seconds: float) -> None:
        """Return when the action has ended, or after `seconds`."""
        world = self._world
        if world.job is not None and not world.queue:
            world.job[1].wait(seconds)
        elif not world.queue:
            flow.idle(seconds)

    @property
    def settled(self) -> bool:
        """True when nothing runs here and nothing will without a command: every execution paused or ended."""
        world = self._world
        if world.launch or world.job or world.unbegun:
            return False
        if world.lost():
            return True  # whoever recovers it says what to take for its end
        return all(run.state in RUN_ENDED or run.state is EngineState.PAUSED for run in world.runs)

    def close(self) -> None:
        """Let the helper and the keeper of jobs go. An action under way goes on, and is found again."""
        self._world.services.templates.close()
        if self._world.root is not None:
            self._world.jobs.close()

    def _launch(self, launch: Launch) -> None:
        """Begin the action whose turn it is, after writing down that it begins. What was made ready is written."""
        world, (task, job, is_written) = self._world, launch
        if not is_written:
            self._flush_rows()
        world.launch = None
        try:
            job.start()
        except (FlowbridgeError, OSError) as error:
            message = f"action {task.node.ref} cannot be started: {world.services.masked(str(error))}"
            flow.over(world, task, State.ERRORED, {"error": message}, message, is_told=False)
            return
        world.job = (task, job)

    def _look_ahead(self) -> None:
        """Make ready what comes next, and forget what does not."""
        world = self._world
        if world.ahead is not None and (world.job is None or world.job[0] is not world.ahead.after):
            flow.look_away(world)
        flow.look_ahead(world)

    def _catch_up(self) -> None:
        """What was made ready, here or by whoever drove the run before, may have begun, with nothing of that written
        down: it has happened, so it comes before anything that is asked for now."""
        world = self._world
        if world.ahead is None or world.job is None or flow.withdrawn(world):
            return
        run = world.ahead.after.run
        if not world.job[1].wait(_TOLD_SECONDS):
            raise EngineRefused(f"task {world.job[0].node.name!r} has ended, and how is not told yet; try again")
        self._take_outcome()
        flow.go(world, run)

    def _has_work(self) -> bool:
        world = self._world
        if world.queue or world.unbegun is not None:
            return True
        return world.job is not None and world.job[1].wait(0)

    def _take_outcome(self) -> None:
        world = self._world
        if world.unbegun is not None:
            task, world.unbegun = world.unbegun, None
            flow.not_begun(world, task)
            return
        if world.job is None or not world.job[1].wait(0):
            return
        (task, job), world.job = world.job, None
        outcome = job.outcome()
        if outcome is not None:
            flow.leaf_over(world, task, outcome)
            world.over.append(job)
        elif job.begun and task.assumed:
            verbs.taken_for(world, task, task.assumed)
        elif job.begun:
            task.lost = True
        else:
            flow.not_begun(world, task)

    def _flush_rows(self) -> None:
        world = self._world
        changed = rows.take(world)
        if changed:
            self._flush(changed)
        if world.ahead is not None:
            world.ahead.is_written = bool(world.ahead.after.ahead)

    def _write(self) -> None:
        self._flush_rows()
        for job in self._world.over:
            job.discard()
        self._world.over.clear()


def open_session(instance: str, stored: Mapping[str, str], flush: Flush, services: Services) -> ChainSession:
    """A session of the tree in `stored`; no rows make an empty one, which the `start` command fills.

    Raises `EngineRefused` where rows cannot be used.
    """
    world = World(services)
    if stored:
        with readable_rows():
            loading.load(world, stored)
    return ChainSession(instance, world, flush)
