"""The toy world's engines: what they have, what they do by themselves, and what others do to them from outside.

A `World` is an immutable value. `owed` is the oracle: what each execution has been promised, worked out from the
events alone, without the law.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from flowbridge.law.decide import Action
from flowbridge.law.tables import ENDED
from flowbridge.model import EngineState, Status, Want

_E = EngineState


class Slot(NamedTuple):
    """Where an execution may be born: under which one, on which engine, linked by the engine itself or not."""

    parent: int
    engine: str
    native: bool = True


class Scene(NamedTuple):
    """What stays the same in a world. `slow_down`: cascades downwards arrive late as well.

    `items`: a canceled child ends its parent canceled at once, while its peers run on (a with-items task).
    """

    slots: tuple[Slot, ...]
    slow_down: bool = False
    items: bool = False

    def below(self, slot: int) -> tuple[int, ...]:
        """The slot and all its descendants."""
        found = [slot]
        found += [place for place, other in enumerate(self.slots) if other.parent in found]
        inside = {slot}
        for place, other in enumerate(self.slots):
            if other.parent in inside:
                inside.add(place)
        return tuple(sorted(inside))


class Link(StrEnum):
    """The waiting action of a linked child at its parent's engine."""

    NONE = "none"
    WAITING = "waiting"
    REPORTED = "reported"


class Exec(NamedTuple):
    """What the engine truly has. `busy`: a leaf action runs."""

    state: EngineState = _E.ABSENT
    busy: bool = False
    link: Link = Link.NONE

    @property
    def born(self) -> bool:
        """Whether the bridge can find it."""
        return self.state is not _E.ABSENT or self.link is not Link.NONE


class Resumed(StrEnum):
    """Whether the revision at which a resume was recorded is still the engine's."""

    NEVER = "never"
    NOW = "now"
    BEFORE = "before"


class Kept(NamedTuple):
    """What the ledger keeps of an execution, crash or not."""

    want: Want
    status: Status
    seen: EngineState
    resumed: Resumed = Resumed.NEVER


class Left(NamedTuple):
    """How many of each are still to come."""

    verbs: int = 2
    pauses: int = 0
    outside: int = 0
    crashes: int = 0
    delayed: int = 0


class World(NamedTuple):
    """One state. `late` is what engines accepted and have not done, in order; `steps` what the bridge will send."""

    execs: tuple[Exec, ...]
    kept: tuple[Kept | None, ...]
    owed: tuple[Want, ...]
    late: tuple[tuple[str, int], ...] = ()
    steps: tuple[tuple[Action, int], ...] = ()
    left: Left = Left()
    vague: bool = False  # a race that cannot be closed from outside: the promise is void, consistency is not


class Broken(AssertionError):
    """An invariant does not hold."""


class Engines:
    """Both engines of one world, while something happens to them."""

    def __init__(self, scene: Scene, world: World) -> None:
        self.scene, self.before = scene, world
        self.execs, self.kept, self.late = list(world.execs), list(world.kept), list(world.late)
        self.flipped: list[int] = []

    def world(self) -> World:
        """The world afterwards."""
        return self.before._replace(execs=tuple(self.execs), kept=tuple(self.kept), late=tuple(self.late))

    def put(self, slot: int, state: EngineState) -> None:
        """Change a state; every revision that anybody knew is now an old one."""
        self.execs[slot] = self.execs[slot]._replace(state=state)
        known = self.kept[slot]
        if known is not None and known.resumed is Resumed.NOW:
            self.kept[slot] = known._replace(resumed=Resumed.BEFORE)

    def accept(self, what: str, slot: int) -> None:
        """Take a request; it has its effect at a later event."""
        last = next((request for request in reversed(self.late) if request[1] == slot), None)
        if last != (what, slot):
            self.late.append((what, slot))

    def deliver(self, what: str, slot: int) -> None:
        """A late request has its effect."""
        {
            "pause": self.pause,
            "pause up": self.pause_up,
            "resume": self.resume,
            "resume below": self.resume_below,
            "resume up": self.resume_up,
            "cancel": self.cancel,
        }[what](slot)

    def pause(self, slot: int) -> None:
        """PAUSED at once, whatever runs; the eager engine pauses below and, later, above."""
        state = self.execs[slot].state
        if state in (_E.ABSENT, _E.REQUESTED) or state in ENDED:
            return
        if state is _E.RUNNING:
            self.put(slot, _E.PAUSED)
            self._up("pause up", slot)
        self._down("pause", slot)

    def pause_up(self, slot: int) -> None:
        """A child says that it was paused."""
        if self.execs[slot].state is _E.RUNNING:
            self.pause(slot)

    def resume(self, slot: int) -> None:
        """RUNNING again; the eager engine resumes below, and above where nothing else is paused."""
        if self.execs[slot].state is _E.PAUSED:
            self.resume_below(slot)
            self._up("resume up", slot)

    def resume_below(self, slot: int) -> None:
        """The parent was resumed, and its engine resumes what is below."""
        if self.execs[slot].state is _E.PAUSED:
            self.put(slot, _E.RUNNING)
            self.flipped.append(slot)
            self._down("resume below", slot)

    def resume_up(self, slot: int) -> None:
        """A child says that it was resumed."""
        alone = all(self.execs[child].state is not _E.PAUSED for child in self._native(slot))
        if alone and self.execs[slot].state is _E.PAUSED:
            self.put(slot, _E.RUNNING)
            self.flipped.append(slot)
            self._up("resume up", slot)

    def cancel(self, slot: int) -> None:
        """CANCELED at once, whatever runs; an ended one still cancels below."""
        state = self.execs[slot].state
        if state is _E.ABSENT:
            return
        if state not in ENDED:
            self.put(slot, _E.CANCELED)
        self._down("cancel", slot)

    def _native(self, slot: int) -> list[int]:
        slots = self.scene.slots
        return [child for child, other in enumerate(slots) if other.parent == slot and other.native]

    def _down(self, what: str, slot: int) -> None:
        if self.scene.slots[slot].engine != "eager":
            return
        for child in self._native(slot):
            if self.execs[child].born and self.scene.slow_down:
                self.accept(what, child)
            elif self.execs[child].born:
                self.deliver(what, child)

    def _up(self, what: str, slot: int) -> None:
        here = self.scene.slots[slot]
        if here.engine == "eager" and here.native and here.parent >= 0:
            self.accept(what, here.parent)


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
        if exec.state is _E.REQUESTED:
            yield f"{slot} begins", put_state(scene, world, slot, _E.RUNNING)
        if exec.state is _E.RUNNING and not exec.busy:
            yield from _ends(scene, world, slot)
        if scene.items and exec.state is _E.RUNNING and _child_canceled(scene, world, slot):
            yield f"{slot} ends with its canceled item (C5)", _end_canceled(scene, world, slot)
        if world.left.delayed and not exec.busy and exec.state in (_E.PAUSED, _E.CANCELED):
            left = world.left._replace(delayed=world.left.delayed - 1)
            yield (
                f"delayed task of {slot} starts",
                with_exec(world, slot, exec._replace(busy=True))._replace(left=left),
            )
        if not exec.born:
            yield from _births(scene, world, slot)


def _births(scene: Scene, world: World, slot: int) -> Iterator[tuple[str, World]]:
    here = scene.slots[slot]
    parent = world.execs[here.parent]
    eager = scene.slots[here.parent].engine == "eager"
    if parent.state is not _E.RUNNING and not (eager and parent.state in (_E.PAUSED, _E.CANCELED)):
        return
    exec = Exec(_E.RUNNING, busy=True) if here.native else Exec(link=Link.WAITING)
    owed = (*world.owed[:slot], world.owed[here.parent], *world.owed[slot + 1 :])
    yield f"{slot} is born", with_exec(world, slot, exec)._replace(owed=owed)


def _ends(scene: Scene, world: World, slot: int) -> Iterator[tuple[str, World]]:
    for child, other in enumerate(scene.slots):
        if other.parent == slot and world.execs[child].born and not _done(other, world.execs[child]):
            return
    if _child_canceled(scene, world, slot):
        yield f"{slot} ends canceled (C5)", _end_canceled(scene, world, slot)
    else:
        yield f"{slot} ends", put_state(scene, world, slot, _E.SUCCEEDED)


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


def _done(slot: Slot, exec: Exec) -> bool:
    return exec.state in ENDED if slot.native else exec.link is Link.REPORTED


def _child_canceled(scene: Scene, world: World, slot: int) -> bool:
    return any(
        other.parent == slot and world.execs[child].state is _E.CANCELED and _done(other, world.execs[child])
        for child, other in enumerate(scene.slots)
    )


def with_exec(world: World, slot: int, exec: Exec) -> World:
    return world._replace(execs=(*world.execs[:slot], exec, *world.execs[slot + 1 :]))


def put_state(scene: Scene, world: World, slot: int, state: EngineState) -> World:
    engines = Engines(scene, world)
    engines.put(slot, state)
    return engines.world()


# --- what nobody asked the bridge for --------------------------------------------------------------------------------


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


def resume_under_way(world: World) -> bool:
    return any("resume" in what for what, _ in world.late) or any(step[0] is Action.RESUME for step in world.steps)


def all_held(owed: tuple[Want, ...]) -> tuple[Want, ...]:
    return tuple(Want.HOLD if want is Want.RUN else want for want in owed)


def owed_below(scene: Scene, world: World, slot: int, want: Want) -> tuple[Want, ...]:
    below = scene.below(slot)
    return tuple(want if place in below and old is not Want.CANCEL else old for place, old in enumerate(world.owed))
