"""The verbs, checked first and carried out after: a refused one has changed nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused, NotFound
from flowbridge.local import Command
from flowbridge.localverbs import carry_out, require_seen
from flowbridge.model import EngineState
from flowbridge_actionchain import births
from flowbridge_actionchain.context import forget
from flowbridge_actionchain.flow import again, over, tell
from flowbridge_actionchain.language import parse
from flowbridge_actionchain.looks import task_of, workflow_of
from flowbridge_actionchain.packs.runnertypes import CHAIN, require_runnable
from flowbridge_actionchain.state import RUN_ENDED, Run, State, Task
from flowbridge_actionchain.world import World, descendants, is_busy, path_up

UNSEEN = "Nobody saw how action '{action}' ended: the process that ran it died. It is taken as failed."


def apply(world: World, command: Command) -> None:
    """Carry out a verb. Raises `EngineRefused`, `InvalidInput` or `NotFound`, and has then changed nothing."""
    carry_out(world, command, _start, _VERBS)


def _start(world: World, id: str, args: Mapping[str, Any]) -> None:
    given, name = dict(args.get("input") or {}), str(args.get("workflow") or "")
    if "definition" in args:
        world.adopt(
            _of_file(world, id, Definition(args["definition"], args.get("source") or "definition"), given, name)
        )
    else:
        world.adopt(_of_catalog(world, id, name, given))


def _of_file(world: World, id: str, definition: Definition, given: Mapping[str, Any], name: str) -> Run:
    run = Run(0, id, parse(definition), "", "", None, given, name=name)
    run.book = world.book(definition)
    return run


def _of_catalog(world: World, id: str, ref: str, given: Mapping[str, Any]) -> Run:
    services = world.services
    action = services.catalog.get(ref)
    require_runnable(action)
    values = births.bound(services, action, services.opened(given), births.renderer(world, None, action))
    if action.runner_type == CHAIN:
        definition = births.definition_of(action)
        run = Run(0, id, parse(definition), action.ref, action.pack, None, {}, name=action.name)
        run.book = world.book(definition)
    else:
        run = Run(0, id, births.only(action), action.ref, action.pack, None, {}, name=action.name, single=True)
    births.fill(world, run, action, values)
    return run


def _pause(world: World, run: Run, args: Mapping[str, Any]) -> None:  # noqa: ARG001
    if run.state in RUN_ENDED:
        raise EngineRefused(f"Execution {run.id} is {run.state.value}: it cannot be paused.")
    for found in world.runs:  # down, up, and so the whole tree (P2, P3)
        if found.state in (EngineState.RUNNING, EngineState.REQUESTED):
            world.move(found, EngineState.PAUSED)


def _resume(world: World, run: Run, args: Mapping[str, Any]) -> None:
    if run.state is not EngineState.PAUSED:
        raise EngineRefused(f"Execution {run.id} is {run.state.value}, not paused: it cannot be resumed.")
    require_seen(run, args)
    for found in [found for found in descendants(run) if found.state is EngineState.PAUSED]:
        world.move(found, EngineState.RUNNING if found.begun else EngineState.REQUESTED)


def _cancel(world: World, run: Run, args: Mapping[str, Any]) -> None:  # noqa: ARG001
    below = [found for found in descendants(run) if found.state not in RUN_ENDED]
    for found in below:
        found.error = "Canceled."
        world.move(found, EngineState.CANCELED)
        last = found.last
        if last is not None and last.state is State.IDLE:
            last.state = State.CANCELED
            world.touch(last)
    for found in reversed(below):
        tell(world, found)


def _rerun(world: World, run: Run, args: Mapping[str, Any]) -> None:
    tasks = [(task_of(run, id), bool(reset)) for id, reset in args["tasks"]]
    if all(task.state in (State.IDLE, State.RUNNING) for task, _ in tasks):
        return  # a call that is repeated
    for task, reset in tasks:
        _require_errored(task)
        if not reset:
            raise EngineRefused(f"Task '{task.node.name}' has no items: it can only be run again as a whole.")
    task = _reopened(world, run, [task for task, _ in tasks])
    task.state = State.IDLE
    _clear(world, task)


def _skip(world: World, run: Run, args: Mapping[str, Any]) -> None:
    tasks = [task_of(run, id) for id in args["tasks"]]
    for task in tasks:
        _require_errored(task)
    task = _reopened(world, run, tasks)
    error = task.error
    _clear(world, task)
    task.state, task.error = State.SKIPPED, error


def _require_errored(task: Task) -> None:
    if task.state is not State.ERRORED:
        raise EngineRefused(f"Task '{task.node.name}' is {task.state.value}, not errored.")


def _reopened(world: World, run: Run, tasks: Iterable[Task]) -> Task:
    """Open an execution and those above it again, at the earliest of these tasks: a chain goes on from one place.

    What came behind that task is taken back: it runs again as the definition says (X9). Everything is checked before
    anything is touched.
    """
    path = list(path_up(run))
    for here in path:
        _check_open(here)
    wanted = set(tasks)
    place = next(task for task in run.tasks if task in wanted)
    _go_back(world, run, place)
    for here in path[:-1]:
        above = here.parent
        assert above is not None  # noqa: S101  (only the root has none)
        _go_back(world, above.run, above)
        _clear(world, above)
        above.state = State.RUNNING
    return place


def _check_open(here: Run) -> None:
    if here.state is not EngineState.ERRORED or is_busy(here):
        now = "still running an action" if here.state is EngineState.ERRORED else here.state.value
        raise EngineRefused(f"Execution {here.id} ('{workflow_of(here)}') is {now}, not errored.")
    above = here.parent
    if above is None:
        return
    if above.child is not here or above not in above.run.tasks:
        raise EngineRefused(
            f"Execution {here.id} cannot open again: task '{above.node.name}' above it has a newer one."
        )
    if above.state is not State.ERRORED:
        raise EngineRefused(
            f"Execution {here.id} cannot open again: task '{above.node.name}' above it is {above.state.value}, "
            f"not errored."
        )


def _go_back(world: World, run: Run, task: Task) -> None:
    place = run.tasks.index(task)
    for later in run.tasks[place + 1 :]:
        run.taken_back.append(later)
        world.touch(later)
    del run.tasks[place + 1 :]
    run.failure = run.error = ""
    forget(run)
    world.move(run, EngineState.RUNNING)


def _clear(world: World, task: Task) -> None:
    """Take back the end of a task, before it has another."""
    task.result, task.error, task.published, task.ended, task.timed_out = None, "", None, None, False
    world.touch(task)


def _report(world: World, run: Run, args: Mapping[str, Any]) -> None:
    key = str(args["key"])
    task = next((task for task in world.waiting() if task.key == key), None)
    if task is None:
        if not any(key.startswith(f"{task.id}.") for task in (*run.tasks, *run.taken_back)):
            raise NotFound(f"Execution {run.id} has no action {key}.")
        return
    status, result = State(args["status"]), args.get("result")
    if status not in (State.SUCCEEDED, State.ERRORED, State.CANCELED):
        raise EngineRefused(f"An action can end succeeded, errored or canceled, not {status.value}.")
    error = "" if status is State.SUCCEEDED else _words(result) or f"The action was reported {status.value}."
    over(world, task, status, result, error)


def _words(result: Any) -> str:
    """What a result that is no success says in words: its `error`, where it is data with one."""
    if isinstance(result, Mapping) and result.get("error"):
        return str(result["error"])
    return str(result or "")


def _recover(world: World, run: Run, args: Mapping[str, Any]) -> None:
    assume = args.get("assume") or "failed"
    if assume not in ("failed", "rerun"):
        raise EngineRefused(f"'{assume}' cannot be assumed of an action. Allowed: failed, rerun.")
    below = set(descendants(run))
    for task in [task for task in world.lost() if task.run in below]:
        taken_for(world, task, assume)
    if world.job is not None and world.job[0].run in below:
        # It runs on. Should nobody be there to see how it ends, this is the answer to that too.
        world.job[0].assumed = assume


def taken_for(world: World, task: Task, assumed: str) -> None:
    """End an action whose end nobody saw as a recover has said: "failed", or "rerun" to have it run again."""
    if assumed == "rerun" and task.run.state is not EngineState.CANCELED:
        again(world, task)
    else:
        over(world, task, State.ERRORED, None, UNSEEN.format(action=task.node.ref), is_told=False)


_VERBS = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "rerun": _rerun,
    "skip": _skip,
    "report": _report,
    "recover": _recover,
}
