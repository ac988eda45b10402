"""The definitions one tree runs: its own file, and those its sub-workflows were found in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge.yamltext import Path, load
from flowbridge_memory.actions import LINK, Action, ActionRegistry, Kind
from flowbridge_memory.definition import REQUIRED, ActionSpec
from flowbridge_memory.expressions import Compiled
from flowbridge_memory.expressions import compile as compiled
from flowbridge_memory.language import parse
from flowbridge_memory.plan import TaskPlan, WorkflowPlan, is_expression

Catalog = Callable[[str], Definition | None]


class Wrap(NamedTuple):
    """One ad-hoc action around another: its defaults, the input it gives on, and what it makes of the result."""

    spec: ActionSpec
    base_input: Compiled
    output: Compiled | None


class Found(NamedTuple):
    """An action by name: what really runs, and the ad-hoc actions around it, the outermost first."""

    action: Action
    wraps: tuple[Wrap, ...]


class Opened:
    """A definition that was read, with those of its workflows that were made ready. Read once in a process."""

    __slots__ = ("book", "plans")

    def __init__(self, definition: Definition, *, accepted: bool) -> None:
        self.book = parse(definition, accepted=accepted)
        self.plans: dict[str, WorkflowPlan] = {}

    def plan(self, name: str) -> WorkflowPlan | None:
        """The workflow of that name; inside a workbook its short name does. None where there is none."""
        spec = self.book.workflows.get(f"{self.book.workbook}.{name}") if self.book.workbook else None
        spec = spec or self.book.workflows.get(name)
        if spec is None:
            return None
        if spec.name not in self.plans:
            self.plans[spec.name] = WorkflowPlan(spec)
        return self.plans[spec.name]


_opened = lru_cache(maxsize=32)(Opened)


class Library:
    """Definitions by number, in the order they were needed. `catalog` finds the file of a workflow elsewhere."""

    def __init__(self, actions: ActionRegistry, catalog: Catalog) -> None:
        self.actions = actions
        self.definitions: list[Definition] = []
        self._catalog = catalog
        self._books: list[Opened] = []
        self._found: dict[tuple[int, str], Found | None] = {}

    def add(self, definition: Definition, *, accepted: bool = False) -> int:
        """Take in a definition and give its number. Raises `InvalidInput` where it cannot be read.

        `accepted` tells that it comes from a run that was started, and was read then.
        """
        for number, known in enumerate(self.definitions):
            if known.text == definition.text:
                return number
        self._books.append(_opened(definition, accepted=accepted))
        self.definitions.append(definition)
        return len(self._books) - 1

    def plan(self, book: int, name: str) -> WorkflowPlan | None:
        """The workflow of that name in one definition; inside a workbook its short name does. None: not there."""
        return self._books[book].plan(name)

    def find(self, book: int, name: str) -> tuple[int, WorkflowPlan] | None:
        """A workflow as `book` calls it: its own, else one of a definition known here, else one of the catalog."""
        for number in (book, *range(len(self._books))):
            plan = self.plan(number, name)
            if plan is not None:
                return number, plan
        definition = self._catalog(name)
        if definition is None:
            return None
        number = self.add(definition)
        plan = self.plan(number, name) or self._only(number)
        return None if plan is None else (number, plan)

    def known(self, name: str) -> Definition | None:
        """The definition that the catalog has of a workflow, or None."""
        return self._catalog(name)

    def action(self, book: int, name: str) -> Found | None:
        """An action as `book` calls it: an ad-hoc one of the same workbook, else a registered one."""
        key = (book, name)
        if key not in self._found:
            self._found[key] = self._find_action(book, name)
        return self._found[key]

    def check(self, book: int, workflow: str) -> None:
        """Refuse, before anything runs, a workflow that names an action or a sub-workflow that is nowhere.

        Follows sub-workflows. Names that are expressions are only known at run time. Raises `InvalidInput` with the
        place.
        """
        seen: set[tuple[int, str]] = set()
        open_ = [(book, workflow)]
        while open_:
            number, name = open_.pop()
            plan = self.plan(number, name)
            if plan is None or (number, plan.name) in seen:
                continue
            seen.add((number, plan.name))
            self._check_actions(number, plan)
            open_ += self._sub_workflows(number, plan)

    def names(self, book: int) -> tuple[str, ...]:
        """The workflows of one definition, by full name."""
        return tuple(self._books[book].book.workflows)

    def links(self, book: int) -> bool:
        """Whether a task of a definition waits for an execution elsewhere, or may: its action is an expression."""
        plans = [self.plan(book, name) for name in self.names(book)]
        tasks = [task for plan in plans if plan is not None for task in plan.tasks.values() if task.spec.action]
        found = [task.action_name and self.action(book, task.action_name) for task in tasks]
        return any(not one or one.action.kind is Kind.LINK for one in found)

    def _only(self, book: int) -> WorkflowPlan | None:
        names = self.names(book)
        return self.plan(book, names[0]) if len(names) == 1 else None

    def _check_actions(self, book: int, plan: WorkflowPlan) -> None:
        for task in plan.tasks.values():
            name = task.action_name
            if name is not None and task.workflow is None and self.action(book, name) is None:
                raise self._unknown_action(book, plan, task, name)
            if name is not None and task.workflow is None:
                self._check_chain(book, name)
            self._check_bare_words(book, plan, task)
            self._check_link(book, plan, task)
            self._check_value(book, plan, task)

    def _unknown_action(self, book: int, plan: WorkflowPlan, task: TaskPlan, name: str) -> InvalidInput:
        """The error for a task's action that is nowhere, or for what an ad-hoc action is based on."""
        actions = self._books[book].book.actions
        chain = self._ad_hoc_chain(book, name)
        bottom = chain[-1] if chain else None
        if bottom is not None:
            known = [*actions, *self.actions]  # a base goes by its full name
            what = f"action '{bottom.name}' is based on action '{bottom.base}', which is not known here"
            what += _near(bottom.base, known, "Known actions")
            if refusal := self.actions.refusal(bottom.base):
                what = f"action '{bottom.name}': {refusal}"
            return self._wrong(book, bottom.path, "base", message=what)
        known = [*(full.removeprefix(f"{self._books[book].book.workbook}.") for full in actions), *self.actions]
        what = f"task '{task.name}' of workflow '{plan.name}' runs action '{name}', which is not known here"
        what += _near(name, known, "Known actions")
        if refusal := self.actions.refusal(name):
            what = f"task '{task.name}': {refusal}"
        return self._wrong(book, (*plan.spec.path, "tasks", task.name), "action", message=what)

    def _check_chain(self, book: int, name: str) -> None:
        """Refuse an ad-hoc action that gives the one that it is based on less than that one takes."""
        for outer, inner in pairwise(self._ad_hoc_chain(book, name)):
            if absent := missing(inner.input, outer.base_input):
                what = f"action '{outer.name}' does not give '{inner.name}' its input: missing {', '.join(absent)}; "
                how = f"name it under base-input, or give it a default in the input of '{inner.name}'"
                raise self._wrong(book, outer.path, "base-input", "base", message=what + how)

    def _check_bare_words(self, book: int, plan: WorkflowPlan, task: TaskPlan) -> None:
        """Refuse a bare word as an inline value: the language does not read it. A link may have it."""
        name = task.action_name if task.workflow is None else None
        found = self.action(book, name) if name is not None else None
        if found is not None and found.action.kind is Kind.LINK:
            return
        calls: list[tuple[Path, tuple[str, ...]]] = [((*plan.spec.path, "tasks", task.name), task.spec.bare)]
        calls += [(wrap.spec.path, wrap.spec.bare) for wrap in (found.wraps if found is not None else ())]
        for path, bare in calls:
            if bare:
                what = f"{path[-1]!r}: the value of {bare[0]!r} is a bare word, which the language does not read; "
                how = "put a text in double quotes, or write the value under input: (base-input: for a base)"
                raise self._wrong(book, path, "workflow", "action", "base", message=what + how)

    def _check_link(self, book: int, plan: WorkflowPlan, task: TaskPlan) -> None:
        """Refuse a link that names no target: nothing could ever be started for it. One expression may give one."""
        found = self.action(book, task.action_name) if task.action_name and task.workflow is None else None
        if found is None or found.action.name != LINK:
            return
        base = found.wraps[-1].spec if found.wraps else None
        given = task.spec.input if base is None else base.base_input
        if isinstance(given, Mapping) and (wrong := found.action.broken_link(given)):
            path = base.path if base else (*plan.spec.path, "tasks", task.name)
            who = f"action '{base.name}'" if base else f"task '{task.name}'"
            raise self._wrong(book, path, "action", "base", message=f"{who}: {wrong}")

    def _check_value(self, book: int, plan: WorkflowPlan, task: TaskPlan) -> None:
        """Refuse a value that stands in the text and that the task's action can never take."""
        found = self.action(book, task.action_name) if task.action_name and task.workflow is None else None
        if found is None or found.wraps or not isinstance(task.spec.input, Mapping):
            return
        name = found.action.delay
        value = task.spec.input.get(name)
        if compiled(value).constant and (wrong := found.action.unfit({name: value})):
            raise self._wrong(book, (*plan.spec.path, "tasks", task.name), ("input", name), "action", message=wrong)

    def _wrong(self, book: int, path: Path, *places: str | Path, message: str) -> InvalidInput:
        """The error to raise for the first of these places below `path` that stands in a definition.

        Places are not kept: the text is only read again where something is wrong with it.
        """
        definition = self.definitions[book]
        located = load(definition.text, definition.source)
        below = [(*path, *((place,) if isinstance(place, str) else place)) for place in places]
        return located.wrong(next((one for one in below if one in located.positions), path), message)

    def _sub_workflows(self, book: int, plan: WorkflowPlan) -> Iterator[tuple[int, str]]:
        for task in plan.tasks.values():
            name = task.spec.workflow
            if not isinstance(name, str) or not name or is_expression(name):
                continue
            found = self.find(book, name)
            if found is None:
                what = f"task '{task.name}' of workflow '{plan.name}' runs workflow '{name}', which is neither in this "
                message = f"{what}file nor in the catalog{_near(name, self.names(book), 'Workflows of this file')}"
                raise self._wrong(book, (*plan.spec.path, "tasks", task.name), "workflow", message=message)
            yield found[0], found[1].name

    def _find_action(self, book: int, name: str) -> Found | None:
        chain = self._ad_hoc_chain(book, name)
        action = self.actions.get(chain[-1].base if chain else name)
        return None if action is None else Found(action, tuple(_wrap(spec) for spec in chain))

    def _ad_hoc_chain(self, book: int, name: str) -> list[ActionSpec]:
        """The ad-hoc actions around an action, the outermost first; one that leads back into itself ends there.

        A task finds the first by its short name too. A base goes by its full name: a short one is no ad-hoc action's.
        """
        chain: list[ActionSpec] = []
        opened = self._books[book].book
        spec = opened.actions.get(f"{opened.workbook}.{name}") or opened.actions.get(name)
        while spec is not None and spec not in chain:
            chain.append(spec)
            spec = opened.actions.get(spec.base)
        return chain


def _wrap(spec: ActionSpec) -> Wrap:
    return Wrap(spec, compiled(dict(spec.base_input)), compiled(spec.output) if spec.output else None)


def _near(name: str, known: Iterable[str], what: str) -> str:
    """What may have been meant, and what there is."""
    names = sorted(set(known))
    near = get_close_matches(name, names, 1)
    return (f"; did you mean '{near[0]}'? " if near else ". ") + f"{what}: {', '.join(names)}."


def with_defaults(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An input with the defaults of what it leaves out. Required values must be there."""
    return {
        name: given.get(name, default) for name, default in spec.items() if default is not REQUIRED or name in given
    }


def missing(spec: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The required names that an input leaves out."""
    return [name for name, default in spec.items() if default is REQUIRED and name not in given]
