"""A workflow made ready to run: expressions compiled, transitions and joins looked up once for all its executions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flowbridge_memory.context import deep_merged
from flowbridge_memory.definition import Command, Publish, TaskSpec, Transition, WorkflowSpec
from flowbridge_memory.expressions import Compiled
from flowbridge_memory.expressions import compile as compiled

SUCCESS, ERROR, COMPLETE, SKIP = "on-success", "on-error", "on-complete", "on-skip"
COMMANDS = frozenset(Command)


class NextPlan(NamedTuple):
    """One way out of a task. `event` is the clause it stands in."""

    target: str
    event: str
    condition: Compiled | None
    message: Compiled | None


class PublishPlan(NamedTuple):
    """What is published when a task ends in one way."""

    branch: Compiled | None
    glob: Compiled | None


class RetryPlan(NamedTuple):
    """The retry policy."""

    limit: Compiled
    delay: Compiled
    break_on: Compiled | None
    continue_on: Compiled | None


class TaskPlan:
    """One task of a workflow.

    `ways` and `publishes` are the ways out and what is published, by the clause a task ends in. `need` is how many
    inbound tasks a join waits for, 0 for a task that is no join. `before` and `after` tell whether any policy has to be
    looked at before it starts and after it ends.
    """

    __slots__ = (
        "action",
        "action_name",
        "after",
        "before",
        "concurrency",
        "fail_on",
        "inbound",
        "input",
        "items",
        "keep_result",
        "name",
        "need",
        "outs",
        "pause_before",
        "publishes",
        "retry",
        "safe_rerun",
        "spec",
        "timeout",
        "wait_after",
        "wait_before",
        "ways",
        "workflow",
    )

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.action_name = spec.action if isinstance(spec.action, str) and not is_expression(spec.action) else None
        self.action = _ready(spec.action)
        self.workflow = _ready(spec.workflow)
        self.input = _ready(spec.input)
        self.items = (
            tuple(
                (name, compiled(source))
                for name, source in zip(spec.with_items.names, spec.with_items.lists, strict=True)
            )
            if spec.with_items
            else None
        )
        self.concurrency = _ready(spec.concurrency)
        self.retry = _retry(spec)
        self.wait_before, self.wait_after = _ready(spec.wait_before), _ready(spec.wait_after)
        self.timeout, self.pause_before = _ready(spec.timeout), _ready(spec.pause_before)
        self.fail_on = _ready(spec.fail_on)
        self.keep_result, self.safe_rerun = spec.keep_result is not False, _ready(spec.safe_rerun)
        self.before = bool(self.pause_before or self.wait_before or self.timeout)
        self.after = bool(self.wait_after or self.fail_on or self.retry)
        self.inbound: tuple[str, ...] = ()
        self.need = 0
        self.ways = _ways(spec)
        self.publishes = _publishes(spec)
        self.outs = len(targets(self))


class WorkflowPlan:
    """One workflow. `starts` are its tasks without a way in, in the order of the text.

    A reverse workflow runs towards its `goal`: `toward` gives the plan with the tasks that the goal needs, and no
    others. `dependents` are the tasks that require a task.
    """

    __slots__ = (
        "_ahead",
        "_toward",
        "dependents",
        "goal",
        "input",
        "name",
        "output",
        "output_on_error",
        "spec",
        "starts",
        "tasks",
        "vars",
    )

    def __init__(self, spec: WorkflowSpec, goal: str = "") -> None:
        self.spec = spec
        self.name = spec.name
        self.goal = goal
        self.vars = _ready(dict(spec.vars))
        self.output = _ready(spec.output)
        self.output_on_error = _ready(spec.output_on_error)
        wanted = _needed(spec, goal) if goal else spec.tasks.keys()
        self.tasks = {name: TaskPlan(task) for name, task in spec.tasks.items() if name in wanted}
        self._join()
        self.starts = tuple(task for task in self.tasks.values() if not task.inbound and not task.spec.requires)
        self.dependents: dict[str, list[TaskPlan]] = {}
        for task in self.tasks.values():
            for name in task.spec.requires:
                self.dependents.setdefault(name, []).append(task)
        self._ahead: dict[str, tuple[str, ...]] = {}
        self._toward: dict[str, WorkflowPlan] = {}

    def toward(self, goal: str) -> WorkflowPlan:
        """A reverse workflow with `goal`, one of its tasks, as its target."""
        if goal not in self._toward:
            self._toward[goal] = WorkflowPlan(self.spec, goal)
        return self._toward[goal]

    def joins_ahead(self, name: str) -> tuple[str, ...]:
        """The joins that a way into task `name` leads to first, itself if it is one."""
        if name not in self._ahead:
            self._ahead[name] = tuple(self._find_joins(name))
        return self._ahead[name]

    def _find_joins(self, name: str) -> Iterable[str]:
        seen, open_ = {name}, [name]
        while open_:
            task = self.tasks[open_.pop()]
            if task.need:
                yield task.name
                continue
            for target in targets(task):
                if target not in seen:
                    seen.add(target)
                    open_.append(target)

    def _join(self) -> None:
        inbound: dict[str, dict[str, None]] = {name: {} for name in self.tasks}
        for name, task in self.tasks.items():
            for target in targets(task):
                inbound[target][name] = None
        for name, task in self.tasks.items():
            task.inbound = tuple(inbound[name])
            if task.spec.join is not None:
                task.need = int(task.spec.join) if task.spec.join != "all" else max(1, len(task.inbound))


def _needed(spec: WorkflowSpec, goal: str) -> set[str]:
    """The tasks that a goal requires, at any distance, and itself."""
    needed, open_ = {goal}, [goal]
    while open_:
        for name in spec.tasks[open_.pop()].requires:
            if name not in needed:
                needed.add(name)
                open_.append(name)
    return needed


def targets(task: TaskPlan) -> list[str]:
    """The tasks that any way out of `task` leads to."""
    found = dict.fromkeys(way.target for ways in task.ways.values() for way in ways if way.target not in COMMANDS)
    return list(found)


def is_expression(value: Any) -> bool:
    """Whether a text holds an expression."""
    return isinstance(value, str) and ("<%" in value or "{{" in value or "{%" in value)


def _ready(value: Any) -> Compiled | None:
    return None if value is None or value in ({}, "", False) else compiled(value)


def _retry(spec: TaskSpec) -> RetryPlan | None:
    if spec.retry is None:
        return None
    retry = spec.retry
    return RetryPlan(compiled(retry.count), compiled(retry.delay), _ready(retry.break_on), _ready(retry.continue_on))


def _ways(spec: TaskSpec) -> Mapping[str, tuple[NextPlan, ...]]:
    complete = _clause(spec.on_complete, COMPLETE)
    return {
        SUCCESS: _clause(spec.on_success, SUCCESS) + complete,
        ERROR: _clause(spec.on_error, ERROR) + complete,
        SKIP: _clause(spec.on_skip, SKIP),
    }


def _clause(transition: Transition, event: str) -> tuple[NextPlan, ...]:
    return tuple(NextPlan(way.target, event, _ready(way.condition), _ready(way.message)) for way in transition.next)


def _publishes(spec: TaskSpec) -> Mapping[str, PublishPlan | None]:
    complete = spec.on_complete.publish
    return {
        SUCCESS: _publish(spec.on_success.publish, spec.publish, complete),
        ERROR: _publish(spec.on_error.publish, spec.publish_on_error, complete),
        SKIP: _publish(spec.on_skip.publish, spec.publish_on_skip),
    }


def _publish(*parts: Publish) -> PublishPlan | None:
    branch: dict[str, Any] = {}
    glob: dict[str, Any] = {}
    for part in parts:
        branch = deep_merged(branch, part.branch)
        glob = deep_merged(glob, part.glob)
    return PublishPlan(_ready(branch), _ready(glob)) if branch or glob else None
