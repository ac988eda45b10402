"""The toy world's engines: what they have, what they do by themselves, and what others do to them from outside.

A `World` is an immutable value. `owed` is the oracle: what each execution has been promised, worked out from the
events alone, without the law.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from flowbridge.law.decide import Action
from flowbridge.law.tables import ENDED
from flowbridge.model import EngineState, Status, Want, WithdrawnCall

_E = EngineState


class Slot(NamedTuple):
    """Where an execution may be born: under which one, on which engine, linked by the engine itself or not.

    `item`: it is that item of a with-items task of its parent, which has one such task at most. `instead`: it is born
    when the task of that slot is run again, in the place of it.
    """

    parent: int
    engine: str
    native: bool = True
    item: int | None = None
    instead: int = -1


class Scene(NamedTuple):
    """What stays the same in a world. `slow_down`: cascades downwards arrive late as well; `slow_start`: starts do.

    `items`: a canceled child ends its parent canceled at once, while its peers run on (a with-items task).
    """

    slots: tuple[Slot, ...]
    slow_down: bool = False
    items: bool = False
    slow_start: bool = False

    def below(self, slot: int) -> tuple[int, ...]:
        """The slot and all its descendants."""
        inside = {slot}
        for place, other in enumerate(self.slots):
            if other.parent in inside:
                inside.add(place)
        return tuple(sorted(inside))

    def task(self, slot: int) -> str:
        """The task of the parent that a slot belongs to."""
        here = self.slots[slot]
        if here.item is not None:
            return "items"
        return f"t{slot if here.instead < 0 else here.instead}"

    def of_task(self, parent: int, task: str) -> list[int]:
        """The slots of one task."""
        return [at for at, slot in enumerate(self.slots) if slot.parent == parent and self.task(at) == task]

    def tasks(self, parent: int) -> list[str]:
        """The tasks of an execution that have children, in their order."""
        return list(dict.fromkeys(self.task(at) for at, slot in enumerate(self.slots) if slot.parent == parent))

    def place_of(self, slot: int) -> tuple[str, int | None]:
        """The task and item of a slot: what takes its place has the same."""
        return self.task(slot), self.slots[slot].item


class Link(StrEnum):
    """The waiting action of a linked child at its parent's engine."""

    NONE = "none"
    WAITING = "waiting"
    REPORTED = "reported"


class Leaf(StrEnum):
    """How the leaf task of an execution last ended."""

    WELL = "well"
    BADLY = "badly"
    SKIPPED = "skipped"


class Exec(NamedTuple):
    """What the engine truly has. `busy`: a leaf action runs. `again`: how often it was begun anew.

    `skipped`: the parent's task of this child is. `waits`: how often a task waited for this child anew;
    `told`: how it had ended when that was last reported.
    """

    state: EngineState = _E.ABSENT
    busy: bool = False
    link: Link = Link.NONE
    leaf: Leaf = Leaf.WELL
    again: int = 0
    skipped: bool = False
    waits: int = 0
    told: EngineState = _E.ABSENT

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
    """What the ledger keeps of an execution, crash or not. `awaited`: the next waiting action of its task is for it;
    `bound`: the one that is (`Exec.waits`). `withdrawn`: what a cancel took back, and what may arrive; `made`: when its
    record was, in turns of `World.now`."""

    want: Want
    status: Status
    seen: EngineState
    resumed: Resumed = Resumed.NEVER
    awaited: bool = False
    bound: int = 0
    withdrawn: tuple[WithdrawnCall, ...] = ()
    made: float = 0.0


class Left(NamedTuple):
    """How many of each are still to come."""

    verbs: int = 2
    pauses: int = 0
    outside: int = 0
    crashes: int = 0
    delayed: int = 0
    fails: int = 0
    again: int = 0


class Once(NamedTuple):
    """One task of a re-run or a skip that is not seen yet: what the ledger keeps, crash or not, but for `sent`.

    `asked`: it was sent once, by whomever.
    `taken` is the oracle's: the engine has done it. `refused`: it said that it will not, and the user is told. `keeps`:
    it is not to begin anew what ended well.
    """

    action: Action
    slot: int
    task: str
    reset: bool
    mark: int
    sent: bool = False
    asked: bool = False
    taken: bool = False
    refused: bool = False
    keeps: bool = False

    @property
    def call(self) -> str:
        """The call that it is."""
        return f"{self.action} {self.task}{'' if self.reset else ' failed'}"


class World(NamedTuple):
    """One state. `late` is what engines accepted and have not done, in order; `steps` what the bridge will send;
    `again` what the re-run or skip that is open has re-opened."""

    execs: tuple[Exec, ...]
    kept: tuple[Kept | None, ...]
    owed: tuple[Want, ...]
    late: tuple[tuple[str, int], ...] = ()
    steps: tuple[tuple[Action, int], ...] = ()
    left: Left = Left()
    vague: bool = False  # a race that cannot be closed from outside: the promise is void, consistency is not
    once: tuple[Once, ...] = ()
    again: frozenset[int] = frozenset()

    @property
    def now(self) -> float:
        """A time that goes on with each re-run: a cancel is at it, a re-run behind it."""
        return 10.0 - self.left.again


class Broken(AssertionError):
    """An invariant does not hold."""


class Engines:
    """Both engines of one world, while something happens to them."""

    def __init__(self, scene: Scene, world: World) -> None:
        self.scene, self.before = scene, world
        self.execs, self.kept, self.late = list(world.execs), list(world.kept), list(world.late)
        self.owed, self.once, self.vague = list(world.owed), list(world.once), world.vague
        self.flipped: list[int] = []

    def world(self) -> World:
        """The world afterwards."""
        _, _, _, _, steps, left, _, _, again = self.before
        execs, kept, owed, late = tuple(self.execs), tuple(self.kept), tuple(self.owed), tuple(self.late)
        return World(execs, kept, owed, late, steps, left, self.vague, tuple(self.once), again)

    def put(self, slot: int, state: EngineState) -> None:
        """Change a state; every revision that anybody knew is now an old one."""
        self.execs[slot] = Exec(state, *self.execs[slot][1:])
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
        if what.startswith((Action.RERUN, Action.SKIP)):
            self.do_once(what, slot)
            return
        {
            "pause": self.pause,
            "pause up": self.pause_up,
            "resume": self.resume,
            "resume below": self.resume_below,
            "resume up": self.resume_up,
            "cancel": self.cancel,
            "start": self.start,
        }[what](slot)

    def start(self, slot: int) -> None:
        """A linked child is there; asked for twice, it is the same one."""
        if self.execs[slot].state is _E.ABSENT:
            self.execs[slot] = self.execs[slot]._replace(state=_E.REQUESTED, busy=True)

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

    def do_once(self, call: str, slot: int) -> None:
        """Run a task again, or skip it: one that is errored, whatever became of its execution, but for a paused one."""
        _, task, *failed = call.split()
        exec = self.execs[slot]
        if exec.state is _E.PAUSED or not is_errored(self.scene, self.execs, slot, task):
            return  # it says yes all the same
        if self._is_late(slot, task) and not self._has_room(slot, task):
            return  # it gets lost: this world could not show what it begins
        if not self._can_reopen(slot):
            self._note_once(call, slot, refused=True)
            return  # it says no, and the user is told
        if call.startswith(Action.SKIP):
            self._skip(slot, task)
        elif task == "leaf":
            self.execs[slot] = exec._replace(leaf=Leaf.WELL, busy=True, again=exec.again + 1)
        else:
            self._begin_anew(slot, task, call, only_failed=bool(failed))
        if not self._note_once(call, slot, taken=True) and not self._is_late(slot, task):
            # One that came twice, when the first was done and seen already, is beyond everybody's reach.
            self.vague, self.owed[slot] = True, Want.RUN
        self._reopen(slot, late=self._is_late(slot, task))

    def _is_late(self, slot: int, task: str) -> bool:
        """Whether a cancel took back a call of this task: what it begins is canceled, where nothing goes on there."""
        known = self.kept[slot]
        return known is not None and any(call.task == task and self._is_over(slot, call) for call in known.withdrawn)

    def _is_over(self, slot: int, call: WithdrawnCall) -> bool:
        """Whether all that the call re-opens, up to what was canceled, had ended when it was last seen, and was not run
        again since."""
        for way in self._ways(slot):
            known = self.kept[way]
            is_over = known is not None and known.seen in ENDED and known.made <= call.at
            if not is_over and (known is None or known.want is not Want.CANCEL):
                return False
            if str(way) == call.canceled.id:
                return True
        return True

    def _has_room(self, slot: int, task: str) -> bool:
        """Whether this world has a place for what is born when a task is run again."""
        born = newest(self.scene, self.execs, slot, task) if task != "leaf" else ()
        return all(replacement(self.scene, child) >= 0 for child in born)

    def _note_once(self, call: str, slot: int, **what: Any) -> bool:
        known = [(once.call, once.slot) == (call, slot) for once in self.once]
        self.once = [once._replace(**what) if it else once for once, it in zip(self.once, known, strict=True)]
        return any(known)

    def _can_reopen(self, slot: int) -> bool:
        """Not what has succeeded, nor what is inside of it."""
        return all(self.execs[way].state is not _E.SUCCEEDED for way in self._ways(slot))

    def _ways(self, slot: int) -> list[int]:
        """An execution, and those above it."""
        ways = [slot]
        while (above := self.scene.slots[ways[-1]].parent) >= 0:
            ways.append(above)
        return ways

    def _skip(self, slot: int, task: str) -> None:
        if task == "leaf":
            self.execs[slot] = self.execs[slot]._replace(leaf=Leaf.SKIPPED)
        for child in newest(self.scene, self.execs, slot, task):
            self.execs[child] = self.execs[child]._replace(skipped=True)

    def _begin_anew(self, slot: int, task: str, call: str, *, only_failed: bool) -> None:
        children = newest(self.scene, self.execs, slot, task)
        if only_failed and self.scene.slots[slot].engine == "eager" and self.execs[children[-1]].state is _E.SUCCEEDED:
            raise Broken(f"{task} of {slot} is re-run partially where the engine would run good items again (X6, O8)")
        keeps = any(once.keeps for once in self.once if (once.call, once.slot) == (call, slot))
        for child in children:
            exec, known = self.execs[child], self.kept[child]
            is_good = ended_as(self.scene.slots[child], exec) is _E.SUCCEEDED
            if only_failed and is_good:
                continue
            if known is not None and known.awaited and exec.waits == known.bound:
                self.execs[child] = exec._replace(link=Link.WAITING, waits=exec.waits + 1)
                continue
            if keeps and is_good:
                raise Broken(f"{child} ended well, and is begun anew (X6, X7)")
            new = replacement(self.scene, child) if exec.born else child
            if new < 0:
                continue  # it came twice, and this world has no more room
            native = self.scene.slots[new].native
            self.execs[new] = Exec(_E.REQUESTED, busy=True) if native else Exec(link=Link.WAITING)
            self.owed[new] = self.owed[slot]

    def _reopen(self, slot: int, *, late: bool) -> None:
        """RUNNING again, and on the eager engine all that is above."""
        while True:
            state, here = self.execs[slot].state, self.scene.slots[slot]
            if late and self.owed[slot] is Want.CANCEL:
                pass  # it is canceled once more
            elif state is _E.ERRORED and self.owed[slot] is Want.HOLD and self._lies_under_a_hold(slot):
                pass  # it is held with what is above it
            elif state in (_E.PAUSED, _E.CANCELED) or (state is _E.ERRORED and self.owed[slot] is not Want.RUN):
                self.vague = True  # another verb came, or it was paused outside, with the call under way
                self.owed[slot] = Want.RUN
            if state is not _E.RUNNING:
                self.put(slot, _E.RUNNING)
            if here.parent < 0:
                return
            if not here.native and late:
                return  # the call that would have made its task wait is another one, and may come later, or never
            if not here.native and (self.vague or self._waits_again(slot)):
                # The call that makes its task wait for it again re-opens what is above, unless another verb came.
                if any(self.execs[above].state in (_E.PAUSED, _E.CANCELED) for above in self._ways(slot)[1:]):
                    self.vague, self.owed[slot] = True, Want.RUN
                return
            if not (here.native and here.engine == "eager"):
                raise Broken(f"{slot} is re-opened, and nothing re-opens {here.parent} above it (X7)")
            slot = here.parent

    def _lies_under_a_hold(self, slot: int) -> bool:
        """Whether what hosts the native tree of an execution is held."""
        ways = iter(self._ways(slot))
        above = next((self.scene.slots[way].parent for way in ways if not self.scene.slots[way].native), -1)
        known = self.kept[above] if above >= 0 else None
        return known is not None and known.want is Want.HOLD

    def _waits_again(self, slot: int) -> bool:
        """Whether the task above a linked child waits for it, or is about to."""
        task = self.scene.slots[slot].parent, self.scene.task(slot)
        return self.execs[slot].link is Link.WAITING or any((once.slot, once.task) == task for once in self.once)

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


def ended_as(slot: Slot, exec: Exec) -> EngineState:
    """How a child has ended for the engine of its parent, which of one elsewhere knows what it was told."""
    return exec.state if slot.native else exec.told


def newest(scene: Scene, execs: Sequence[Exec], parent: int, task: str) -> list[int]:
    """Of each item of a task the child that counts: what was born last, or what may be born."""
    found: dict[int | None, int] = {}
    for slot in scene.of_task(parent, task):
        here = scene.slots[slot]
        if here.instead < 0 or execs[slot].born:
            found[here.item] = slot
    return list(found.values())


def replacement(scene: Scene, slot: int) -> int:
    """The slot that is born when the task of this one is run again; -1 where the scene has none."""
    return next((at for at, other in enumerate(scene.slots) if other.instead == slot), -1)


def is_errored(scene: Scene, execs: Sequence[Exec], slot: int, task: str) -> bool:
    """Whether a task has ended badly, by its engine's own word."""
    if task == "leaf":
        return execs[slot].leaf is Leaf.BADLY and not execs[slot].busy
    children = newest(scene, execs, slot, task)
    going = any(execs[child].born and not done(scene.slots[child], execs[child]) for child in children)
    ends = {child: ended_as(scene.slots[child], execs[child]) for child in children}
    bad = any(end is _E.ERRORED and not execs[child].skipped for child, end in ends.items())
    return bad and not going and _E.CANCELED not in ends.values()


def done(slot: Slot, exec: Exec) -> bool:
    return exec.state in ENDED if slot.native else exec.link is Link.REPORTED


def with_exec(world: World, slot: int, exec: Exec) -> World:
    return World((*world.execs[:slot], exec, *world.execs[slot + 1 :]), *world[1:])


def put_state(scene: Scene, world: World, slot: int, state: EngineState) -> World:
    engines = Engines(scene, world)
    engines.put(slot, state)
    return engines.world()


def resume_under_way(world: World) -> bool:
    return any("resume" in what for what, _ in world.late) or any(step[0] is Action.RESUME for step in world.steps)


def all_held(owed: tuple[Want, ...]) -> tuple[Want, ...]:
    return tuple(Want.HOLD if want is Want.RUN else want for want in owed)


def owed_below(scene: Scene, world: World, slot: int, want: Want) -> tuple[Want, ...]:
    below = scene.below(slot)
    return tuple(want if place in below and old is not Want.CANCEL else old for place, old in enumerate(world.owed))
