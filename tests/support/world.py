"""A toy world for the law: fake engines that answer late, and a bridge that may die between any two steps.

`moves` gives every world that may come next. The real law is called for every look and every verb.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from flowbridge.capabilities import Capabilities, Cascade, ResumeUp
from flowbridge.errors import Rejected
from flowbridge.law.decide import Action, decide
from flowbridge.law.fold import Event, Kind, birth_want, settle
from flowbridge.law.tables import ENDED, TRANSITIONS
from flowbridge.law.verbs import Effect, apply, check_cancel, check_pause, check_resume
from flowbridge.model import (
    EngineState,
    Node,
    Record,
    Ref,
    Snapshot,
    Status,
    TaskLook,
    TaskStatus,
    Verb,
    WaitingChild,
    Want,
)
from support.world_engines import (
    Broken,
    Engines,
    Exec,
    Kept,
    Left,
    Link,
    Resumed,
    Scene,
    World,
    all_held,
    engine_moves,
    outside_moves,
    owed_below,
    put_state,
    resume_under_way,
    with_exec,
)

_E = EngineState

#: `plain` cascades nothing. `eager` cascades everything, also a resume upwards, and bears children under a pause.
FACTS = {
    "plain": Capabilities(verbs=frozenset(Verb), hosts_children=True),
    "eager": Capabilities(
        verbs=frozenset(Verb), cascades=frozenset(Cascade), resume_up=ResumeUp.LAST_PAUSED, hosts_children=True
    ),
}


def new_world(scene: Scene, left: Left) -> World:
    """The root runs and is known; nothing else is born."""
    count = len(scene.slots)
    execs = (Exec(_E.RUNNING, busy=True), *[Exec()] * (count - 1))
    kept = (Kept(Want.RUN, Status.RUNNING, _E.RUNNING), *[None] * (count - 1))
    return World(execs, kept, (Want.RUN,) * count, left=left)


class Passed(NamedTuple):
    """What one pass comes to."""

    snapshot: Snapshot
    slots: tuple[int, ...]
    kept: tuple[Kept | None, ...]
    steps: tuple[tuple[Action, int], ...]
    events: tuple[Event, ...]


@lru_cache(maxsize=1 << 19)
def passed(scene: Scene, execs: tuple[Exec, ...], kept: tuple[Kept | None, ...]) -> Passed:
    """Look, give births what is wanted of their parents, settle, decide."""
    snapshot, slots = look(scene, execs, kept)
    settled = settle(snapshot, FACTS)
    check_events(settled.events)
    return _come_to(settled.snapshot, slots, kept, settled.events)


def check_events(events: tuple[Event, ...]) -> None:
    """Only what the table lists may happen."""
    for event in events:
        if event.kind in (Kind.STATUS, Kind.REOPENED_OUTSIDE) and event.new not in TRANSITIONS[event.old]:
            raise Broken(f"{event.record}: {event.old} -> {event.new} does not stand in the table")


def _come_to(
    snapshot: Snapshot, slots: tuple[int, ...], kept: tuple[Kept | None, ...], events: tuple[Event, ...]
) -> Passed:
    after = list(kept)
    for slot, node in zip(slots, snapshot.nodes, strict=True):
        record = node.record
        resumed = Resumed.NEVER if record.resumed_at is None else Resumed(record.resumed_at)
        after[slot] = Kept(record.want, record.status, record.seen, resumed)
    steps = tuple((step.action, int(step.record)) for step in decide(snapshot, FACTS).steps)
    return Passed(snapshot, slots, tuple(after), steps, events)


def look(scene: Scene, execs: tuple[Exec, ...], kept: tuple[Kept | None, ...]) -> tuple[Snapshot, tuple[int, ...]]:
    """A fresh look at every execution that was born, joined with what the ledger keeps."""
    places: dict[int, int] = {-1: -1}
    nodes: list[Node] = []
    for slot, exec in enumerate(execs):
        if exec.born:
            parent = places[scene.slots[slot].parent]
            record = _record(scene, slot, kept[slot], nodes[parent].record if parent >= 0 else None)
            places[slot] = len(nodes)
            tasks, waiting = _tasks(scene, execs, slot)
            nodes.append(Node(record, parent, exec.state, "now", tasks=tasks, waiting=waiting))
    return Snapshot(tuple(nodes)), tuple(slot for slot, exec in enumerate(execs) if exec.born)


def _record(scene: Scene, slot: int, known: Kept | None, parent: Record | None) -> Record:
    here = scene.slots[slot]
    if known is None:
        first = _E.REQUESTED if here.native else _E.ABSENT
        known = Kept(birth_want(parent), Status.REQUESTED, first)
    return Record(
        id=str(slot),
        tree="t",
        ref=Ref(here.engine, str(slot)),
        parent=parent.ref if parent else None,
        parent_task=f"t{slot}" if parent else "",
        native=here.native,
        key="" if here.native else f"k{slot}",
        want=known.want,
        status=known.status,
        seen=known.seen,
        revision="now",
        resumed_at=None if known.resumed is Resumed.NEVER else str(known.resumed),
    )


_TASK = {
    _E.PAUSED: TaskStatus.PAUSED,
    _E.CANCELED: TaskStatus.CANCELED,
    _E.SUCCEEDED: TaskStatus.SUCCEEDED,
    _E.ERRORED: TaskStatus.ERRORED,
}


def _tasks(scene: Scene, execs: tuple[Exec, ...], slot: int) -> tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]:
    leaf = TaskStatus.RUNNING if execs[slot].busy else TaskStatus.SUCCEEDED
    tasks = [TaskLook("leaf", "leaf", leaf, active=execs[slot].busy)]
    waiting = []
    for child, other in enumerate(scene.slots):
        if other.parent == slot and execs[child].born:
            waits = not other.native and execs[child].link is Link.WAITING
            status = TaskStatus.RUNNING if waits else _TASK.get(execs[child].state, TaskStatus.RUNNING)
            tasks.append(TaskLook(f"t{child}", f"t{child}", status))
            if waits:
                waiting.append(WaitingChild(f"k{child}", f"t{child}", None, "target"))
    return tuple(tasks), tuple(waiting)


def _bridge_moves(scene: Scene, world: World) -> Iterator[tuple[str, World]]:
    if world.steps:
        yield f"send {world.steps[0]}", send(scene, world)
        if world.left.crashes:
            left = world.left._replace(crashes=world.left.crashes - 1)
            yield "the bridge dies", world._replace(steps=(), left=left)
        return
    found = passed(scene, world.execs, world.kept)
    if found.kept != world.kept or to_send(world, found):
        yield "a pass", after_pass(scene, world, found)
    if world.left.verbs:
        for slot in found.slots:
            yield from verbs(scene, world, found, slot)


def after_pass(scene: Scene, world: World, found: Passed) -> World:
    """The ledger and the steps after a look. What was seen to pause itself must end held, races or not (P7).

    One thing is beyond the law: a late resume that its engine carries upwards looks like somebody else's.
    """
    if any(event.kind is Kind.PAUSED_ITSELF for event in found.events):
        world = world._replace(owed=all_held(world.owed), vague=_resume_goes_up(scene, world))
    return world._replace(kept=found.kept, steps=to_send(world, found))


def _resume_goes_up(scene: Scene, world: World) -> bool:
    eager = [here.engine == "eager" and here.native and here.parent >= 0 for here in scene.slots]
    return any(what == "resume up" or (what == "resume" and eager[slot]) for what, slot in world.late)


def to_send(world: World, found: Passed) -> tuple[tuple[Action, int], ...]:
    """The steps of a pass. A resume is never sent again while the first may still be taken (O4)."""
    return tuple(step for step in found.steps if step[0] is not Action.RESUME or ("resume", step[1]) not in world.late)


def send(scene: Scene, world: World) -> World:
    """Send the next step."""
    action, slot = world.steps[0]
    engines = Engines(scene, world._replace(steps=world.steps[1:]))
    exec = world.execs[slot]
    _check_step(scene, world, action, slot)
    if action is Action.START:
        if exec.state is _E.ABSENT:
            engines.execs[slot] = exec._replace(state=_E.REQUESTED, busy=True)
    elif action is Action.REPORT:
        engines.execs[slot] = exec._replace(link=Link.REPORTED)
    else:
        engines.accept(str(action), slot)
    return engines.world()


def _check_step(scene: Scene, world: World, action: Action, slot: int) -> None:
    """A start only of what is to run (P6); a result never to a held parent (R3)."""
    known, above = world.kept[slot], world.kept[scene.slots[slot].parent]
    if action is Action.START and known is not None and known.want is not Want.RUN:
        raise Broken(f"{slot} is started, and is to {known.want} (P6)")
    if action is Action.REPORT and above is not None and above.want is Want.HOLD and above.seen not in ENDED:
        raise Broken(f"{slot} is reported to a held parent (R3)")


def verbs(scene: Scene, world: World, found: Passed, slot: int) -> Iterator[tuple[str, World]]:
    """Every verb that the law accepts for an execution: looked, settled, checked, written down, ready to send."""
    unsent = any((str(action), place) not in world.late for action, place in found.steps)
    place = found.slots.index(slot)
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.CANCEL):
        if unsent and verb is not Verb.CANCEL:  # what earlier ones left open is finished first
            continue
        effect = check(found.snapshot, place, verb)
        if effect is not None and effect.wants:
            yield f"{verb} {slot}", _accepted(scene, after_pass(scene, world, found), found, slot, verb, effect)


def check(snapshot: Snapshot, place: int, verb: Verb) -> Effect | None:
    """The law's answer, None where it rejects."""
    try:
        if verb is Verb.PAUSE:
            return check_pause(snapshot, place)
        if verb is Verb.RESUME:
            return check_resume(snapshot, place, FACTS, frozenset())
        return check_cancel(snapshot, place)
    except Rejected:
        return None


def _accepted(scene: Scene, world: World, found: Passed, slot: int, verb: Verb, effect: Effect) -> World:
    settled = settle(apply(found.snapshot, effect, "user"), FACTS)
    check_events(settled.events)
    again = check(settled.snapshot, found.slots.index(slot), verb)
    if again is not None and again.wants:
        raise Broken(f"{verb} {slot} twice does something new (O10): {again.wants}")
    done = _come_to(settled.snapshot, found.slots, found.kept, settled.events)
    if verb is Verb.PAUSE:
        owed = all_held(world.owed)
    else:
        owed = owed_below(scene, world, slot, Want.RUN if verb is Verb.RESUME else Want.CANCEL)
    vague = world.vague or (verb is Verb.CANCEL and resume_under_way(world)) or _resume_goes_up(scene, world)
    left = world.left._replace(verbs=world.left.verbs - 1)
    return world._replace(kept=done.kept, steps=to_send(world, done), owed=owed, vague=vague, left=left)


# --- everything that may come next, and what must hold ---------------------------------------------------------------


def moves(scene: Scene, world: World) -> Iterator[tuple[str, World]]:
    """Every event that may come next, in words, with the world after it."""
    yield from _bridge_moves(scene, world)
    yield from engine_moves(scene, world)
    yield from outside_moves(scene, world)


def calm(scene: Scene, world: World) -> World | None:
    """One step towards quiet, nothing new being begun; None where all is quiet."""
    if world.steps:
        return send(scene, world)
    if world.late:
        engines = Engines(scene, world)
        engines.deliver(*engines.late.pop(0))
        return engines.world()
    for slot, exec in enumerate(world.execs):
        if exec.state is _E.REQUESTED:
            return put_state(scene, world, slot, _E.RUNNING)
    found = passed(scene, world.execs, world.kept)
    return after_pass(scene, world, found) if found.kept != world.kept or found.steps else None


def idle(world: World) -> World | None:
    """The next leaf ended; None where none runs."""
    for slot, exec in enumerate(world.execs):
        if exec.busy:
            return with_exec(world, slot, exec._replace(busy=False))
    return None
