"""Re-run and skip in the toy world: everything that may be asked for, and what the law has to answer.

The oracle works the answer out from the engines' own state, in its own way; the law's has to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import NamedTuple

from flowbridge.capabilities import Capabilities
from flowbridge.errors import Rejected, Unsupported
from flowbridge.law import selection
from flowbridge.law.arrivals import in_the_way, with_withdrawn
from flowbridge.law.decide import Action
from flowbridge.law.edges import not_shown as law_not_shown
from flowbridge.law.edges import once_steps, overtaken, reopened
from flowbridge.law.tables import ENDED
from flowbridge.law.verbs import Effect, apply
from flowbridge.law.withdrawal import withdrawal
from flowbridge.model import EngineState, ItemRead, Snapshot, Status, TaskStatus, Verb, Want
from support.world_engines import Broken, Exec, Link, Once, Scene, ended_as, is_errored, newest, replacement

_E = EngineState


class Request(NamedTuple):
    """A re-run or a skip of tasks, as a user would write it."""

    verb: Verb
    slot: int
    names: tuple[str, ...]
    no_reset: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The request in words."""
        kept = f" --no-reset {' '.join(self.no_reset)}" if self.no_reset else ""
        return f"{self.verb} {self.slot} --tasks {' '.join(self.names)}{kept}"


class Asked(NamedTuple):
    """A request that was accepted: the tree with its new records, and the calls that happen once."""

    label: str
    snapshot: Snapshot
    reopened: frozenset[int]
    once: tuple[Once, ...]


def not_shown(once: tuple[Once, ...], snapshot: Snapshot) -> tuple[Once, ...]:
    """What the law still waits for, by a fresh look."""
    open_ = {
        (step.action, int(step.record), task.task)
        for one in once
        if not one.refused
        for step in law_not_shown([_step(one)], snapshot)
        for task in step.tasks
    }
    return tuple(one for one in once if (one.action, one.slot, one.task) in open_) if once else once


def take_back(
    once: tuple[Once, ...], again: frozenset[int], snapshot: Snapshot, place: int, at: float
) -> tuple[tuple[Once, ...], Snapshot]:
    """What is left of re-runs and skips after a cancel, and the tree in which nothing is awaited that no call makes a
    task wait for, and which knows what may still arrive."""
    steps = [_step(one) for one in once if not one.refused]
    gone = withdrawal(steps, {str(slot) for slot in again}, snapshot, place, at)
    if gone is None:
        return once, snapshot
    nodes = list(snapshot.nodes)
    for where, calls in gone.sent.items():
        record = nodes[where].record
        nodes[where] = replace(nodes[where], record=with_withdrawn(record, (*record.withdrawn, *calls)))
    for where in gone.awaited:
        nodes[where] = replace(nodes[where], record=replace(nodes[where].record, awaited=False))
    kept = {(step["action"], step["record"], task) for step in gone.steps for task, _ in step["tasks"]}
    left = tuple(one for one in once if one.refused or (str(one.action), str(one.slot), one.task) in kept)
    return left, Snapshot(tuple(nodes))


def is_overtaken(once: Once, snapshot: Snapshot) -> bool:
    """Whether the user is told that something else was done to the task of a call (O4)."""
    return bool(overtaken([_step(once)], snapshot))


def _step(once: Once) -> Mapping[str, object]:
    return {
        "action": str(once.action),
        "record": str(once.slot),
        "tasks": [[once.task, once.reset]],
        "mark": {once.task: once.mark},
        "sent": int(once.asked),
    }


def asks(
    scene: Scene,
    execs: tuple[Exec, ...],
    snapshot: Snapshot,
    slots: tuple[int, ...],
    facts: Mapping[str, Capabilities],
    at: float,
) -> Iterator[Asked]:
    """Every request that may be made `at` that time, each checked against the oracle; gives those that are accepted."""
    errored = {slot for slot in slots if execs[slot].state is _E.ERRORED}
    for request in _requests(scene):
        # Where the execution itself cannot be re-opened, one name stands for all.
        if request.slot not in slots or (request.slot not in errored and request.names != ("leaf",)):
            continue
        wanted = _oracle(scene, execs, request)
        try:
            effect = _law(scene, execs, snapshot, slots, request, facts)
        except Unsupported:
            if wanted is not None and all(_reopens(scene, slot) for slot, _ in wanted):
                raise Broken(f"{request.label} is unsupported, and every link on the way can (X7)") from None
            continue
        except Rejected as error:
            if wanted is not None:
                raise Broken(f"{request.label} is rejected: {error}; it may be done") from None
            continue
        if wanted is None:
            raise Broken(f"{request.label} is accepted; it may not be done (X3, X4, X5, X6, X8)")
        if request.verb is Verb.RERUN and any(slot < 0 for slot in _new_slots(scene, execs, wanted, request.no_reset)):
            continue  # this world has no room for another child there
        if not in_the_way(snapshot, effect.reopened, effect.whole):  # else it is refused until that has come (O5)
            yield _accepted(scene, snapshot, slots, request, effect, wanted, at)


@lru_cache(maxsize=64)
def _requests(scene: Scene) -> tuple[Request, ...]:
    found = []
    for slot in range(len(scene.slots)):
        names = _names(scene, slot)
        for verb in (Verb.RERUN, Verb.SKIP):
            found += [Request(verb, slot, (name,)) for name in names]
            found += [Request(verb, slot, ("leaf", task)) for task in scene.tasks(slot)]
        for task in scene.tasks(slot):
            inside = next(name for name in names if name.startswith(f"{task}."))
            found += [Request(Verb.RERUN, slot, (task, inside)), Request(Verb.RERUN, slot, ("leaf", inside, "leaf"))]
            if task == "items":
                found.append(Request(Verb.RERUN, slot, (task,), (task,)))
    return tuple(found)


def _names(scene: Scene, slot: int) -> list[str]:
    """Every name of a task from an execution down."""
    found = ["leaf"]
    for task in scene.tasks(slot):
        below = [child for child in scene.of_task(slot, task) if scene.slots[child].instead < 0]
        inside = list(dict.fromkeys(name for child in below for name in _names(scene, child)))
        found += [task, *(f"{task}.{name}" for name in inside)]
        if task == "items":
            found += [f"{task}[{scene.slots[child].item}].{name}" for child in below for name in inside]
    return found


def _law(
    scene: Scene,
    execs: tuple[Exec, ...],
    snapshot: Snapshot,
    slots: tuple[int, ...],
    request: Request,
    facts: Mapping[str, Capabilities],
) -> Effect:
    chosen = selection.select(snapshot, slots.index(request.slot), request.names, request.verb)
    if request.verb is Verb.SKIP:
        return selection.skip_effect(snapshot, chosen, facts)
    partial = selection.partial(chosen, request.no_reset, request.names)
    items = {(one.place, one.task.id): _items(scene, execs, slots[one.place], one.task.id) for one in partial}
    selection.check_partial(snapshot, partial, items, facts, frozenset())
    return selection.rerun_effect(snapshot, chosen, request.no_reset, facts)


def _items(scene: Scene, execs: tuple[Exec, ...], slot: int, task: str) -> tuple[ItemRead, ...]:
    found = []
    for place, child in enumerate(newest(scene, execs, slot, task)):
        if execs[child].born:
            good = ended_as(scene.slots[child], execs[child]) is _E.SUCCEEDED
            found.append(ItemRead(place, TaskStatus.SUCCEEDED if good else TaskStatus.ERRORED))
    return tuple(found)


def _accepted(
    scene: Scene,
    snapshot: Snapshot,
    slots: tuple[int, ...],
    request: Request,
    effect: Effect,
    wanted: frozenset[tuple[int, str]],
    at: float,
) -> Asked:
    open_ = frozenset({request.slot} | {above for slot, _ in wanted for above in (slot, *_above(scene, slot))})
    ids = count()
    after = reopened(apply(snapshot, effect, "user"), effect, lambda: f"new {next(ids)}", at)
    _check_records(slots, snapshot, after, open_, request)
    waits = _waiting(scene, wanted)
    once = _once(slots, after, effect, request, waits)
    if {(one.slot, one.task) for one in once} != wanted | waits:
        raise Broken(f"{request.label} sends {once}, and means {set(wanted)}, with {waits} waiting again (X4, X5, X7)")
    return Asked(request.label, after, open_, once)


def _waiting(scene: Scene, wanted: frozenset[tuple[int, str]]) -> frozenset[tuple[int, str]]:
    """The tasks that wait once more for what is re-opened below them and lives elsewhere (X7)."""
    ways = {way for slot, _ in wanted for way in (slot, *_above(scene, slot)) if not scene.slots[way].native}
    return frozenset((scene.slots[way].parent, scene.task(way)) for way in ways)


def _once(
    slots: tuple[int, ...], after: Snapshot, effect: Effect, request: Request, waits: frozenset[tuple[int, str]]
) -> tuple[Once, ...]:
    places = {node.record.id: slot for slot, node in zip(slots, after.nodes, strict=True)}
    return tuple(
        Once(Action(step["action"]), slot, task, reset, mark, keeps=(slot, task) in waits or task in request.no_reset)
        for step in once_steps(after, effect)
        for slot in [places[step["record"]]]
        for task, reset in step["tasks"]
        for mark in [step["mark"][task]]
    )


def _check_records(
    slots: tuple[int, ...], before: Snapshot, after: Snapshot, open_: frozenset[int], request: Request
) -> None:
    """X2: a new record, holds cleared, for each that is re-opened; all others keep theirs."""
    for slot, old, new in zip(slots, before.nodes, after.nodes, strict=True):
        is_new = new.record.id != old.record.id
        if is_new is not (slot in open_):
            raise Broken(f"{request.label}: {slot} gets {'a new' if is_new else 'no new'} record (X2)")
        if is_new:
            good = new.record.rerun_of == old.record.id and new.record.want is Want.RUN and not new.record.held_by
            if not good or new.record.resumed_at is not None or new.record.status is not Status.ERRORED:
                raise Broken(f"{request.label}: {slot} goes on as {new.record} (X2)")
            continue
        if replace(new, record=replace(new.record, awaited=old.record.awaited)) != old:
            raise Broken(f"{request.label}: {slot} is left alone, and its record changes (X2)")


# --- the oracle ------------------------------------------------------------------------------------------------------


class _No(Exception):
    """The request may not be carried out."""


def _oracle(scene: Scene, execs: tuple[Exec, ...], request: Request) -> frozenset[tuple[int, str]] | None:
    """The tasks that a request means, None where it may not be done."""
    try:
        for slot in (request.slot, *_above(scene, request.slot)):
            _require_errored(scene, execs, slot)
            _require_newest(scene, execs, slot)
        found = [one for name in request.names for one in _meant(scene, execs, request.slot, name)]
        for way in {way for slot, _ in found for way in (slot, *_above(scene, slot)) if not scene.slots[way].native}:
            _require(_waits_again(scene, execs, way))
        for slot, task in found:
            _require(not _is_inside(scene, slot, found))
            _require(task not in request.no_reset or not _harms(scene, execs, slot, task))
    except _No:
        return None
    return frozenset(found)


def _waits_again(scene: Scene, execs: tuple[Exec, ...], slot: int) -> bool:
    """Whether the task above a linked child can wait for it a second time: it is errored, and has no newer one."""
    parent, task = scene.slots[slot].parent, scene.task(slot)
    return is_errored(scene, execs, parent, task) and slot in newest(scene, execs, parent, task)


def _require(condition: bool) -> None:
    if not condition:
        raise _No


def _meant(scene: Scene, execs: tuple[Exec, ...], slot: int, name: str) -> list[tuple[int, str]]:
    head, _, rest = name.partition(".")
    task, _, item = head.rstrip("]").partition("[")
    if not rest:
        if not is_errored(scene, execs, slot, task):
            raise _No
        return [(slot, task)]
    found = []
    for child in newest(scene, execs, slot, task):
        if execs[child].born and (not item or scene.slots[child].item == int(item)):
            try:
                _require_errored(scene, execs, child)
                found += _meant(scene, execs, child, rest)
            except _No:
                continue
    if not found:
        raise _No
    return found


def _require_errored(scene: Scene, execs: tuple[Exec, ...], slot: int) -> None:
    """Errored, with nothing at work in it or below (S3)."""
    for below in scene.below(slot):
        exec = execs[below]
        never_began = exec.state is _E.ABSENT and exec.link is Link.REPORTED
        at_work = exec.state not in (*ENDED, _E.PAUSED) and not never_began
        if exec.busy or (exec.born and at_work):
            raise _No
    if execs[slot].state is not _E.ERRORED:
        raise _No


def _require_newest(scene: Scene, execs: tuple[Exec, ...], slot: int) -> None:
    """Of several children of one item the latest is meant, and another one never (X5, X8)."""
    parent = scene.slots[slot].parent
    _require(parent < 0 or slot in newest(scene, execs, parent, scene.task(slot)))


def _is_inside(scene: Scene, slot: int, named: Sequence[tuple[int, str]]) -> bool:
    ways = [slot, *_above(scene, slot)]
    return any((scene.slots[way].parent, scene.task(way)) in named for way in ways if scene.slots[way].parent >= 0)


def _harms(scene: Scene, execs: tuple[Exec, ...], slot: int, task: str) -> bool:
    last = newest(scene, execs, slot, task)[-1]
    # Items that live elsewhere are not run again, whatever their parent's engine does (X6).
    return scene.slots[slot].engine == "eager" and scene.slots[last].native and execs[last].state is _E.SUCCEEDED


def _above(scene: Scene, slot: int) -> Iterator[int]:
    while (slot := scene.slots[slot].parent) >= 0:
        yield slot


def _reopens(scene: Scene, slot: int) -> bool:
    """Whether what runs again there re-opens everything above, by the engine or by tasks that wait again."""
    ways = [way for way in (slot, *_above(scene, slot)) if scene.slots[way].parent >= 0]
    return all(not scene.slots[way].native or scene.slots[way].engine == "eager" for way in ways)


def _new_slots(
    scene: Scene, execs: tuple[Exec, ...], wanted: frozenset[tuple[int, str]], no_reset: tuple[str, ...]
) -> Iterator[int]:
    for slot, task in wanted:
        for child in newest(scene, execs, slot, task) if task != "leaf" else ():
            if task not in no_reset or ended_as(scene.slots[child], execs[child]) is not _E.SUCCEEDED:
                yield replacement(scene, child) if execs[child].born else child
