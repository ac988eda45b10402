"""What follows when a task ends: publishing, policies, ways out, joins, the end of the execution."""

from __future__ import annotations

from typing import Any

from flowbridge.model import EngineState
from flowbridge_memory import joins
from flowbridge_memory.context import Context, merged
from flowbridge_memory.definition import Command
from flowbridge_memory.expressions import ExpressionError
from flowbridge_memory.holds import pause_tree
from flowbridge_memory.plan import COMMANDS, ERROR, SKIP, SUCCESS, NextPlan, TaskPlan
from flowbridge_memory.policies import after
from flowbridge_memory.scopes import run_scope, task_scope
from flowbridge_memory.state import ENDED, RUN_ENDED, Run, State, Task
from flowbridge_memory.variables import EVENTS, outbound, publish
from flowbridge_memory.world import Job, World


def create(world: World, run: Run, plan: TaskPlan, causes: tuple[Task, ...], context: Context | None) -> None:
    """A new task of an execution, to be started. Where the tree has no room for it, the execution ends errored."""
    if world.tasks >= world.max_tasks:
        overflow(world, run, plan)
        return
    task = Task(run, plan, len(run.tasks) + 1, causes=causes, context=context, created=world.clock.now())
    world.add(task)
    world.jobs.append((Job.START, task))


def overflow(world: World, run: Run, plan: TaskPlan) -> None:
    """End an execution whose next task is one more than a tree may have."""
    message = f"Task '{plan.name}' is not started: {too_many(world)}"
    end(world, run, EngineState.ERRORED, message)


def too_many(world: World) -> str:
    """Why a tree gets no more tasks."""
    return (
        f"its tree has {world.max_tasks} tasks, as many as one may have. Where no loop runs without end, raise the "
        "option 'max_tasks' of the backend."
    )


def finish(world: World, task: Task, state: State, result: Any = None, error: str = "") -> None:
    """A task's work is over: publish, then what its policies say, then on to the next."""
    task.state, task.result, task.error = state, result, error
    if state is not State.CANCELED:
        try:
            publish(task)
            if not task.plan.keep_result:
                _forget_result(task)
            if task.plan.after and not after(world, task):
                return
        except ExpressionError as wrong:
            fail_hard(world, task, str(wrong))
            return
    settle(world, task)


def settle(world: World, task: Task) -> None:
    """A task has ended for good: take its ways out, now or, where its execution is held, at the resume."""
    try:
        taken = _ways(task)
    except ExpressionError as wrong:
        fail_hard(world, task, str(wrong))
        return
    _close(world, task, taken)
    run = task.run
    if task.pending:
        if run.state is EngineState.RUNNING:
            dispatch(world, task)
        elif run.state is EngineState.CANCELED:
            task.pending = ()
        else:
            world.park(task)
    _after_end(world, task)


def fail_hard(world: World, task: Task, message: str) -> None:
    """A task that cannot be carried on as written (an expression fails): it is errored and so is its execution."""
    task.state, task.error = State.ERRORED, f"{message} (task '{task.plan.name}')"
    abandon(world, task)
    _close(world, task, [])
    if task.run.state not in RUN_ENDED:
        end(world, task.run, EngineState.ERRORED, task.error)


def abandon(world: World, task: Task) -> None:
    """Stop waiting for whatever of a task still runs. Its outcome will not be looked at."""
    for call in task.calls or ():
        if call is not None and call.state is State.RUNNING:
            call.state, call.error = State.ERRORED, task.error
            world.waiting.pop(call.key, None)
            world.lost.pop(call, None)
            world.touch(call)
            world.calmer(task.run)
    task.running = task.left = 0
    if task.todo:
        task.todo.clear()


def dispatch(world: World, task: Task, *, resumed: bool = False) -> None:
    """Take the ways out of an ended task. What stands behind `pause` waits; after a resume `pause` itself is void."""
    pending, task.pending = task.pending, ()
    world.touch(task)
    keep = False
    for place, (target, event, message) in enumerate(pending):
        if target not in COMMANDS:
            keep |= _follow(world, task, target)
        elif target == Command.PAUSE:
            if not resumed:
                task.pending = pending[place + 1 :]
                world.park(task)
                pause_tree(world, task.run, message)
                break
        elif any(before not in COMMANDS for before, _, _ in pending[:place]):
            # The tasks that stand before it are started first; the command is taken right behind them.
            task.pending = pending[place:]
            world.jobs.append((Job.WAYS, task))
            break
        else:
            state = EngineState.SUCCEEDED if target == Command.SUCCEED else EngineState.ERRORED
            end(
                world,
                task.run,
                state,
                message or (f"Failed by '{event}' of task '{task.plan.name}'." if state is EngineState.ERRORED else ""),
            )
            break
    # A task that leads on needs its variables no more; they are found again if it ever runs again.
    if task.way and not keep and not task.pending:
        task.context = None


def go_on_behind(world: World, task: Task) -> None:
    """Take the rest of an ended task's ways out, unless its execution has ended meanwhile."""
    if task.run.state is EngineState.RUNNING:
        dispatch(world, task)
    elif task.run.state in RUN_ENDED:
        task.pending = ()
        world.touch(task)
    else:
        world.park(task)


def check(world: World, run: Run) -> None:
    """End an execution that has nothing left to do, and joins that nothing can reach any more."""
    if run.state is not EngineState.RUNNING or not run.begun:
        return
    if run.open == 0:
        _conclude(world, run)
    elif run.open == run.waiting:
        waiting = [task for task in run.latest.values() if task.state is State.WAITING]
        lost = [(task, joins.unreachable(task)) for task in waiting]
        if not any(reason for _, reason in lost):
            lost = [(task, "The join can not come together: it waits for itself.") for task in waiting]
        for task, reason in lost:
            if reason and task.state is State.WAITING:
                lose_join(world, task, reason)


def look_at_join(world: World, join: Task) -> None:
    """End a waiting join that nothing can reach any more."""
    join.queued = False
    if join.state is State.WAITING and join.run.state is EngineState.RUNNING and (why := joins.unreachable(join)):
        lose_join(world, join, why)


def lose_join(world: World, join: Task, reason: str) -> None:
    """A join that cannot come together is errored."""
    join.run.waiting -= 1
    joins.take_over(join)
    finish(world, join, State.ERRORED, None, reason)


def end(world: World, run: Run, state: EngineState, message: str = "") -> None:
    """End an execution now. Actions that still run are waited for before the parent hears of it (C4)."""
    if run.state in RUN_ENDED:
        return
    output: Any = None
    try:
        output = _output(run, state, message)
    except ExpressionError as wrong:
        state, message = EngineState.ERRORED, f"The output cannot be told: {wrong}"
        output = {"result": message}
    run.error, run.output = message, output
    world.move(run, state)
    _still(world, run)
    world.tell(run)


def _still(world: World, run: Run) -> None:
    """No delayed task starts after the end of its execution."""
    if run.open == 0:
        return
    for task in run.tasks:
        if task.state is State.DELAYED:
            run.busy -= 1
            if task.outcome is not None:
                wake(world, task)
            else:
                task.state, task.due = State.IDLE, None
                world.park(task)


def wake(world: World, task: Task) -> None:
    """wait-after is over: the task ends as its work did."""
    state, error = task.outcome or (State.SUCCEEDED, "")
    task.outcome, task.due = None, None
    task.state, task.error = State(state), error
    try:
        if task.plan.after and not after(world, task):
            return
    except ExpressionError as wrong:
        fail_hard(world, task, str(wrong))
        return
    settle(world, task)


def _conclude(world: World, run: Run) -> None:
    if run.canceled:
        names = _names(task for task in run.tasks if task.state is State.CANCELED)
        end(world, run, EngineState.CANCELED, f"Canceled tasks: {names}.")
    elif run.unhandled:
        end(world, run, EngineState.ERRORED, _failure(run))
    else:
        end(world, run, EngineState.SUCCEEDED)


def _failure(run: Run) -> str:
    failed = [task for task in run.tasks if task.state is State.ERRORED and not task.handled]
    reasons = [f"{task.plan.name}: {_short(task.error)}" for task in failed[:10]]
    rest = [f"and {len(failed) - 10} more"] if len(failed) > 10 else []
    return f"Failed tasks: {'; '.join(reasons + rest)}"


def _short(text: str) -> str:
    """Both ends of a text that is long: what failed far below stands at the end."""
    return text if len(text) <= 500 else f"{text[:200]} ... {text[-300:]}"


def _names(tasks: Any) -> str:
    names = list(dict.fromkeys(task.plan.name for task in tasks))
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _output(run: Run, state: EngineState, message: str) -> Any:
    if state is EngineState.CANCELED:
        return {"result": message}
    context = merged([outbound(task) for task in run.tasks if task.state in ENDED and _is_last(task)])
    wanted = run.plan.output if state is EngineState.SUCCEEDED else run.plan.output_on_error
    found = wanted.evaluate(run_scope(run, *context.values)) if wanted is not None else None
    output = found or context.flat()
    if state is EngineState.SUCCEEDED:
        return output
    return {"result": message, **output} if isinstance(output, dict) else {"result": message}


def _is_last(task: Task) -> bool:
    """Whether what a task hands on is the execution's: of a task that led nowhere, or of the goal."""
    goal = task.run.plan.goal
    return task.plan.name == goal if goal else not task.way


def _ways(task: Task) -> list[tuple[NextPlan, str]]:
    event = EVENTS.get(task.state)
    if event is None:
        return []
    if task.run.plan.goal:
        return [] if event is ERROR else [(NextPlan(name, SUCCESS, None, None), "") for name in _unlocked(task)]
    ways = task.plan.ways[event]
    taken = _taken(task, ways)
    if event is SKIP and not taken:
        taken = _taken(task, tuple(way for way in task.plan.ways[SUCCESS] if way.event == SUCCESS))
    return taken


def _unlocked(task: Task) -> list[str]:
    """The tasks of a reverse workflow that required this one and nothing else any more."""
    latest = task.run.latest
    done = {State.SUCCEEDED, State.SKIPPED}
    return [
        plan.name
        for plan in task.run.plan.dependents.get(task.plan.name, ())
        if plan.name not in latest and all(name in latest and latest[name].state in done for name in plan.spec.requires)
    ]


def _taken(task: Task, ways: tuple[NextPlan, ...]) -> list[tuple[NextPlan, str]]:
    taken: list[tuple[NextPlan, str]] = []
    scope: Any = None
    for way in ways:
        message = ""
        if way.condition is not None or way.message is not None:
            scope = scope or task_scope(task, *outbound(task).values)
            if way.condition is not None and not way.condition.evaluate(scope):
                continue
            message = str(way.message.evaluate(scope)) if way.message is not None else ""
        taken.append((way, message))
    return taken


def _close(world: World, task: Task, taken: list[tuple[NextPlan, str]]) -> None:
    """Write down that a task has ended, and where it leads."""
    run = task.run
    run.open -= 1
    task.ended = world.clock.now()
    task.due = None
    task.way = tuple([(way.target, way.event) for way, _ in taken if way.target not in COMMANDS])
    task.pending = tuple([(way.target, way.event, message) for way, message in taken if way.target != Command.NOOP])
    if task.state is State.ERRORED:
        task.handled = any(way.event == ERROR for way, _ in taken)
        run.unhandled += not task.handled
    elif task.state is State.CANCELED:
        run.canceled += 1
    world.touch(task)


def _after_end(world: World, task: Task) -> None:
    run = task.run
    if run.waiting and len(task.way) < task.plan.outs:
        for join in joins.missed(task):
            if join.state is State.WAITING and not join.queued:
                join.queued = True
                world.jobs.append((Job.JOIN, join))
    if run.open == run.waiting and run.state is EngineState.RUNNING:
        world.jobs.append((Job.CHECK, run))


def _follow(world: World, cause: Task, target: str) -> bool:
    """Take one way out. True where it leads to a join that still waits."""
    plan = cause.run.plan.tasks[target]
    if plan.spec.requires:
        causes = tuple(cause.run.latest[name] for name in plan.spec.requires)
        create(world, cause.run, plan, causes, merged([outbound(one) for one in causes]))
        return False
    if plan.need:
        if world.tasks >= world.max_tasks and not joins.waits(cause.run, plan):
            overflow(world, cause.run, plan)
            return False
        return joins.arrive(world, plan, cause)
    create(world, cause.run, plan, (cause,), outbound(cause))
    return False


def _forget_result(task: Task) -> None:
    task.result = None
    for call in task.calls or ():
        if call is not None:
            call.result = None
