"""A toy world for the law: fake engines that answer late, and a bridge that may die between any two steps.

`moves` gives every world that may come next. The real law is called for every look and every verb.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from flowbridge.capabilities import Capabilities, Cascade, PartialRerun, ResumeUp
from flowbridge.errors import Rejected
from flowbridge.law.decide import Action, decide
from flowbridge.law.edges import held_again, run_again
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
from support.world_again import asks, is_overtaken, not_shown, take_back
from support.world_engines import (
    Broken,
    Engines,
    Exec,
    Kept,
    Leaf,
    Left,
    Link,
    Once,
    Resumed,
    Scene,
    World,
    all_held,
    ended_as,
    newest,
    owed_below,
    put_state,
    resume_under_way,
    with_exec,
)
from support.world_moves import engine_moves
from support.world_outside import outside_moves

_E = EngineState

#: `plain` cascades nothing. `eager` cascades everything, also a resume upwards, and bears children under a pause.
FACTS = {
    "plain": Capabilities(verbs=frozenset(Verb), hosts_children=True),
    "eager": Capabilities(
        verbs=frozenset(Verb),
        cascades=frozenset(Cascade),
        resume_up=ResumeUp.LAST_PAUSED,
        partial_rerun=PartialRerun.LAST_FAILED,
        hosts_children=True,
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
def passed(
    scene: Scene, execs: tuple[Exec, ...], kept: tuple[Kept | None, ...], again: frozenset[int] = frozenset()
) -> Passed:
    """Look, give births what is wanted of their parents, settle, decide. `again` is what is being run again."""
    snapshot, slots = look(scene, execs, kept)
    settled = settle(snapshot, FACTS)
    check_events(settled.events)
    held = held_again(snapshot, settled.snapshot, run_again(snapshot, settled.snapshot) & {str(slot) for slot in again})
    if held is settled.snapshot:
        return _come_to(settled.snapshot, slots, kept, settled.events)
    after = settle(held, FACTS)
    check_events(after.events)
    return _come_to(after.snapshot, slots, kept, (*settled.events, *after.events))


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
        bound = int(record.key.partition(".")[2] or 0)
        after[slot] = Kept(
            record.want,
            record.status,
            record.seen,
            resumed,
            record.awaited,
            bound,
            record.withdrawn,
            record.created,
        )
    steps = tuple((step.action, int(step.record)) for step in decide(snapshot, FACTS).steps)
    return Passed(snapshot, slots, tuple(after), steps, events)


def look(scene: Scene, execs: tuple[Exec, ...], kept: tuple[Kept | None, ...]) -> tuple[Snapshot, tuple[int, ...]]:
    """A fresh look at every execution that was born, joined with what the ledger keeps."""
    places: dict[int, int] = {-1: -1}
    nodes: list[Node] = []
    for slot, exec in enumerate(execs):
        if exec.born:
            parent = places[scene.slots[slot].parent]
            known = _bound(kept[slot], exec)
            record = _record(scene, slot, known, nodes[parent].record if parent >= 0 else None)
            places[slot] = len(nodes)
            tasks, waiting = _tasks(scene, execs, slot)
            nodes.append(Node(record, parent, exec.state, "now", tasks=tasks, waiting=waiting))
    return Snapshot(tuple(nodes)), tuple(slot for slot, exec in enumerate(execs) if exec.born)


def _bound(known: Kept | None, exec: Exec) -> Kept | None:
    """What is kept of a child once the waiting action that it was awaited for is seen (X7)."""
    if known is None or not known.awaited or exec.waits == known.bound:
        return known
    return known._replace(awaited=False, bound=exec.waits)


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
        parent_task=scene.task(slot) if parent else "",
        item=here.item,
        native=here.native,
        key="" if here.native else f"k{slot}.{known.bound}",
        awaited=known.awaited,
        asked=bool(known.withdrawn),
        withdrawn=known.withdrawn,
        created=known.made,
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
_LEAF = {Leaf.WELL: TaskStatus.SUCCEEDED, Leaf.BADLY: TaskStatus.ERRORED, Leaf.SKIPPED: TaskStatus.SKIPPED}

#: A task's status is the first of these that one of its children has.
_FIRST = (TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.CANCELED, TaskStatus.SKIPPED, TaskStatus.ERRORED)


def _tasks(scene: Scene, execs: tuple[Exec, ...], slot: int) -> tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]:
    exec = execs[slot]
    leaf = TaskStatus.RUNNING if exec.busy else _LEAF[exec.leaf]
    tasks = [TaskLook("leaf", "leaf", leaf, active=exec.busy, starts=1 + exec.again)]
    waiting = []
    for task in scene.tasks(slot):
        slots = scene.of_task(slot, task)
        born = [child for child in slots if execs[child].born]
        if born:
            current = [child for child in newest(scene, execs, slot, task) if execs[child].born]
            found = {_child_status(scene, execs, child) for child in current}
            status = next((one for one in _FIRST if one in found), TaskStatus.SUCCEEDED)
            items = len({scene.slots[child].item for child in slots}) if scene.slots[born[0]].item is not None else None
            starts = sum(1 + execs[child].waits for child in born)
            tasks.append(TaskLook(task, task, status, starts=starts, items=items))
            waiting += [_waits(scene, execs, child) for child in born if _is_waiting(scene, execs, child)]
    return tuple(tasks), tuple(waiting)


def _child_status(scene: Scene, execs: tuple[Exec, ...], child: int) -> TaskStatus:
    if _is_waiting(scene, execs, child):
        return TaskStatus.RUNNING
    end = ended_as(scene.slots[child], execs[child])
    return TaskStatus.SKIPPED if execs[child].skipped else _TASK.get(end, TaskStatus.RUNNING)


def _is_waiting(scene: Scene, execs: tuple[Exec, ...], child: int) -> bool:
    return not scene.slots[child].native and execs[child].link is Link.WAITING


def _waits(scene: Scene, execs: tuple[Exec, ...], child: int) -> WaitingChild:
    key = f"k{child}.{execs[child].waits}"
    return WaitingChild(key, scene.task(child), scene.slots[child].item, "target")


def bridge_moves(scene: Scene, world: World) -> Iterator[tuple[str, World]]:
    """What the bridge does: looks, sends, dies, or takes a verb."""
    if world.steps:
        yield f"send {world.steps[0]}", send(scene, world)
        if world.left.crashes:
            yield "the bridge dies", _dead(world)
        return
    found = passed(scene, world.execs, world.kept, world.again)
    if found.kept != world.kept or to_send(world, found) or not_shown(world.once, found.snapshot) != world.once:
        yield "a pass", after_pass(scene, world, found)
    if world.once and world.left.crashes:
        yield "the bridge dies", _dead(world)
    if world.left.verbs:
        for slot in found.slots:
            yield from verbs(scene, world, found, slot)
    if world.left.again and not world.once and not _unsent(world, found):  # one at a time (O5)
        yield from _again(scene, world, found)


def _dead(world: World) -> World:
    """Nobody knows any more what was sent: who comes next finds the operation open, and sends what no look shows."""
    left = world.left._replace(crashes=world.left.crashes - 1)
    once = tuple(one._replace(sent=False) for one in world.once)
    return world._replace(steps=(), once=once, left=left)


def _unsent(world: World, found: Passed) -> bool:
    """Whether something is left that a command finishes before it does what it is asked for."""
    return any((str(action), place) not in world.late for action, place in found.steps) or not all(
        once.sent for once in world.once
    )


def _again(scene: Scene, world: World, found: Passed) -> Iterator[tuple[str, World]]:
    for asked in asks(scene, world.execs, found.snapshot, found.slots, FACTS, world.now + 0.5):
        looked = after_pass(scene, world, found)
        settled = settle(asked.snapshot, FACTS)
        check_events(settled.events)
        done = _come_to(settled.snapshot, found.slots, found.kept, settled.events)
        owed = tuple(Want.RUN if slot in asked.reopened else want for slot, want in enumerate(world.owed))
        left = world.left._replace(again=world.left.again - 1)
        once = (*looked.once, *asked.once)
        after = looked._replace(kept=done.kept, owed=owed, left=left, once=once, again=asked.reopened)
        yield asked.label, after._replace(steps=to_send(after, done))


def after_pass(scene: Scene, world: World, found: Passed) -> World:
    """The ledger and the steps after a look. What was seen to pause itself must end held, races or not (P7).

    One thing is beyond the law: a late resume that its engine carries upwards looks like somebody else's.
    """
    if any(event.kind is Kind.PAUSED_ITSELF for event in found.events):
        world = world._replace(owed=all_held(world.owed), vague=_resume_goes_up(scene, world))
    once = not_shown(world.once, found.snapshot)
    for one in once:
        if one.taken and not one.sent:
            raise Broken(f"{one.call} of {one.slot} was done, and would be sent again (O3)")
    for one in set(world.once) - set(once):
        # Where one came late that a cancel had taken back, nobody can tell whose doing it is.
        if not (one.taken or one.refused or world.vague or is_overtaken(one, found.snapshot)):
            raise Broken(f"{one.call} of {one.slot} was never done, and is taken for done (O4)")
    world = world._replace(kept=found.kept, once=once, again=world.again if once else frozenset())
    return world._replace(steps=to_send(world, found))


def _resume_goes_up(scene: Scene, world: World) -> bool:
    eager = [here.engine == "eager" and here.native and here.parent >= 0 for here in scene.slots]
    return any(what == "resume up" or (what == "resume" and eager[slot]) for what, slot in world.late)


def to_send(world: World, found: Passed) -> tuple[tuple[Action, int], ...]:
    """The steps of a pass. A resume is never sent again while the first may still be taken (O4), nor is a re-run.

    What happens once comes first. It is named by its place in `World.once`. What is being run again shows its old end
    until its engine has taken that: it is not reported.
    """
    once = tuple(
        (one.action, place) for place, one in enumerate(world.once) if not (one.sent or _in_flight(world, one))
    )
    steps = (step for step in found.steps if step[0] is not Action.RESUME or ("resume", step[1]) not in world.late)
    again = world.again | {one.slot for one in world.once} if world.once else frozenset()
    return (*once, *(step for step in steps if step[0] is not Action.REPORT or step[1] not in again))


def _in_flight(world: World, once: Once) -> bool:
    return (once.call, once.slot) in world.late


def send(scene: Scene, world: World) -> World:
    """Send the next step."""
    action, slot = world.steps[0]
    engines = Engines(scene, world._replace(steps=world.steps[1:]))
    if action in (Action.RERUN, Action.SKIP):
        one = world.once[slot]
        engines.once[slot] = one._replace(sent=True, asked=True)
        engines.late.append((one.call, one.slot))
        return engines.world()
    exec = world.execs[slot]
    _check_step(scene, world, action, slot)
    if action is Action.START:
        (engines.accept if scene.slow_start else engines.deliver)(str(action), slot)
    elif action is Action.REPORT:
        told = _E.CANCELED if exec.state is _E.ABSENT else exec.state
        engines.execs[slot] = exec._replace(link=Link.REPORTED, told=told)
    else:
        engines.accept(str(action), slot)
    return engines.world()


def _check_step(scene: Scene, world: World, action: Action, slot: int) -> None:
    """A start only of what is to run (P6); a result never to a held parent (R3)."""
    known, above = world.kept[slot], world.kept[scene.slots[slot].parent]
    if action is Action.START and known is not None and known.want is not Want.RUN:
        raise Broken(f"{slot} is started, and is to {known.want} (P6)")
    # What was never seen is told as canceled, though it may be on its way, and what may be re-opened by a call that a
    # cancel took back is told as it had ended: it is canceled when it comes.
    below = (world.kept[place] for place in scene.below(slot))
    is_late = (known is not None and known.seen is _E.ABSENT) or any(one is not None and one.withdrawn for one in below)
    over = world.execs[slot].state in (*ENDED, _E.ABSENT) or is_late
    if action is Action.REPORT and not over and not world.vague:
        raise Broken(f"the end of {slot} is told, and it has none (X7)")
    if action is Action.REPORT and above is not None and above.want is Want.HOLD and above.seen not in ENDED:
        raise Broken(f"{slot} is reported to a held parent (R3)")


def verbs(scene: Scene, world: World, found: Passed, slot: int) -> Iterator[tuple[str, World]]:
    """Every verb that the law accepts for an execution: looked, settled, checked, written down, ready to send."""
    unsent = _unsent(world, found)
    place = found.slots.index(slot)
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.CANCEL):
        if unsent and verb is not Verb.CANCEL:  # what earlier ones left open is finished first
            continue
        effect = check(found.snapshot, place, verb)
        waits = not_shown(world.once, found.snapshot)
        once, snapshot = waits, found.snapshot
        if verb is Verb.CANCEL:
            once, snapshot = take_back(waits, world.again, found.snapshot, place, world.now)
        if (effect is not None and effect.wants) or once != waits:
            looked = after_pass(scene, world, found)._replace(once=once)
            taken = found._replace(snapshot=snapshot)
            yield f"{verb} {slot}", _accepted(scene, looked, taken, slot, verb, effect or Effect())


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
    yield from bridge_moves(scene, world)
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
    found = passed(scene, world.execs, world.kept, world.again)
    once = tuple(one._replace(sent=one.sent and not _is_due(world, one)) for one in world.once)
    due = once != world.once or not_shown(once, found.snapshot) != once or not all(one.sent for one in once)
    if found.kept != world.kept or to_send(world, found) or due:
        return after_pass(scene, world._replace(once=once), found)
    return None


def _is_due(world: World, once: Once) -> bool:
    """Whether the next command sends a call again that its engine said yes to, and has not done."""
    return not (once.taken or _in_flight(world, once)) and world.execs[once.slot].state is not _E.PAUSED


def idle(world: World) -> World | None:
    """The next leaf ended; None where none runs."""
    for slot, exec in enumerate(world.execs):
        if exec.busy:
            return with_exec(world, slot, exec._replace(busy=False))
    return None
