"""What nobody asks the toy world's bridge for: executions that pause themselves, and other people's tools."""

from __future__ import annotations

from collections.abc import Iterator

from flowbridge.law.tables import ENDED
from flowbridge.model import EngineState, Want
from support.world_engines import Engines, Resumed, Scene, World, all_held, owed_below, resume_under_way

_E = EngineState


def outside_moves(scene: Scene, world: World) -> Iterator[tuple[str, World]]:
    left = world.left
    for slot, exec in enumerate(world.execs):
        if left.pauses and exec.state is _E.RUNNING and world.owed[slot] is not Want.CANCEL:
            yield f"{slot} pauses itself", _paused_outside(scene, world, slot)
    if not left.outside or world.steps or world.late or not _all_seen(world):
        return
    spent = world._replace(left=left._replace(outside=left.outside - 1))
    for slot, exec in enumerate(world.execs):
        if exec.state is _E.PAUSED and world.owed[slot] is Want.HOLD:
            yield f"{slot} is resumed outside", _resumed_outside(scene, spent, slot)
        if exec.state in (_E.RUNNING, _E.PAUSED) and world.owed[slot] is not Want.CANCEL:
            yield f"{slot} is canceled outside", _canceled_outside(scene, spent, slot)


def _all_seen(world: World) -> bool:
    return all(
        (exec.state is known.seen and (known.want is owed or exec.state in ENDED)) if known else not exec.born
        for exec, known, owed in zip(world.execs, world.kept, world.owed, strict=True)
    )


def _paused_outside(scene: Scene, world: World, slot: int) -> World:
    engines = Engines(scene, world)
    engines.pause(slot)
    after = engines.world()._replace(left=world.left._replace(pauses=world.left.pauses - 1))
    # One that is, or was last seen, to be paused anyway shows what is wanted of it; a resume under way may run
    # through it unseen.
    known = world.kept[slot]
    expected = world.owed[slot] is Want.HOLD or (known is not None and known.want is Want.HOLD)
    if expected or resume_under_way(world):
        return after._replace(vague=True)
    return after._replace(owed=all_held(world.owed))


def _resumed_outside(scene: Scene, world: World, slot: int) -> World:
    engines = Engines(scene, world)
    engines.resume(slot)
    while engines.late:
        engines.deliver(*engines.late.pop(0))
    lifted = set(engines.flipped)
    for place, here in enumerate(scene.slots):  # a hold that had not reached a child is lifted with the parent's
        if here.parent in lifted and here.native and here.engine == "eager" and world.execs[place].state is _E.RUNNING:
            lifted.add(place)
    owed = tuple(Want.RUN if place in lifted and want is Want.HOLD else want for place, want in enumerate(world.owed))
    # Where a resume of the bridge may still come, nobody can tell the two apart, and it is held again.
    known = [world.kept[place] for place in engines.flipped]
    doubt = any(one is not None and one.resumed is not Resumed.NEVER for one in known)
    return engines.world()._replace(owed=owed, vague=world.vague or doubt)


def _canceled_outside(scene: Scene, world: World, slot: int) -> World:
    engines = Engines(scene, world)
    engines.cancel(slot)
    # Where a child of it was canceled before, nobody can tell this from C5.
    vague = world.vague or any(
        (scene.slots[child].parent in scene.below(slot) and world.owed[child] is Want.CANCEL)
        or world.execs[child].state is _E.CANCELED
        for child in scene.below(slot)
    )
    return engines.world()._replace(owed=owed_below(scene, world, slot, Want.CANCEL), vague=vague)
