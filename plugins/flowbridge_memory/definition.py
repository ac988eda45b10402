"""A parsed workflow definition: frozen data, no text left but expressions. Written by `language`, run by `engine`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowbridge.yamltext import Path


class Command(StrEnum):
    """What may stand in place of a task name in an `on-*` clause."""

    FAIL = "fail"
    SUCCEED = "succeed"
    PAUSE = "pause"
    NOOP = "noop"


@dataclass(frozen=True, slots=True)
class Publish:
    """What a task or transition publishes: values may hold expressions, at any depth."""

    branch: Mapping[str, Any] = field(default_factory=dict)
    glob: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Next:
    """One target of a transition: a task's name or a `Command`, taken when `condition` (or None) is true.

    `message` belongs to `fail`, `succeed` and `pause`, and may be an expression.
    """

    target: str
    condition: str | None = None
    message: Any = None


@dataclass(frozen=True, slots=True)
class Transition:
    """An `on-success`, `on-error`, `on-complete` or `on-skip` clause."""

    next: tuple[Next, ...] = ()
    publish: Publish = field(default_factory=Publish)


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry policy. `count` and `delay` may be expressions; `delay` is in seconds."""

    count: Any = 0
    delay: Any = 0
    break_on: str | None = None
    continue_on: str | None = None


@dataclass(frozen=True, slots=True)
class WithItems:
    """`names` run over `lists` in step; each list is a value or an expression."""

    names: tuple[str, ...]
    lists: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task. Exactly one of `action` and `workflow` is set (`std.noop` where the text names neither).

    `join` is None, "all", or the number of inbound tasks to wait for ("one" is 1).
    `wait_before`, `wait_after`, `timeout` are seconds or expressions. `line` counts from one. `bare` are the inline
    parameters whose value is a bare word.
    """

    name: str
    line: int
    action: Any = None
    workflow: Any = None
    input: Mapping[str, Any] | str = field(default_factory=dict)
    publish: Publish = field(default_factory=Publish)
    publish_on_error: Publish = field(default_factory=Publish)
    publish_on_skip: Publish = field(default_factory=Publish)
    on_success: Transition = field(default_factory=Transition)
    on_error: Transition = field(default_factory=Transition)
    on_complete: Transition = field(default_factory=Transition)
    on_skip: Transition = field(default_factory=Transition)
    join: str | int | None = None
    with_items: WithItems | None = None
    concurrency: Any = None
    retry: Retry | None = None
    wait_before: Any = None
    wait_after: Any = None
    timeout: Any = None
    pause_before: Any = None
    fail_on: str | None = None
    keep_result: Any = True
    safe_rerun: Any = False
    requires: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


REQUIRED = object()


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """One workflow. `input` maps each name to its default, or to `REQUIRED`. `type` is "direct" or "reverse".

    `path` is where it stands in its definition.
    """

    name: str
    line: int
    path: Path = ()
    type: str = "direct"
    input: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    output_on_error: Any = None
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An ad-hoc action of a workbook: `base` with `base_input`, and an `output` expression over its result.

    `path` is where it stands in its definition. `bare` are the inline parameters of `base` whose value is a bare word.
    """

    name: str
    line: int
    base: str
    path: Path = ()
    input: Mapping[str, Any] = field(default_factory=dict)
    base_input: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    bare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """One file: its workflows in order, by full name, and its ad-hoc actions.

    `workbook` is the workbook's name, "" for a plain file. Inside a workbook the names are `BOOK.NAME`; a sub-workflow
    or action is looked for inside the same workbook first.
    """

    workflows: Mapping[str, WorkflowSpec]
    actions: Mapping[str, ActionSpec] = field(default_factory=dict)
    workbook: str = ""
