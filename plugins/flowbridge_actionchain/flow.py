"""How a chain goes on: the next task, what it is given, and what comes of its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flowbridge.errors import EngineRefused, FlowbridgeError, InvalidInput, LedgerError, NotFound, Unavailable
from flowbridge.model import EngineState, TaskStatus
from flowbridge_actionchain import births
from flowbridge_actionchain.births import LINK, ChainError
from flowbridge_actionchain.context import memory, names_of, remember
from flowbridge_actionchain.jobs.model import Job, JobOutcome
from flowbridge_actionchain.language import Node, is_template
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.parameters import has_template
from flowbridge_actionchain.packs.runnertypes import CHAIN, ELSEWHERE, LEAVES
from flowbridge_actionchain.results import output_of
from flowbridge_actionchain.state import ENDED, RUN_ENDED, Kind, Run, State, Task
from flowbridge_actionchain.templates import TemplateError
from flowbridge_actionchain.world import Ahead, Launch, World, is_busy


def go(world: World, run: Run) -> None:
    """One step of an execution, as far as it may take one."""
    if run.state is EngineState.REQUESTED:
        _begin(world, run)
    if run.state is not EngineState.RUNNING:
        return
    last = run.last
    if run.failure:
        end(world, run, EngineState.ERRORED)
    elif last is None:
        _go_to(world, run, run.chain.first, "default", run.chain.source)
    elif last.state is State.IDLE:
        _attempt(world, last)
    elif last.state in ENDED:
        _follow(world, run, last)


def _begin(world: World, run: Run) -> None:
    run.begun = True
    world.move(run, EngineState.RUNNING)
    world.fresh[run] = None
    try:
        births.set_variables(world, run)
    except (ChainError, FlowbridgeError) as error:
        fail(world, run, f"the chain's vars cannot be told: {error}")


def _follow(world: World, run: Run, last: Task) -> None:
    if last.state is State.CANCELED:
        end(world, run, EngineState.CANCELED)
        return
    good = last.state in (State.SUCCEEDED, State.SKIPPED)
    way, name = ("on-success", last.node.on_success) if good else ("on-failure", last.node.on_failure)
    if not _go_to(world, run, name, f"{way} of task {last.node.name!r}", _place(run, last.node)):
        end(world, run, EngineState.SUCCEEDED if good else EngineState.ERRORED, "" if good else last.error)


def _go_to(world: World, run: Run, name: str, what: str, place: str) -> bool:
    """Begin the task of a name, which may be a template. False where it is empty; a wrong one is the chain's error."""
    try:
        if is_template(name):
            name = str(world.services.templates.render(name, names_of(world, run))).strip()
    except FlowbridgeError as error:
        fail(world, run, f"{place}: {what} cannot be told: {error}")
        return True
    if name in run.chain.nodes:
        start(world, run, run.chain.nodes[name])
    elif name:
        fail(world, run, f"{place}: {what} gives {name!r}, which is no task; there is: {', '.join(run.chain.nodes)}")
    return bool(name)


def start(world: World, run: Run, node: Node) -> None:
    """Begin a task of an execution, unless the bound on tasks is reached."""
    if run.taken >= world.services.max_steps:
        fail(world, run, f"the chain has run {run.taken} tasks, and no more are run; raise max_steps where it loops on")
        return
    # Tasks are never forgotten, so this number is new.
    task = Task(run, run.taken + 1, node, created=time.time())
    run.tasks.append(task)
    _attempt(world, task)


def _attempt(world: World, task: Task) -> None:
    """Begin what a task runs. What stands in the way is the chain's own error, or the task's, as in StackStorm."""
    task.starts += 1
    task.kind, task.child, task.job, task.ahead = Kind.NONE, None, "", ""
    world.touch(task)
    try:
        _launch(world, task)
    except ChainError as error:
        _stillborn(world, task, error.message)
    except (EngineRefused, NotFound, Unavailable, TemplateError, LedgerError) as error:
        _stillborn(world, task, f"task {task.node.name!r} cannot be run: {error.message}")
    except InvalidInput as error:
        message = world.services.masked(error.message)
        trace = _place(task.run, task.node)
        over(world, task, State.ERRORED, {"error": message, "traceback": trace}, message, is_told=False)


def _launch(world: World, task: Task) -> None:
    node = task.node
    if _take_ahead(world, task):
        return
    if node.ref == LINK:
        _link(world, task, births.link_of(world, task))
        return
    action = births.action_of(world, task)
    values = births.values_of(world, task, action)
    if action.runner_type == CHAIN:
        births.bear(world, task, action, values)
        task.kind, task.state = Kind.CHAIN, State.RUNNING
    elif action.runner_type in ELSEWHERE:
        _link(world, task, births.link_to(world, task, action, values))
    else:
        _leaf(world, task, action, values)


def look_ahead(world: World) -> None:
    """While an action runs, make ready the one that follows its success, where nothing of it depends on what comes.

    Once that is written down, with the task that runs, it may be begun as soon as its turn comes (see `hand_over`).
    """
    if world.job is None or world.ahead is not None or world.job[0].run.state is not EngineState.RUNNING:
        return
    after = world.job[0]
    way = after.node.on_success
    node = after.run.chain.nodes.get(way)
    world.ahead = Ahead(after, node)
    if node is None or is_template(way) or has_template(node.parameters) or node.ref == LINK:
        return
    task = Task(after.run, after.run.taken + 1, node, starts=1)
    try:
        action = births.action_of(world, task)
        if action.runner_type in LEAVES:
            values, context = births.values_of(world, task, action), births.run_context(world, task.key, action)
            job = world.jobs.prepare(action, values, context, early=True)
            world.ahead = Ahead(after, node, job, len(world.services.secrets))
            after.ahead = job.handle
            world.touch(after)
    except (ChainError, FlowbridgeError):
        return  # it is told when its turn comes


def look_away(world: World) -> None:
    """Forget what was made ready, where it was not begun: something else may come than the end that was waited for."""
    ahead, world.ahead = world.ahead, None
    if ahead is None:
        return
    if ahead.job is not None:
        ahead.job.withdraw()
        world.over.append(ahead.job)
    if ahead.after.ahead:
        ahead.after.ahead = ""
        world.touch(ahead.after)


def _take_ahead(world: World, task: Task) -> bool:
    """Give a task the job that was made ready for it. False where there is none, or not the right one any more."""
    ahead = world.ahead
    if ahead is not None and ahead.is_for(task):
        if ahead.handle:
            return _take_found(world, task, ahead)
        if ahead.job is not None and (ahead.job.begun or ahead.secrets == len(world.services.secrets)):
            world.ahead = None
            if ahead.job.begun:
                _is_begun(world, task, ahead.job.handle, ahead.job)
            else:
                _begin_job(world, task, ahead.job, is_written=ahead.is_written)
            return True
    look_away(world)
    return False


def hand_over(world: World) -> None:
    """Have what was made ready and is written down begin by itself once the action before it has plainly succeeded:
    all that is to be made of that end is done while the next one runs."""
    ahead = world.ahead
    if ahead is None or ahead.job is None or not ahead.is_written or ahead.is_handed or world.job is None:
        return
    run, services = ahead.after.run, world.services
    # Such an end is taken in without any step that can fail, or that makes a difference to the job.
    is_plain = not ahead.after.node.publish and run.now is not None and ahead.secrets == len(services.secrets)
    if is_plain and run.state is EngineState.RUNNING and not run.failure and run.taken < services.max_steps:
        ahead.is_handed = True
        ahead.job.follow(world.job[1])


def withdrawn(world: World) -> bool:
    """Whether nothing of what was made ready, by whatever process, has begun, nor will."""
    ahead = world.ahead
    if ahead is None:
        return True
    job = world.jobs.find(ahead.handle) if ahead.handle else ahead.job
    return not ahead.handle if job is None else job.withdraw()


def find_ahead(world: World, ahead: Ahead) -> bool:
    """Whether the job that another process made ready may have been begun by it."""
    if ahead.job is None:
        job = world.jobs.find(ahead.handle)
        if job is not None and job.withdraw():
            return False
        ahead.job = job
    return True


def _take_found(world: World, task: Task, ahead: Ahead) -> bool:
    """Go on with the job that another process has begun, or may have, before it could write that down."""
    world.ahead = None
    if not find_ahead(world, ahead):
        return False
    _is_begun(world, task, ahead.handle, ahead.job)
    return True


def _is_begun(world: World, task: Task, handle: str, job: Job | None) -> None:
    """The job of a task runs already, or did; without one nobody knows how it ended."""
    task.kind, task.state, task.job, task.lost = Kind.JOB, State.RUNNING, handle, job is None
    world.job = None if job is None else (task, job)


def _link(world: World, task: Task, link: births.Link) -> None:
    task.kind, task.state, task.target, task.given = Kind.LINK, State.RUNNING, link.target, link.input
    task.owner, task.env, task.workflow, task.goal = link.owner, link.env, link.workflow, link.task_name
    world.touch(task)


def _leaf(world: World, task: Task, action: PackAction, values: Mapping[str, Any]) -> None:
    job = world.jobs.prepare(action, values, births.run_context(world, task.key, action))
    _begin_job(world, task, job)


def _begin_job(world: World, task: Task, job: Job, *, is_written: bool = False) -> None:
    task.kind, task.state, task.job = Kind.JOB, State.RUNNING, job.handle
    world.launch = Launch(task, job, is_written)


def over(
    world: World,
    task: Task,
    state: State,
    result: Any,
    error: str = "",
    *,
    timed_out: bool = False,
    is_told: bool = True,
) -> None:
    """Record the end of a task, publish, and have its execution looked at.

    Without `is_told` the action did not tell this end: it never began, or nobody saw it end. Then nothing is published.
    """
    task.state, task.lost, task.assumed, task.timed_out, task.ahead = state, False, "", timed_out, ""
    task.result = None if task.kind is Kind.CHAIN else result
    task.error, task.ended = error, time.time()
    world.touch(task)
    run = task.run
    if state in (State.SUCCEEDED, State.ERRORED):
        _take_in(world, task, result, is_told=is_told)
    if run.state is EngineState.CANCELED:
        tell(world, run)
    else:
        world.queue.append(run)


def _take_in(world: World, task: Task, result: Any, *, is_told: bool) -> None:
    """Remember what a task gave, and publish what it is to publish."""
    run = task.run
    try:
        memory(world, run)
    except FlowbridgeError as error:  # the key of the run's secrets is not there any more
        fail(world, run, error.message)
        return
    run.results[task.node.name] = result
    if task.node.publish and is_told:
        _publish(world, task)


def _publish(world: World, task: Task) -> None:
    run = task.run
    try:
        found = world.services.templates.all(task.node.publish, names_of(world, run))
    except TemplateError as error:
        why = f"task {task.node.name!r}: published {error.key!r} cannot be told: {error.message} ({error.text})"
        why += f"; the task had failed: {task.error}" if task.error else ""
        task.state, task.error = State.ERRORED, task.error or why
        fail(world, run, f"{_place(run, task.node)}: {why}")
        return
    task.published = remember(world, run, found)


def _stillborn(world: World, task: Task, message: str) -> None:
    """A task that could not be begun: it is errored, so that it can be run again, and the chain fails with it."""
    message = world.services.masked(message)
    task.state, task.error, task.ended = State.ERRORED, message, time.time()
    fail(world, task.run, f"{_place(task.run, task.node)}: {message}")


def fail(world: World, run: Run, message: str) -> None:
    """The chain's own error: it ends the execution, a held one after its resume (P8)."""
    run.failure = world.services.masked(message)
    world.changed_runs[run] = None
    world.queue.append(run)


def end(world: World, run: Run, state: EngineState, error: str = "") -> None:
    """End an execution and let its parent know."""
    run.error = "" if state is EngineState.SUCCEEDED else run.failure or error
    world.move(run, state)
    tell(world, run)


def tell(world: World, run: Run) -> None:
    """Record the end of an execution in the task above it, once nothing of it runs any more."""
    task = run.parent
    if task is None or run.state not in RUN_ENDED or is_busy(run):
        return
    if task.child is run and task.state is State.RUNNING:
        over(world, task, _END[run.state], output_of(run), run.error)


_END = {
    EngineState.SUCCEEDED: State.SUCCEEDED,
    EngineState.ERRORED: State.ERRORED,
    EngineState.CANCELED: State.CANCELED,
}


def _place(run: Run, node: Node) -> str:
    return run.chain.place(node.name)


def leaf_over(world: World, task: Task, outcome: JobOutcome) -> None:
    """Record how a leaf action ended."""
    good = outcome.status is TaskStatus.SUCCEEDED
    over(
        world,
        task,
        State.SUCCEEDED if good else State.ERRORED,
        outcome.result,
        "" if good else outcome.error or f"action {task.node.ref} failed",
        timed_out=outcome.timed_out,
    )


def not_begun(world: World, task: Task) -> None:
    """A leaf action that was to begin when its process died, and of which nothing ran: its turn comes again."""
    if task.run.state is EngineState.CANCELED:
        over(world, task, State.CANCELED, None)
        return
    again(world, task)


def again(world: World, task: Task) -> None:
    """Give a task its turn again: what was known or assumed of its action holds no longer."""
    task.state, task.kind, task.lost, task.assumed = State.IDLE, Kind.NONE, False, ""
    world.touch(task)
    world.queue.append(task.run)


def idle(seconds: float) -> None:
    """Let time pass: what ends this comes through the ledger."""
    time.sleep(seconds)
