"""Which tasks a re-run or a skip means, and whether it may go ahead (X2 to X8, K1).

Names are resolved against a fresh snapshot. Every wrong name is listed at once, and nothing is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from flowbridge.capabilities import PartialRerun
from flowbridge.errors import InvalidInput, NotFound, Rejected
from flowbridge.law.fold import Facts
from flowbridge.law.reopening import Tasks, children_by_task, is_linked, keeping, reopened
from flowbridge.law.verbs import Effect, ancestors, describe, reject_unless_allowed, require
from flowbridge.model import ItemRead, Snapshot, Status, TaskLook, TaskRerun, TaskStatus, Verb

_INDEXED = re.compile(r"(?P<task>.+)\[(?P<item>\d+)\]\Z", re.DOTALL)


class Chosen(NamedTuple):
    """One task that was named: where it is, and the name the user gave for it."""

    place: int
    task: TaskLook
    name: str


class Shown(NamedTuple):
    """What a path leads to: an execution, or, where `task` is its id, a task of that execution."""

    place: int
    task: str = ""


#: (place, task id) -> the items at their places, or None where these cannot be told.
Items = Mapping[tuple[int, str], tuple[ItemRead, ...] | None]


class _Names:
    """A snapshot in which tasks are found by their names, and children by the names and items of their tasks.

    Each execution is gone through once, however many names are resolved in it.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._children = children_by_task(snapshot)
        self._tasks: dict[int, dict[str, list[TaskLook]]] = {}
        self._by_item: dict[tuple[int, str], dict[int | None, list[int]]] = {}

    def runs(self, place: int, name: str) -> Sequence[TaskLook]:
        """Every run of the tasks of that name."""
        if place not in self._tasks:
            named: dict[str, list[TaskLook]] = {}
            for task in self.snapshot.nodes[place].tasks:
                named.setdefault(task.name, []).append(task)
            self._tasks[place] = named
        return self._tasks[place].get(name, ())

    def there(self, place: int) -> str:
        """The names of all tasks of an execution, in words."""
        self.runs(place, "")
        return ", ".join(self._tasks[place]) or "no task"

    def children(self, place: int, head: str) -> Sequence[int]:
        """The children of the tasks of that name, or of one item of them (`task[2]`)."""
        if self.runs(place, head):
            return self._all(place, head)
        match = _INDEXED.match(head)
        return self._items(place, match["task"]).get(int(match["item"]), ()) if match else ()

    def items(self, children: Sequence[int]) -> list[int]:
        """The items that these children belong to, in their order."""
        found = {self.snapshot.nodes[child].record.item for child in children}
        return sorted(item for item in found if item is not None)

    def _all(self, place: int, name: str) -> list[int]:
        return [child for task in self.runs(place, name) for child in self._children.get((place, task.id), ())]

    def _items(self, place: int, name: str) -> Mapping[int | None, Sequence[int]]:
        if (place, name) not in self._by_item:
            items: dict[int | None, list[int]] = {}
            for child in self._all(place, name):
                items.setdefault(self.snapshot.nodes[child].record.item, []).append(child)
            self._by_item[place, name] = items
        return self._by_item[place, name]


class _Wrong(Exception):
    """What is wrong with one name, a line for each place it means; collected, never seen outside."""


class _PassedOver(_Wrong):
    """The name may be right: what it leads through is not errored. Where another way is wrong, that is what matters."""


def check_rerun_whole(snapshot: Snapshot, place: int) -> Effect:
    """X1: an ended or abandoned execution is run again from the beginning. The old one stays as it is."""
    node = snapshot.nodes[place]
    if not node.record.gone:
        require(node, "re-run")
        reject_unless_allowed(node, "re-run")
    elif node.record.superseded_by:
        require(node, "re-run")
    return Effect()


def select(snapshot: Snapshot, place: int, names: Sequence[str], verb: str) -> tuple[Chosen, ...]:
    """The tasks that `names` mean, seen from the execution at `place` (X3, X4, X5, X8).

    Raises `Rejected` with one message that lists every name that is wrong.
    """
    node = snapshot.nodes[place]
    require(node, verb)
    reject_unless_allowed(node, "skip" if verb == "skip" else "re-run --tasks")
    _reject_unless_ancestors_errored(snapshot, place, verb)
    seen = _Names(snapshot)
    chosen: list[Chosen] = []
    wrong: list[str] = []
    for name in dict.fromkeys(names):
        try:
            chosen += [Chosen(at, task, name) for at, task in _resolve(seen, place, name)]
        except _Wrong as problem:
            wrong += problem.args
    if wrong:
        raise _rejected(node.record.id, "X3", "wrong_tasks", list(dict.fromkeys(wrong)))
    _reject_nested(snapshot, chosen)
    return tuple(chosen)


def rerun_effect(snapshot: Snapshot, chosen: Iterable[Chosen], no_reset: Iterable[str], facts: Facts) -> Effect:
    """X2: the tasks to run again, by execution, and the executions that are re-opened. Raises `Unsupported` (X7)."""
    partial = frozenset(no_reset)
    tasks: Tasks = {}
    for choice in chosen:
        here = tasks.setdefault(choice.place, {})
        # One task may be named in two ways (X4): it keeps its good items if either says so.
        before = here.get(choice.task.id)
        reset = choice.name not in partial and (before is None or before.reset)
        here[choice.task.id] = TaskRerun(choice.task.id, reset)
    kept = keeping(snapshot, tasks, facts)
    reopening = reopened(snapshot, tasks, facts, Verb.RERUN)
    rerun = _merged(tasks, reopening.waiting)
    return reopening.effect(rerun, kept)


def skip_effect(snapshot: Snapshot, chosen: Iterable[Chosen], facts: Facts) -> Effect:
    """K1: the tasks to skip, by execution, and the executions that are re-opened. Raises `Unsupported`."""
    tasks: dict[int, list[str]] = {}
    for choice in chosen:
        tasks.setdefault(choice.place, []).append(choice.task.id)
    reopening = reopened(snapshot, tasks, facts, Verb.SKIP)
    skip = {place: tuple(dict.fromkeys(ids)) for place, ids in tasks.items()}
    return replace(reopening.effect(_merged({}, reopening.waiting)), skip=skip)


def _merged(tasks: Tasks, waiting: Tasks) -> dict[int, tuple[TaskRerun, ...]]:
    """The tasks to run again, by execution: those that were named, and those that wait for a re-opened child."""
    return {place: tuple({**waiting.get(place, {}), **tasks.get(place, {})}.values()) for place in {*tasks, *waiting}}


def partial(chosen: Iterable[Chosen], no_reset: Sequence[str], names: Sequence[str]) -> tuple[Chosen, ...]:
    """The chosen tasks that run only their failed items. Raises `Rejected` (X6) for a name that may not be there."""
    given, kept = frozenset(names), frozenset(no_reset)
    wrong = [f"{name}: --no-reset names a task that --tasks does not" for name in no_reset if name not in given]
    found = [choice for choice in chosen if choice.name in kept]
    wrong += [
        f"{choice.name}: has no items, so --no-reset has no meaning" for choice in found if choice.task.items is None
    ]
    if wrong:
        raise _rejected("", "X6", "wrong_no_reset", wrong)
    return tuple(found)


def check_partial(
    snapshot: Snapshot, found: Iterable[Chosen], items: Items, facts: Facts, accept: frozenset[str]
) -> tuple[str, ...]:
    """X6, O8: refuse a partial re-run that the engine would get wrong; where `X6` is accepted, say what it may do."""
    warnings: list[str] = []
    children = children_by_task(snapshot)
    for choice in found:
        node = snapshot.nodes[choice.place]
        engine = facts[node.record.ref.backend]
        fact = engine.partial_rerun
        known = items.get((choice.place, choice.task.id))
        if (
            fact is PartialRerun.YES
            or is_linked(snapshot, children, choice.place, choice.task.id)
            or (fact is PartialRerun.LAST_FAILED and _safe(choice.task, known))
        ):
            continue
        if "X6" in accept:
            warnings.append(
                f"{choice.name}: the engine of {describe(node)} may run items again that had succeeded, and may hang "
                f"(accepted X6)"
            )
            continue
        has_children = (choice.place, choice.task.id) in children
        remedy = engine.remedy if has_children else engine.remedy_of_actions
        raise Rejected(
            f"{choice.name}: the engine of {describe(node)} {_why_unsafe(fact, known)} (X6). Re-run it without "
            f"--no-reset, which runs all its items, or go ahead with --accept X6.{remedy and f' {remedy}'}",
            rule="X6",
            reason="partial_rerun_unsafe",
            execution=node.record.id,
            accept="X6",
        )
    return tuple(warnings)


def _why_unsafe(fact: PartialRerun, items: tuple[ItemRead, ...] | None) -> str:
    if fact is not PartialRerun.LAST_FAILED:
        return "cannot run only the failed items of a task again"
    if items is None:
        return "may run items again that had succeeded, and hang: which item failed cannot be told from their results"
    return "would run items again that had succeeded, and may hang, because one behind the last failed one succeeded"


def _safe(task: TaskLook, items: tuple[ItemRead, ...] | None) -> bool:
    if task.serial:
        return True
    if items is None or task.items is None:
        return False
    succeeded = [item.status is TaskStatus.SUCCEEDED for item in items]
    never_ran = len(items) < task.items  # they stand behind those that did, and run behind what failed last
    return not succeeded[-1] if False in succeeded else never_ran


def at_path(snapshot: Snapshot, place: int, path: str) -> Shown:
    """What dotted task names lead to, of several runs the latest.

    Raises `NotFound` for a name that is not there, and `InvalidInput` where the way leads through a task with several
    items and none of them is named.
    """
    seen = _Names(snapshot)
    rest = path
    while rest:
        for head, tail in ((rest, ""), *_splits(rest)):
            runs, children = seen.runs(place, head), seen.children(place, head)
            items = seen.items(children) if runs else []
            if runs and not tail and (items or not children):
                return Shown(place, runs[-1].id)
            if len(items) > 1:
                raise InvalidInput(_several(snapshot, place, head, tail, items))
            if children:
                place, rest = children[-1], tail
                break
            if runs or seen.runs(place, _without_item(head)):
                raise NotFound(_childless(seen, place, head, tail))
        else:
            raise NotFound(_unknown(seen, place, rest))
    return Shown(place)


def _several(snapshot: Snapshot, place: int, head: str, tail: str, items: Sequence[int]) -> str:
    names = ", ".join(f"{head}[{item}]" for item in items)
    where = describe(snapshot.nodes[place])
    return f"{head}: has several items in {where}, and {tail} stands inside of one; name one of: {names}"


def _resolve(seen: _Names, place: int, name: str) -> list[tuple[int, TaskLook]]:
    runs = seen.runs(place, name)
    if runs:
        errored = [task for task in runs if task.status is TaskStatus.ERRORED]
        if not errored:
            raise _Wrong(f"{name}: is {runs[-1].status} in {describe(seen.snapshot.nodes[place])}, not errored")
        return [(place, task) for task in errored]
    for head, rest in _splits(name):
        if found := seen.children(place, head):
            return _resolve_below(seen, found, head, rest)
        if seen.runs(place, head) or seen.runs(place, _without_item(head)):
            raise _Wrong(_childless(seen, place, head, rest))
    if named := seen.runs(place, _without_item(name)):
        raise _Wrong(_one_item(seen, place, name, named[-1]))
    raise _Wrong(_unknown(seen, place, name))


def _unknown(seen: _Names, place: int, name: str) -> str:
    where = describe(seen.snapshot.nodes[place])
    return _no_item(seen, place, name, where) or f"{name}: no such task in {where}; there is: {seen.there(place)}"


def _no_item(seen: _Names, place: int, name: str, where: str) -> str:
    """Why what stands behind a task that is there is no item of it; "" where no task and a bracket begin the name."""
    for at, letter in enumerate(name):
        task = name[:at]
        if letter != "[" or not (runs := seen.runs(place, task)):
            continue
        index, closed, behind = name[at + 1 :].partition("]")
        head = f"{task}[{index}{closed}"
        if closed and index.isdecimal() and behind:
            return f"{name}: a dot is missing between {head} and {behind} in {where}"
        return _not_of(seen, place, head, runs[-1], where)
    return ""


def _not_of(seen: _Names, place: int, head: str, task: TaskLook, where: str) -> str:
    """Why an index names no child of a task, and what may be named."""
    items = seen.items(seen.children(place, task.name))
    index = head.removeprefix(task.name)
    if items and _INDEXED.match(head):
        return f"{head}: no such item in {where}; there are: {', '.join(map(str, items))}"
    if items:
        return (
            f"{head}: {index} is no item of {task.name} in {where}; write {task.name}[N], with N one of: "
            f"{', '.join(map(str, items))}"
        )
    has = "no items" if task.items is None else "no child executions for its items"
    return f"{head}: {task.name} has {has} in {where}; name it without {index}"


def _childless(seen: _Names, place: int, head: str, rest: str) -> str:
    """Why nothing can be named below a task that is there: it has no children at all, or none for that item."""
    where = describe(seen.snapshot.nodes[place])
    if runs := seen.runs(place, head):
        return f"{runs[-1].name}: has no child execution in {where}{rest and f', so {rest} is not there'}"
    return _not_of(seen, place, head, seen.runs(place, _without_item(head))[-1], where)


def _one_item(seen: _Names, place: int, name: str, task: TaskLook) -> str:
    """How items are chosen: never one alone, but those that failed, or tasks that stand inside of one (X5, X6)."""
    where = describe(seen.snapshot.nodes[place])
    index = name.removeprefix(task.name)
    if task.items is None:
        return f"{name}: {task.name} has no items in {where}; name it without {index}"
    said = (
        f"{name}: one item is not run again or skipped alone in {where}; without {index} the whole task is meant, of "
        "which a re-run with --no-reset runs only the failed items"
    )
    inside = dict.fromkeys(
        one.name
        for child in seen.children(place, name)
        for one in seen.snapshot.nodes[child].tasks
        if one.status is TaskStatus.ERRORED
    )
    return (
        f"{said}; behind {index} and a dot may stand what failed in that item: {', '.join(inside)}" if inside else said
    )


def _resolve_below(seen: _Names, found: Sequence[int], head: str, rest: str) -> list[tuple[int, TaskLook]]:
    """The tasks meant in those children that can be meant; one that cannot is told only where there is no other."""
    hits: list[tuple[int, TaskLook]] = []
    wrong: list[str] = []
    passed_over: list[str] = []
    for child in found:
        node = seen.snapshot.nodes[child]
        if node.record.gone:
            why = f"{head}: its {describe(node)} is gone from its engine, and can only be started anew (S7)"
            passed_over.append(why)
            continue
        if node.record.status is not Status.ERRORED:
            passed_over.append(f"{head}: its {describe(node)} is {node.record.status}, not errored")
            continue
        try:
            hits += _resolve(seen, child, rest)
        except _Wrong as problem:
            told = passed_over if isinstance(problem, _PassedOver) else wrong
            told += [f"{head}.{one}" for one in problem.args]
    if not hits:
        raise _Wrong(*wrong) if wrong else _PassedOver(*passed_over)
    return hits


def _splits(name: str) -> Iterable[tuple[str, str]]:
    """Every way to split a dotted name in two, the longest head first."""
    for at in range(len(name) - 1, 0, -1):
        if name[at] == "." and at + 1 < len(name):
            yield name[:at], name[at + 1 :]


def _without_item(head: str) -> str:
    match = _INDEXED.match(head)
    return match["task"] if match else head


def _reject_unless_ancestors_errored(snapshot: Snapshot, place: int, verb: str) -> None:
    for above in ancestors(snapshot, place):
        node = snapshot.nodes[above]
        require(node, verb)
        if node.record.status is not Status.ERRORED:
            went_on = " (it handled the error and went on)" if node.record.status is Status.SUCCEEDED else ""
            raise Rejected(
                f"{describe(snapshot.nodes[place])} cannot be re-opened: {describe(node)} above it is "
                f"{node.record.status}{went_on}, and it would have to be errored (X8).",
                rule="X8",
                reason="ancestor_not_errored",
                execution=snapshot.nodes[place].record.id,
            )


def _reject_nested(snapshot: Snapshot, chosen: Sequence[Chosen]) -> None:
    named = {(choice.place, choice.task.id): choice.name for choice in chosen}
    wrong = []
    for choice in chosen:
        node = snapshot.nodes[choice.place]
        while node.parent >= 0:
            outer = named.get((node.parent, node.record.parent_task))
            if outer is not None:
                wrong.append(f"{choice.name}: lies inside {outer}, which is named as well; name one of them")
            node = snapshot.nodes[node.parent]
    if wrong:
        raise _rejected("", "X4", "nested_tasks", list(dict.fromkeys(wrong)))


def _rejected(execution: str, rule: str, reason: str, wrong: list[str]) -> Rejected:
    return Rejected(
        f"nothing was done ({rule}): " + "; ".join(wrong), rule=rule, reason=reason, execution=execution, rows=wrong
    )
