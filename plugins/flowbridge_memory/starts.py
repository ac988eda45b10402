"""Starting tasks, their actions, their items and their sub-workflows, and taking in how these ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

from flowbridge.capabilities import Cascade
from flowbridge.errors import EngineRefused, FlowbridgeError
from flowbridge.model import EngineState
from flowbridge_memory.actions import Kind
from flowbridge_memory.books import Found, missing, with_defaults
from flowbridge_memory.context import overlaid
from flowbridge_memory.definition import ActionSpec
from flowbridge_memory.expressions import ExpressionError
from flowbridge_memory.flow import abandon, create, end, fail_hard, finish, too_many, wake
from flowbridge_memory.plan import TaskPlan
from flowbridge_memory.policies import before, seconds, truth
from flowbridge_memory.scopes import action_scope, data_scope, run_scope, task_scope
from flowbridge_memory.state import Call, Run, State, Task
from flowbridge_memory.variables import inbound
from flowbridge_memory.workers import outcome_of
from flowbridge_memory.world import MAX_LEVELS, Alarm, Job, World

#: Children get ids that follow from their parent's, so that a boundary repeated after a crash makes no second one.
CHILDREN = UUID("6a1f1c0e-53a5-5d0c-9a53-0d2f8f0c7b11")
HELD = (EngineState.PAUSED, EngineState.REQUESTED)


def birth(world: World, run: Run) -> None:
    """Create the first tasks of an execution, unless it was paused or canceled before it began."""
    if run.begun or run.state not in (EngineState.REQUESTED, EngineState.RUNNING):
        return
    run.begun = True
    world.move(run, EngineState.RUNNING)
    try:
        if run.plan.vars is not None:
            run.vars = run.plan.vars.evaluate(run_scope(run))
            run.context = dict(run.vars)
            world.write_once(run)
    except ExpressionError as wrong:
        end(world, run, EngineState.ERRORED, f"The workflow's vars cannot be told: {wrong}")
        return
    for plan in run.plan.starts:
        create(world, run, plan, (), None)
    if not run.plan.starts:
        world.jobs.append((Job.CHECK, run))


def start(world: World, task: Task) -> None:
    """Start a task, or put it aside where its execution is not running."""
    if task.state is not State.IDLE or task.parked:
        return
    if task.run.state is not EngineState.RUNNING:
        world.park(task)
        return
    try:
        if not task.plan.before or before(world, task):
            _begin(world, task)
    except ExpressionError as wrong:
        fail_hard(world, task, str(wrong))


def restart(world: World, task: Task) -> None:
    """A delay is over: start the task, or let it wait for the resume."""
    task.state, task.due = State.IDLE, None
    task.run.busy -= 1
    world.touch(task)
    start(world, task)


def resume_end(world: World, task: Task) -> None:
    """wait-after is over."""
    wake(world, task)
    world.calmer(task.run)


def timed_out(world: World, task: Task) -> None:
    """A task took too long: it is errored, and what of it still runs is waited for no more."""
    if task.state is State.WAITING:
        task.run.waiting -= 1
    elif task.state is State.DELAYED:
        task.epoch += 1
        world.calmer(task.run)
    task.deadline = task.outcome = task.due = None
    task.error = message = "The task took longer than its 'timeout'."
    abandon(world, task)
    finish(world, task, State.ERRORED, None, message)


def call_over(world: World, call: Call, state: State, result: Any = None, error: str = "") -> None:
    """An action or a child that somebody waited for has ended."""
    if call.state is not State.RUNNING:
        return
    task = call.task
    call.begun, call.due = False, None
    task.running -= 1
    try:
        _close_call(world, call, state, result, error)
    except ExpressionError as wrong:
        fail_hard(world, task, str(wrong))
        world.calmer(task.run)
        return
    if call.index is not None:
        _go_on(world, task)
    else:
        # The result of a plain task is kept once: with the task.
        result, call.result = call.result, None
        finish(world, task, call.state, result, call.error)
    world.calmer(task.run)


def child_over(world: World, run: Run) -> None:
    """A child has ended: its result is the result of the call that started it, if that still waits for it."""
    call = run.parent
    if call is None or call.child is not run:
        return
    state = State(run.state.value)
    call_over(world, call, state, run.output, run.error or _told(run))


def _told(run: Run) -> str:
    return "" if run.state is EngineState.SUCCEEDED else f"The sub-workflow '{run.plan.name}' is {run.state.value}."


def launch(world: World, call: Call) -> tuple[str, Any, Mapping[str, Any]]:
    """Mark a waiting call as begun and give what the workers need. To be written down before it is handed out."""
    call.begun = True
    world.flying[call.key] = call
    world.touch(call)
    return call.key, _function(world, call), call.input or {}


def rerunnable(world: World, call: Call) -> bool:
    """Whether an action may be run again when nobody saw how it ended: pure, or the task says `safe-rerun`."""
    found = world.library.action(call.task.run.book, call.action)
    if found is not None and found.action.pure:
        return True
    safe = call.task.plan.safe_rerun
    try:
        return safe is not None and truth(safe, task_scope(call.task, *inbound(call.task).values), "safe-rerun")
    except ExpressionError:
        return False  # what cannot be told is not done twice


def _begin(world: World, task: Task) -> None:
    task.state = State.RUNNING
    task.error = ""
    world.touch(task)
    plan = task.plan
    if plan.items is not None:
        _begin_items(world, task)
        return
    scope = task_scope(task, *inbound(task).values) if plan.input or plan.action_name is None else None
    task.starts += 1
    input = _input(plan, scope)
    if plan.workflow is None and _at_once(world, task, scope, input):
        return
    call = task.calls[0] if task.calls else None
    if call is None:
        call = Call(task, None)
        task.calls = [call]
    _open(world, call, scope, input)


def _at_once(world: World, task: Task, scope: Any, input: Mapping[str, Any]) -> bool:
    """Run an action that takes no time, with no call to keep."""
    found = _action(world, task, scope)
    action = found.action
    if found.wraps or action.kind is not Kind.INLINE or (action.delay and input.get(action.delay) is not None):
        return False
    _check_input(found, input)
    outcome = outcome_of("", action.call, input)
    finish(world, task, State.ERRORED if outcome.error else State.SUCCEEDED, outcome.result, outcome.error)
    return True


def _action(world: World, task: Task, scope: Any) -> Found:
    plan = task.plan
    name = plan.action_name
    if name is None:
        name = str(plan.action.evaluate(scope)) if plan.action is not None else "std.noop"
    found = world.library.action(task.run.book, name)
    if found is None:
        raise ExpressionError(world.library.actions.refusal(name) or f"There is no action '{name}'.")
    return found


def _input(plan: TaskPlan, scope: Any) -> Mapping[str, Any]:
    if plan.input is None:
        return {}
    found = plan.input.evaluate(scope)
    if not isinstance(found, dict):
        raise ExpressionError(f"The input of a task must be names with values, not {found!r}.")
    return found


def _begin_items(world: World, task: Task) -> None:
    if task.todo is None:
        _lay_out(world, task)
    _go_on(world, task)


def _lay_out(world: World, task: Task) -> None:
    """Find the items of a task. Places that were there before keep their calls, so that a new child gets a new id."""
    plan = task.plan
    scope = task_scope(task, *inbound(task).values)
    lists: dict[str, list[Any]] = {}
    for name, source in plan.items or ():
        values = source.evaluate(scope)
        if not hasattr(values, "__iter__"):
            raise ExpressionError(f"'with-items': '{name}' must go over a list, not {values!r}.")
        lists[name] = list(values)
    widths = {len(values) for values in lists.values()}
    if len(widths) > 1:
        raise ExpressionError("'with-items': all lists must have the same length.")
    task.limit = int(seconds(plan.concurrency, scope, "concurrency")) if plan.concurrency is not None else 0
    task.lists = lists
    task.width = task.left = widths.pop()
    known = task.calls or []
    task.calls = [known[place] if place < len(known) else None for place in range(task.width)]
    for call in task.calls:
        if call is not None:
            call.state, call.result, call.error = State.IDLE, None, ""
            world.touch(call)
    task.todo = deque(range(task.width))
    world.write_once(task)


def _go_on(world: World, task: Task) -> None:
    """Begin the next items of a task as far as its concurrency goes; end it with the last of them.

    Not held back by a pause or a cancel: the remaining items belong to the running task (P5, C2).
    """
    try:
        while task.todo and (room := _room(task)):
            # An input that cannot be told fails the task before any of these items begins.
            for place, scope, input in [_item(task, place) for place in islice(task.todo, room)]:
                if task.error:
                    break  # one before it could not begin
                task.todo.popleft()
                _begin_item(world, task, place, scope, input)
    except ExpressionError as wrong:
        fail_hard(world, task, str(wrong))
        return
    if task.left == 0 and task.state is State.RUNNING:
        _end_items(world, task)


def _room(task: Task) -> int:
    """How many more items may run now."""
    return task.limit - task.running if task.limit else len(task.todo or ())


def _item(task: Task, place: int) -> tuple[int, Any, Mapping[str, Any]]:
    """An item to be begun, what its expressions see and its input. A published variable of its name hides the item."""
    item = {name: values[place] for name, values in (task.lists or {}).items()}
    published = inbound(task).values
    scope = task_scope(task, overlaid(item, published), *published, item)
    return place, scope, _input(task.plan, scope)


def _begin_item(world: World, task: Task, place: int, scope: Any, input: Mapping[str, Any]) -> None:
    calls = task.calls = task.calls or [None] * task.width
    call = calls[place] = calls[place] or Call(task, place)
    task.starts += 1
    _open(world, call, scope, input)


def _end_items(world: World, task: Task) -> None:
    states = [call.state for call in task.calls or () if call is not None and call.state is not State.IDLE]
    if State.CANCELED in states:
        finish(world, task, State.CANCELED, None, "At least one item was canceled.")
    elif len(states) < task.width:
        error = task.error or f"{task.width - len(states)} of {task.width} items never began."
        finish(world, task, State.ERRORED, None, error)
    elif State.ERRORED in states:
        failed = [call for call in task.calls or () if call is not None and call.state is State.ERRORED]
        finish(world, task, State.ERRORED, None, f"{len(failed)} of {task.width} items failed: {failed[0].error}")
    else:
        finish(world, task, State.SUCCEEDED)


def _open(world: World, call: Call, scope: Any, input: Mapping[str, Any]) -> None:
    """Begin an action or a child. One that takes no time is over when this returns."""
    task = call.task
    call.generation += 1
    call.state, call.input, call.error, call.result, call.begun = State.RUNNING, input, "", None, False
    task.running += 1
    task.run.busy += 1
    world.touch(task)
    world.touch(call)
    try:
        if task.plan.workflow is not None:
            _open_child(world, call, str(task.plan.workflow.evaluate(scope)), input)
        else:
            _open_action(world, call, _action(world, task, scope))
    except ExpressionError:
        call.state = State.IDLE
        task.running -= 1
        task.run.busy -= 1
        raise


def _open_action(world: World, call: Call, found: Found) -> None:
    action = found.action
    call.action = found.wraps[0].spec.name if found.wraps else action.name
    input = call.input or {}
    _check_input(found, input)
    try:
        call.input = input = _unwrapped(call.task, found, input)
    except ExpressionError as wrong:
        # As where a callable is given what it cannot use: the action fails, and `on-error` is taken.
        _not_begun(world, call, str(wrong), str(wrong))
        return
    if action.kind is Kind.POOL:
        world.launches.append(call)
    elif action.kind is not Kind.INLINE:
        world.waiting[call.key] = call
    elif unfit := action.unfit(input):
        _at_end(world, call, State.ERRORED, unfit, unfit)
    elif delay := action.wait(input):
        call.due = world.clock.now() + delay
        world.alarm(call.due, Alarm.CALL, call)
    else:
        over(world, call)


def over(world: World, call: Call) -> None:
    """Run an action that takes no time, or whose time is over."""
    outcome = outcome_of("", _function(world, call), call.input or {})
    state = State.ERRORED if outcome.error else State.SUCCEEDED
    if call.due is None:
        _at_end(world, call, state, outcome.result, outcome.error)
    else:
        call_over(world, call, state, outcome.result, outcome.error)


def _function(world: World, call: Call) -> Callable[..., Any]:
    found = world.library.action(call.task.run.book, call.action)
    if found is None:
        raise EngineRefused(f"There is no action '{call.action}' any more; task '{call.task.plan.name}' runs it.")
    return found.action.call


def _at_end(world: World, call: Call, state: State, result: Any, error: str) -> None:
    """End a call within the step that began it: the loop over the items goes on by itself."""
    if call.index is None:
        call_over(world, call, state, result, error)
        return
    _close_call(world, call, state, result, error)
    call.task.running -= 1
    call.task.run.busy -= 1


def _not_begun(world: World, call: Call, error: str, result: Any = None) -> None:
    """What cannot begin fails its task. Of its items no other begins; those that run go on to their end first (S2)."""
    task = call.task
    if call.index is None:
        call_over(world, call, State.ERRORED, result, error)
        return
    call.state, call.input = State.IDLE, None
    call.generation -= 1
    task.starts -= 1
    task.running -= 1
    task.run.busy -= 1
    task.left, task.todo = task.running, None
    task.error = f"Item {call.index} cannot begin: {error}"


def _close_call(world: World, call: Call, state: State, result: Any, error: str) -> None:
    task = call.task
    call.state, call.result, call.error = state, result, error
    call.input = None
    task.left -= call.index is not None
    world.touch(call)
    world.touch(task)
    if call.action and state is State.SUCCEEDED:
        _wrap_result(world, call)


def _wrap_result(world: World, call: Call) -> None:
    """Give a result the form that an ad-hoc action says. Raises `ExpressionError`: a mistake in the text."""
    found = world.library.action(call.task.run.book, call.action)
    for wrap in reversed(found.wraps if found is not None else ()):
        if wrap.output is not None:
            try:
                call.result = wrap.output.evaluate(data_scope(call.result))
            except ExpressionError as wrong:
                call.state, call.error = State.ERRORED, f"The output of action '{wrap.spec.name}': {wrong}"
                raise ExpressionError(call.error) from wrong


def _check_input(found: Found, input: Mapping[str, Any]) -> None:
    """Input that an action cannot take is a mistake in the workflow: no `on-error` handles it."""
    spec = found.wraps[0].spec if found.wraps else None
    if wrong := _misfit(spec, input) if spec is not None else found.action.misfit(input):
        raise ExpressionError(wrong)


def _misfit(spec: ActionSpec, input: Mapping[str, Any]) -> str:
    absent = missing(spec.input, input)
    surplus = [name for name in input if name not in spec.input]
    if not absent and not surplus:
        return ""
    return (
        f"Invalid input for action '{spec.name}': missing {', '.join(absent) or 'none'}, "
        f"unknown {', '.join(surplus) or 'none'}. It takes: {', '.join(spec.input) or 'none'}."
    )


def _unwrapped(task: Task, found: Found, input: Mapping[str, Any]) -> Mapping[str, Any]:
    """The input of the action at the bottom of ad-hoc ones. Raises `ExpressionError` where it cannot be told.

    One ad-hoc action may give another more than it names; its expressions see that all the same.
    """
    for wrap in found.wraps:
        if absent := missing(wrap.spec.input, input):
            raise ExpressionError(f"Action '{wrap.spec.name}' is not given its input: missing {', '.join(absent)}.")
        own = {**input, **with_defaults(wrap.spec.input, input)}
        input = wrap.base_input.evaluate(action_scope(task.run, own, *inbound(task).values))
    if found.wraps and (wrong := found.action.misfit(input)):
        raise ExpressionError(wrong)
    return input


def _open_child(world: World, call: Call, name: str, input: Mapping[str, Any]) -> None:
    parent = call.task.run
    if parent.level >= MAX_LEVELS or world.tasks >= world.max_tasks:
        why = f"{MAX_LEVELS} executions stand one below another already, as many as may"
        why = f"{why}." if parent.level >= MAX_LEVELS else too_many(world)
        message = f"The sub-workflow '{name}' is not started: {why}"
        _not_begun(world, call, message)
        return
    try:
        found = world.library.find(parent.book, name)
    except FlowbridgeError as wrong:
        _not_begun(world, call, f"The sub-workflow '{name}' cannot be loaded: {wrong}")
        return
    if found is None:
        _not_begun(world, call, f"There is no workflow '{name}'.")
        return
    book, plan = found
    if plan.spec.type == "reverse":
        # What a workflow does not take as its input goes to its start, and so does the name of its target.
        goal = str(input.get("task_name"))
        if goal not in plan.spec.tasks:
            _not_begun(world, call, f"The reverse sub-workflow '{name}' has no target task '{goal}'.")
            return
        plan = plan.toward(goal)
    if absent := missing(plan.spec.input, input):
        _not_begun(world, call, f"Missing input for sub-workflow '{name}': {', '.join(absent)}.")
        return
    given = {key: value for key, value in input.items() if key in plan.spec.input}
    id = str(uuid5(CHILDREN, call.key))
    child = Run(len(world.runs), id, book, plan, call, with_defaults(plan.spec.input, given), env=parent.env)
    child.level = parent.level + 1
    call.child = child
    adopt(world, child)
    child.state = _born(world, parent)
    world.touch_run(child)
    world.jobs.append((Job.BIRTH, child))
    if child.state is EngineState.CANCELED:
        child.ended = child.created
        world.tell(child)


def adopt(world: World, run: Run) -> None:
    """Make an execution known."""
    run.created = world.clock.now()
    world.runs.append(run)
    world.by_id[run.id] = run
    if run.parent is not None:
        run.parent.task.run.children.append(run)
    world.write_once(run)


def _born(world: World, parent: Run) -> EngineState:
    """A child of a held execution is held, one of a canceled execution is canceled (P6)."""
    if parent.state is EngineState.PAUSED and Cascade.PAUSE_DOWN in world.cascades:
        return EngineState.PAUSED
    if parent.unwanted and Cascade.CANCEL_DOWN in world.cascades:
        return EngineState.CANCELED
    return EngineState.REQUESTED
