"""Re-running and skipping errored tasks: the execution and its ancestors open again (X2 to X9, K1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import EngineState
from flowbridge_memory.flow import finish
from flowbridge_memory.joins import await_again
from flowbridge_memory.state import ENDED, Call, Run, State, Task
from flowbridge_memory.world import Job, World

GoOn = Callable[[World, Run], None]


def rerun(world: World, run: Run, wanted: Iterable[tuple[str, bool]], go_on: GoOn) -> None:
    """Run errored tasks of an execution again. `go_on` takes up what an execution put aside.

    Nothing is done where all of them are at work by now: the call is a repeated one. Raises `EngineRefused` or
    `NotFound`, and has then changed nothing.
    """
    tasks = [(_task(run, id), reset) for id, reset in dict(wanted).items()]
    if all(task.state not in ENDED for task, _ in tasks):
        return
    for task, reset in tasks:
        _require_errored(task)
        if not reset and task.plan.items is None:
            raise EngineRefused(f"Task '{task.plan.name}' has no items: it can only be run again as a whole.")
    opened = _open_all(world, run)
    for task, reset in tasks:
        _again(world, task, reset=reset)
    for here in opened:
        go_on(world, here)


def skip(world: World, run: Run, ids: Iterable[str], go_on: GoOn) -> None:
    """Skip errored tasks of an execution and go on behind them. Raises as `rerun` does."""
    tasks = [_task(run, id) for id in dict.fromkeys(ids)]
    for task in tasks:
        _require_errored(task)
    opened = _open_all(world, run)
    for task in tasks:
        # A skipped join is over: whoever still arrives there comes too late.
        if task.plan.need and task.consumed is None:
            task.consumed = {}
    for task in tasks:
        error = task.error
        _clear(task)
        finish(world, task, State.SKIPPED, None, error)
    for here in opened:
        go_on(world, here)


def _task(run: Run, id: str) -> Task:
    number = id.removeprefix(f"{run.id}.")
    if not number.isdigit() or not 1 <= int(number) <= len(run.tasks):
        raise NotFound(f"Execution {run.id} has no task {id}.")
    return run.tasks[int(number) - 1]


def _require_errored(task: Task, refused: str = "") -> None:
    """Refuse what cannot be run again, or waited for again; `refused` begins the words."""
    if task.state is not State.ERRORED:
        raise EngineRefused(f"{refused}Task '{task.plan.name}' is {task.state.value}, not errored.")
    if task.run.state is EngineState.RUNNING and task.handled:
        raise EngineRefused(f"{refused}Task '{task.plan.name}' is errored, and its workflow goes on behind it.")


def _open_all(world: World, run: Run) -> list[Run]:
    """Open an execution and its ancestors again (X2, X8), as far as they are not open for something else already; all
    are checked before any is touched."""
    path = []
    for here in _path(run):
        if here.state is EngineState.RUNNING:
            break
        if here.state is not EngineState.ERRORED or here.busy:
            now = "still running an action" if here.state is EngineState.ERRORED else here.state.value
            raise EngineRefused(f"Execution {here.id} ('{here.plan.name}') is {now}, not errored.")
        if here.parent is not None:
            _require_waits_for(here.parent, here)
        path.append(here)
    for here in path:
        here.error, here.output, here.told, here.unwanted = "", None, False, False
        world.move(here, EngineState.RUNNING)
        if here.parent is not None:
            _open_call(world, here.parent)
    return path


def _require_waits_for(call: Call, run: Run) -> None:
    refused = f"Execution {run.id} cannot open again: "
    if call.child is not run:
        raise EngineRefused(f"{refused}task '{call.task.plan.name}' above it has a newer one.")
    if not _goes_over_items(call):
        _require_errored(call.task, refused)


def _goes_over_items(call: Call) -> bool:
    """Whether the task above already waits for other items of it, and this one has ended: it waits for it as well."""
    return call.task.state is State.RUNNING and call.index is not None and call.state is State.ERRORED


def _path(run: Run) -> Iterable[Run]:
    yield run
    while run.parent is not None:
        run = run.parent.task.run
        yield run


def _open_call(world: World, call: Call) -> None:
    """The task above waits again for this child, beside those that it waits for by now."""
    task = call.task
    if task.state is not State.RUNNING:
        _clear(task)
        task.state = State.RUNNING
    call.state, call.result, call.error = State.RUNNING, None, ""
    task.running += 1
    task.left += call.index is not None
    task.run.busy += 1
    world.touch(task)
    world.touch(call)


def _again(world: World, task: Task, *, reset: bool) -> None:
    _clear(task)
    world.touch(task)
    if task.plan.need and task.consumed is None:
        await_again(world, task)
        task.run.waiting += 1
        world.jobs.append((Job.JOIN, task))
        return
    task.state = State.IDLE
    if task.plan.items is not None and task.calls is not None:
        _choose_items(world, task, reset=reset)
    world.jobs.append((Job.START, task))


def _choose_items(world: World, task: Task, *, reset: bool) -> None:
    """All items again, laid out anew; or those that did not succeed, the others keep their places (X6)."""
    if reset or task.lists is None or task.calls is None:
        task.todo = task.lists = None
        return
    states = [call.state if call is not None else State.IDLE for call in task.calls]
    task.todo = deque(place for place, state in enumerate(states) if state is not State.SUCCEEDED)
    task.left = len(task.todo)
    for place in task.todo:
        call = task.calls[place]
        if call is not None:
            call.state = State.IDLE
            world.touch(call)


def _clear(task: Task) -> None:
    """Take back the end of a task, before it has another."""
    run = task.run
    run.open += 1
    run.unhandled -= not task.handled
    task.handled = False
    task.error, task.published, task.way, task.pending, task.ended = "", None, (), (), None
    task.attempt, task.deadline, task.outcome = 0, None, None
    task.paused_before = task.waited_before = task.waited_after = False
    task.epoch += 1
