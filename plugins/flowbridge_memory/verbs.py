"""The verbs, checked first and carried out after: a refused one has changed nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowbridge.backend import Definition
from flowbridge.capabilities import Cascade
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.local import Command
from flowbridge.localverbs import carry_out, require_seen
from flowbridge.model import EngineState
from flowbridge_memory.books import missing, with_defaults
from flowbridge_memory.expressions import ExpressionError, Scope
from flowbridge_memory.expressions import compile as compiled
from flowbridge_memory.flow import dispatch, settle, wake
from flowbridge_memory.holds import pause_tree
from flowbridge_memory.plan import WorkflowPlan
from flowbridge_memory.reopen import rerun, skip
from flowbridge_memory.shelf import no_workflow
from flowbridge_memory.starts import adopt, call_over
from flowbridge_memory.state import ENDED, RUN_ENDED, Call, Run, State, Task
from flowbridge_memory.world import Job, World

UNSEEN = "Nobody saw how action '{action}' ended: the process that ran it died. It is taken as failed."


def apply(world: World, command: Command) -> None:
    """Carry out a verb. Raises `EngineRefused`, `InvalidInput` or `NotFound`, and has then changed nothing."""
    carry_out(world, command, _start, _VERBS)


def _start(world: World, id: str, args: Mapping[str, Any]) -> None:
    book = world.library.add(_definition(world, args))
    plan = _toward(_chosen(world, book, args.get("workflow") or ""), args.get("task_name") or "")
    given = dict(args.get("input") or {})
    _check_input(plan, given)
    world.library.check(book, plan.name)
    run = Run(0, id, book, plan, None, with_defaults(plan.spec.input, given), env=_environment(args.get("env") or {}))
    run.state = EngineState.REQUESTED
    adopt(world, run)
    world.touch_run(run)
    world.jobs.append((Job.BIRTH, run))


def _definition(world: World, args: Mapping[str, Any]) -> Definition:
    if "definition" in args:
        return Definition(args["definition"], args.get("source") or "definition")
    name = args.get("workflow") or ""
    definition = world.library.known(name)
    if definition is None:
        raise no_workflow(name)
    return definition


def _chosen(world: World, book: int, name: str) -> WorkflowPlan:
    names = world.library.names(book)
    if not name and len(names) == 1:
        name = names[0]
    plan = world.library.plan(book, name or "main")
    if plan is None:
        source = world.library.definitions[book].source
        asked = f"no workflow '{name}'" if name else "more than one workflow, and none named 'main'"
        raise InvalidInput(f"{source} has {asked}. It has: {', '.join(names)}.")
    return plan


def _toward(plan: WorkflowPlan, goal: str) -> WorkflowPlan:
    """A reverse workflow runs towards a task that is named at its start; a direct one knows no such thing."""
    if plan.spec.type == "direct" and goal:
        raise InvalidInput(f"Workflow '{plan.name}' is a direct one: it has no target task, so name none.")
    if plan.spec.type == "direct":
        return plan
    if goal not in plan.spec.tasks:
        asked = f"has no task '{goal}'" if goal else "is a reverse one and needs the name of its target task"
        raise InvalidInput(f"Workflow '{plan.name}' {asked}. It has: {', '.join(plan.spec.tasks)}.")
    return plan.toward(goal)


def _environment(given: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of an execution; a value may be an expression over the others as they were given."""
    try:
        return dict(compiled(dict(given)).evaluate(Scope({}, {"env": lambda: given})))
    except ExpressionError as wrong:
        raise InvalidInput(f"The environment cannot be told: {wrong}") from wrong


def _check_input(plan: WorkflowPlan, given: Mapping[str, Any]) -> None:
    absent = missing(plan.spec.input, given)
    surplus = [name for name in given if name not in plan.spec.input]
    if not absent and not surplus:
        return
    parts = [f"{word} {', '.join(found)}" for word, found in (("missing", absent), ("unknown", surplus)) if found]
    allowed = ", ".join(plan.spec.input) or "none"
    raise InvalidInput(f"Invalid input for workflow '{plan.name}': {'; '.join(parts)}. It takes: {allowed}.")


def _pause(world: World, run: Run, args: Mapping[str, Any]) -> None:  # noqa: ARG001
    if run.state in RUN_ENDED:
        raise EngineRefused(f"Execution {run.id} is {run.state.value}: it cannot be paused.")
    pause_tree(world, run)


def _resume(world: World, run: Run, args: Mapping[str, Any]) -> None:
    if run.state is not EngineState.PAUSED:
        raise EngineRefused(f"Execution {run.id} is {run.state.value}, not paused: it cannot be resumed.")
    require_seen(run, args)
    below = world.descendants(run) if Cascade.RESUME_DOWN in world.cascades else (run,)
    for found in [found for found in below if found.state is EngineState.PAUSED]:
        found.error = ""
        world.move(found, EngineState.RUNNING if found.begun else EngineState.REQUESTED)
        go_on(world, found)


def go_on(world: World, run: Run) -> None:
    """Take up what was put aside while an execution was held or ended."""
    if not run.begun:
        world.jobs.append((Job.BIRTH, run))
    parked, run.parked = run.parked, []
    for task in parked:
        task.parked = False
        world.touch(task)
        if run.state is not EngineState.RUNNING:
            world.park(task)
        elif task.state is State.IDLE:
            world.jobs.append((Job.START, task))
        else:
            dispatch(world, task, resumed=True)
    for task in run.latest.values() if run.waiting else ():
        if task.state is State.WAITING:
            world.jobs.append((Job.JOIN, task))
    world.jobs.append((Job.CHECK, run))


def _cancel(world: World, run: Run, args: Mapping[str, Any]) -> None:  # noqa: ARG001
    below = world.descendants(run) if Cascade.CANCEL_DOWN in world.cascades else (run,)
    for found in list(below):
        found.unwanted = True
        world.touch_run(found)
        if found.state not in RUN_ENDED:
            _cancel_one(world, found)


def _cancel_one(world: World, run: Run) -> None:
    run.error = "Canceled."
    run.output = {"result": run.error}
    world.move(run, EngineState.CANCELED)
    for task in [task for task in run.tasks if task.state not in ENDED]:
        _cancel_task(world, task)
    run.parked.clear()
    world.tell(run)


def _cancel_task(world: World, task: Task) -> None:
    """A task that runs runs on (C2). One that only waits, or was delayed, never starts."""
    if task.state is State.RUNNING:
        return
    if task.state is State.DELAYED:
        task.run.busy -= 1
        if task.outcome is not None:
            wake(world, task)
            return
    elif task.state is State.WAITING:
        task.run.waiting -= 1
    task.state, task.parked = State.CANCELED, False
    settle(world, task)


def _rerun(world: World, run: Run, args: Mapping[str, Any]) -> None:
    rerun(world, run, [(task, bool(reset)) for task, reset in args["tasks"]], go_on)


def _skip(world: World, run: Run, args: Mapping[str, Any]) -> None:
    skip(world, run, list(args["tasks"]), go_on)


def _report(world: World, run: Run, args: Mapping[str, Any]) -> None:
    key = args["key"]
    call = world.waiting.get(key)
    if call is None:
        if not any(key.startswith(f"{task.id}") for task in run.tasks):
            raise NotFound(f"Execution {run.id} has no action {key}.")
        return
    status, result = State(args["status"]), args.get("result")
    if status not in (State.SUCCEEDED, State.ERRORED, State.CANCELED):
        raise EngineRefused(f"An action can end succeeded, errored or canceled, not {status.value}.")
    del world.waiting[key]
    error = "" if status is State.SUCCEEDED else _words(result) or f"The action was reported {status.value}."
    call_over(world, call, status, result, error)


def _words(result: Any) -> str:
    """What a result that is no success says in words: its `error`, where it is data with one."""
    if isinstance(result, dict) and result.get("error"):
        return str(result["error"])
    return str(result or "")


def _recover(world: World, run: Run, args: Mapping[str, Any]) -> None:
    assume = args.get("assume") or "failed"
    if assume not in ("failed", "rerun"):
        raise EngineRefused(f"'{assume}' cannot be assumed of an action. Allowed: failed, rerun.")
    below = {found.number for found in world.descendants(run)}
    for call in [call for call in world.lost if call.task.run.number in below]:
        del world.lost[call]
        if assume == "rerun":
            relaunch(world, call)
        else:
            call_over(world, call, State.ERRORED, None, UNSEEN.format(action=call.action))


def relaunch(world: World, call: Call) -> None:
    """Run an action again whose end nobody saw."""
    call.generation += 1
    call.begun = False
    call.task.starts += 1
    world.touch(call)
    world.touch(call.task)
    world.launches.append(call)


_VERBS = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "rerun": _rerun,
    "skip": _skip,
    "report": _report,
    "recover": _recover,
}
