"""What must hold in a toy world once it is quiet, and the search through every world that can come to be."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from flowbridge.law.tables import ENDED, TERMINAL
from flowbridge.model import EngineState, Node, Status, Want
from support.world import Passed, calm, idle, moves, new_world, passed
from support.world_engines import Broken, Left, Scene, World

_UNSETTLED = {Status.REQUESTED, Status.PAUSING, Status.RESUMING, Status.CANCELING}
_LONGEST_CALM = 200


class Explored(NamedTuple):
    """How far a search came. `quiet`: how many of the worlds it settled into were checked."""

    states: int
    quiet: int


def explore(scene: Scene, left: Left) -> Explored:
    """Breadth first through every interleaving; `Broken` tells the shortest way to a world that breaks a rule."""
    first = new_world(scene, left)
    came: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    world = first
    settled: dict[World, bool] = {}
    try:
        while queue:
            world = queue.popleft()
            settle_down(scene, world, settled)
            for label, after in moves(scene, world):
                if after not in came:
                    came[after] = (world, label)
                    queue.append(after)
    except Broken as error:
        raise Broken(f"{error}\nin {scene}\nafter: {'; '.join(_way(came, world))}\nat {world}") from error
    return Explored(len(came), sum(settled.values()))


def _way(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    labels = []
    while (step := came[world]) is not None:
        world, label = step
        labels.append(label)
    return labels[::-1]


def settle_down(scene: Scene, world: World, settled: dict[World, bool]) -> None:
    """Let a world come to rest, with its leaves running and then ended, and check it there.

    `settled` remembers worlds that were brought to rest before, and whether each was itself at rest.
    """
    walked: set[World] = set()
    at: World | None = world
    while at is not None and at not in settled:
        if at in walked or len(walked) > _LONGEST_CALM:
            raise Broken("it never comes to rest (S5)")
        walked.add(at)
        after = calm(scene, at)
        if after is None:
            check_quiet(scene, at)
            settled[at] = True
            after = idle(at)
        at = after
    for done in walked:
        settled.setdefault(done, False)


def check_quiet(scene: Scene, world: World) -> None:
    """Every rule that can be judged once engines and bridge are at rest."""
    found = passed(scene, world.execs, world.kept, world.again)
    active = _active(world, found)
    for place, (slot, node) in enumerate(zip(found.slots, found.snapshot.nodes, strict=True)):
        _check_status(node, busy=active[place])
        if node.record.status in TERMINAL:
            continue
        _check_engine(node)
        if not world.vague and node.state not in ENDED and node.record.want is not world.owed[slot]:
            raise Broken(f"{slot} is to {node.record.want}, it was promised to {world.owed[slot]}")
        # One that a late call re-opened after the cancel took it back is as if somebody outside had done it (O12).
        is_outside = world.vague and not node.record.native and world.owed[slot] is Want.RUN
        if node.parent >= 0 and not is_outside:
            _check_below(found.snapshot.nodes[node.parent], node)
    for once in world.once:
        if not once.taken and world.execs[once.slot].state is not EngineState.PAUSED:
            raise Broken(f"{once.call} of {once.slot} was accepted, and is never done (O3)")


def _active(world: World, found: Passed) -> list[bool]:
    """Which executions have an active task, worked out anew (S2, S4)."""
    nodes = found.snapshot.nodes
    active = [world.execs[slot].busy for slot in found.slots]
    for place in range(len(nodes) - 1, 0, -1):
        node = nodes[place]
        parent = nodes[node.parent]
        alone = parent.record.want is Want.HOLD and node.record.want is Want.RUN
        held_idle = node.record.want is Want.HOLD and not active[place]
        over = node.state in ENDED and not active[place]
        sticky = node.record.status is Status.PAUSED
        if not (alone or held_idle or over or sticky):
            active[node.parent] = True
    return active


def _check_status(node: Node, *, busy: bool) -> None:
    status = node.record.status
    if status in _UNSETTLED and not busy:
        raise Broken(f"{node.record.id} is stuck {status}: nothing in it is active (S5)")
    if status is Status.PAUSED and node.record.want is not Want.HOLD:
        raise Broken(f"{node.record.id} is paused, and nobody holds it (S4)")


def _check_engine(node: Node) -> None:
    allowed = {
        Want.HOLD: {EngineState.PAUSED, EngineState.ABSENT},
        Want.RUN: {EngineState.RUNNING},
        Want.CANCEL: {EngineState.CANCELED},
    }[node.record.want]
    if node.state not in allowed | ENDED:
        raise Broken(f"{node.record.id} is to {node.record.want}, its engine says {node.state} (P2, R2, C3)")


def _check_below(parent: Node, node: Node) -> None:
    above, want = parent.record.want, node.record.want
    if above is Want.CANCEL and want is not Want.CANCEL:
        raise Broken(f"{node.record.id} lies under a canceled one and is to {want} (C3)")
