"""The policies of a task: pause-before, wait-before, timeout, wait-after, fail-on, retry."""

from __future__ import annotations

from typing import Any

from flowbridge_memory.expressions import Compiled, ExpressionError
from flowbridge_memory.holds import pause_tree
from flowbridge_memory.scopes import task_scope
from flowbridge_memory.state import RUN_ENDED, State, Task
from flowbridge_memory.values import seconds_of, shown
from flowbridge_memory.variables import inbound, outbound
from flowbridge_memory.world import Alarm, World


def before(world: World, task: Task) -> bool:
    """The policies before a task starts, in the language's order. False: it starts later.

    Raises `ExpressionError` where a policy cannot be told.
    """
    plan = task.plan
    scope = task_scope(task, *inbound(task).values)
    if plan.timeout is not None and task.deadline is None:
        limit = seconds(plan.timeout, scope, "timeout")
        if limit > 0:
            task.deadline = world.clock.now() + limit
            world.alarm(task.deadline, Alarm.TIMEOUT, task)
    if plan.pause_before is not None and not task.paused_before and truth(plan.pause_before, scope, "pause-before"):
        task.paused_before = True
        pause_tree(world, task.run, f"Paused before task '{plan.name}'.")
        world.park(task)
        return False
    if plan.wait_before is not None and not task.waited_before:
        task.waited_before = True
        delay = seconds(plan.wait_before, scope, "wait-before")
        if delay > 0:
            delayed(world, task, delay, Alarm.START)
            return False
    return True


def after(world: World, task: Task) -> bool:
    """The policies at the end of a task, in the language's order. False: it goes on later."""
    if _waits_after(world, task):
        return False
    _fail_on(task)
    return not _retries(world, task)


def _waits_after(world: World, task: Task) -> bool:
    plan, run = task.plan.wait_after, task.run
    if plan is None or task.waited_after or run.state in RUN_ENDED:
        return False
    delay = seconds(plan, task_scope(task, *outbound(task).values), "wait-after")
    if delay <= 0:
        return False
    task.waited_after = True
    task.outcome = (task.state, task.error)
    delayed(world, task, delay, Alarm.END)
    return True


def _fail_on(task: Task) -> None:
    plan = task.plan.fail_on
    if plan is None or task.state is not State.SUCCEEDED:
        return
    if plan.evaluate(task_scope(task, *outbound(task).values)):
        task.state, task.error = State.ERRORED, "Failed by its 'fail-on' condition."


def _retries(world: World, task: Task) -> bool:
    plan, run = task.plan.retry, task.run
    if plan is None or run.state in RUN_ENDED or _lost_join(task):
        return False
    scope = task_scope(task, *outbound(task).values)
    if task.attempt >= seconds(plan.limit, scope, "retry: count"):
        return False
    errored = task.state is State.ERRORED
    if plan.continue_on is not None:
        if not plan.continue_on.evaluate(scope):
            return False
    elif not errored:
        return False
    if errored and plan.break_on is not None and plan.break_on.evaluate(scope):
        return False
    task.attempt += 1
    task.todo = None
    delayed(world, task, seconds(plan.delay, scope, "retry: delay"), Alarm.START)
    return True


def _lost_join(task: Task) -> bool:
    """A join that did not come together has done nothing that could be done again."""
    return bool(task.plan.need) and task.consumed is None


def truth(plan: Compiled, scope: Any, what: str) -> bool:
    """Whether a policy that is one or the other holds. Raises `ExpressionError` where its value is neither."""
    value = plan.evaluate(scope)
    if not isinstance(value, bool):
        raise ExpressionError(f"'{what}' must be true or false, not {shown(value)}.")
    return value


def seconds(plan: Compiled, scope: Any, what: str) -> float:
    """A number a policy names. Raises `ExpressionError` where it is none, below zero, or without end."""
    value = plan.evaluate(scope)
    found = seconds_of(value)
    if found is None:
        raise ExpressionError(f"'{what}' must be a finite number of zero or more, not {shown(value)}.")
    return found


def delayed(world: World, task: Task, delay: float, alarm: Alarm) -> None:
    """Let a task wait; it counts as active meanwhile (S2)."""
    task.state = State.DELAYED
    task.due = world.clock.now() + delay
    task.run.busy += 1
    world.touch(task)
    world.alarm(task.due, alarm, task)
