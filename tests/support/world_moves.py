"""What the toy world's engines do by themselves: late answers arrive, leaves end, children are born, executions end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowbridge.model import EngineState, Want
from support.world_engines import (
    Engines,
    Exec,
    Leaf,
    Link,
    Scene,
    World,
    done,
    ended_as,
    is_errored,
    put_state,
    replacement,
    with_exec,
)

_E = EngineState


def engine_moves(scene: Scene, world: World) -> Iterator[tuple[str, World]]:
    """What engines do by themselves, late answers included."""
    started: set[int] = set()
    for at, (what, slot) in enumerate(world.late):
        if slot not in started:  # requests to one execution arrive in their order
            started.add(slot)
            engines = Engines(scene, world)
            del engines.late[at]
            engines.deliver(what, slot)
            yield f"{what} of {slot} arrives", engines.world()
    for slot, exec in enumerate(world.execs):
        if exec.busy:
            yield f"leaf of {slot} ends", with_exec(world, slot, exec._replace(busy=False))
            if world.left.fails:
                left = world.left._replace(fails=world.left.fails - 1)
                failed = with_exec(world, slot, exec._replace(busy=False, leaf=Leaf.BADLY))
                yield f"leaf of {slot} fails", failed._replace(left=left)
        if exec.state is _E.REQUESTED:
            yield f"{slot} begins", put_state(scene, world, slot, _E.RUNNING)
        if exec.state is _E.RUNNING and not exec.busy:
            yield from _ends(scene, world, slot)
        if scene.items and exec.state is _E.RUNNING and _child_canceled(scene, world, slot):
            yield f"{slot} ends with its canceled item (C5)", _end_canceled(scene, world, slot)
        may_start = not exec.busy and exec.leaf is not Leaf.SKIPPED
        if world.left.delayed and may_start and exec.state in (_E.PAUSED, _E.CANCELED):
            left = world.left._replace(delayed=world.left.delayed - 1)
            yield (
                f"delayed task of {slot} starts",
                with_exec(world, slot, exec._replace(busy=True))._replace(left=left),
            )
        if not exec.born and scene.slots[slot].instead < 0:
            yield from _births(scene, world, slot)


def _births(scene: Scene, world: World, slot: int) -> Iterator[tuple[str, World]]:
    here = scene.slots[slot]
    parent = world.execs[here.parent]
    eager = scene.slots[here.parent].engine == "eager"
    if parent.state is not _E.RUNNING and not (eager and parent.state in (_E.PAUSED, _E.CANCELED)):
        return
    if here.item is not None and _is_over(scene, world.execs, here.parent, scene.task(slot)):
        return  # items that never ran stay so until the task is run again
    exec = Exec(_E.RUNNING, busy=True) if here.native else Exec(link=Link.WAITING)
    owed = (*world.owed[:slot], world.owed[here.parent], *world.owed[slot + 1 :])
    yield f"{slot} is born", with_exec(world, slot, exec)._replace(owed=owed)


def _is_over(scene: Scene, execs: Sequence[Exec], slot: int, task: str) -> bool:
    children = scene.of_task(slot, task)
    return is_errored(scene, execs, slot, task) or any(execs[child].skipped for child in children)


def _ends(scene: Scene, world: World, slot: int) -> Iterator[tuple[str, World]]:
    for child, other in enumerate(scene.slots):
        if other.parent == slot and world.execs[child].born and not done(other, world.execs[child]):
            return
    if _child_canceled(scene, world, slot):
        yield f"{slot} ends canceled (C5)", _end_canceled(scene, world, slot)
        return
    wrong = any(is_errored(scene, world.execs, slot, task) for task in scene.tasks(slot))
    if wrong or world.execs[slot].leaf is Leaf.BADLY:
        yield f"{slot} ends errored", put_state(scene, world, slot, _E.ERRORED)
    if world.execs[slot].leaf is not Leaf.BADLY:
        how = ", having handled an error" if wrong else ""
        yield f"{slot} ends{how}", put_state(scene, world, slot, _E.SUCCEEDED)


def _end_canceled(scene: Scene, world: World, slot: int) -> World:
    """C5. Where nobody saw the child canceled before, an engine that cascades shows what a canceled parent would."""
    unseen = any(
        other.parent == slot
        and exec.state is _E.CANCELED
        and (known is None or Want.CANCEL is not known.want)
        and (known is None or known.seen is not _E.CANCELED)
        for other, exec, known in zip(scene.slots, world.execs, world.kept, strict=True)
    )
    eager = scene.slots[slot].engine == "eager"
    return put_state(scene, world, slot, _E.CANCELED)._replace(vague=world.vague or (unseen and eager))


def _child_canceled(scene: Scene, world: World, slot: int) -> bool:
    return any(
        other.parent == slot
        and ended_as(other, world.execs[child]) is _E.CANCELED
        and done(other, world.execs[child])
        and not world.execs[child].skipped
        and not _replaced(scene, world, child)
        for child, other in enumerate(scene.slots)
    )


def _replaced(scene: Scene, world: World, slot: int) -> bool:
    new = replacement(scene, slot)
    return new >= 0 and world.execs[new].born
