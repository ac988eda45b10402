"""Every interleaving of small trees on mixed engines: verbs, re-runs, births, endings, late answers, crashes.

A few bounds by default, in under a minute. `FLOWBRIDGE_BRUTE=full` takes every mix of engines and links, trees of up to
four executions and larger bounds: some minutes on one core, for a change of the law itself.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from flowbridge.law.decide import Action
from flowbridge.model import EngineState, Status, Want
from support.world import calm, new_world, passed
from support.world_engines import Broken, Exec, Kept, Left, Link, Resumed, Scene, Slot, World
from support.world_rules import check_quiet, explore

FULL = os.environ.get("FLOWBRIDGE_BRUTE") == "full"

SHAPES: dict[int, list[tuple[int, ...]]] = {
    2: [(-1, 0)],
    3: [(-1, 0, 0), (-1, 0, 1)],
    4: [(-1, 0, 0, 0), (-1, 0, 0, 1), (-1, 0, 1, 1), (-1, 0, 1, 2)],
}
OTHER = {"plain": "eager", "eager": "plain"}
LINKS = ("native", "other", "same") if FULL else ("native", "other")


def scenes(count: int) -> Iterator[tuple[Slot, ...]]:
    """Every tree of so many executions, on every mix of engines and links."""
    for shape, root in itertools.product(SHAPES[count], ("plain", "eager")):
        for links in itertools.product(LINKS, repeat=count - 1):
            slots = [Slot(-1, root)]
            for parent, link in zip(shape[1:], links, strict=True):
                engine = slots[parent].engine
                slots.append(Slot(parent, OTHER[engine] if link == "other" else engine, link == "native"))
            yield tuple(slots)


def _cases() -> Iterator[tuple[Scene, Left]]:
    for slots in scenes(2):
        yield Scene(slots), Left(2, 1, 1, 1) if FULL else Left(2, 1, 0, 1)
        yield Scene(slots, items=True), Left(1, 1, 1, 1, 1) if FULL else Left(1, 0, 1, 1, 1)
    for slots in scenes(3):
        yield Scene(slots), Left(1)
        if FULL:
            yield Scene(slots, slow_down=True, items=True), Left(1, 0, 1)
    if FULL:
        for slots in scenes(4):
            if all(slot.native for slot in slots):
                yield Scene(slots), Left(1)


def _some() -> Iterator[tuple[Scene, Left]]:
    """What is dear and most likely to break: three and four executions where the eager engine cascades."""
    eager, linked = Slot(0, "eager"), Slot(0, "plain", native=False)
    if not FULL:
        yield Scene((Slot(-1, "eager"), eager)), Left(2, 1, 1, 1)
    yield Scene((Slot(-1, "eager"), eager, eager)), Left(1, 1)
    yield Scene((Slot(-1, "eager"), eager, linked), slow_down=True), Left(1, 0, 1)
    for root in ("plain", "eager"):
        far = Slot(0, OTHER[root], native=False)
        yield Scene((Slot(-1, root), far), slow_start=True), Left(2, 1, 1, 1) if FULL else Left(1, 1, 0, 1)
        if FULL:
            yield Scene((Slot(-1, root), far, Slot(1, root, native=False)), slow_start=True), Left(1, 0, 0, 1)
    yield Scene((Slot(-1, "eager"), eager, Slot(1, "eager")), slow_down=True, items=True), Left(1, 0, 0, 1)
    if not FULL:
        yield Scene((Slot(-1, "eager"), eager, Slot(1, "eager"), Slot(2, "eager"))), Left(1)


def _again() -> Iterator[tuple[Scene, Left]]:
    """Re-runs and skips, of leaves, of children that are born anew, of items, through names of any depth."""
    for engine in ("plain", "eager"):
        root, other = Slot(-1, engine), Slot(0, OTHER[engine], native=False)
        child = Slot(0, engine)
        items = (
            root,
            *(child._replace(item=item, instead=instead) for instead, item in ((-1, 0), (-1, 1), (1, 0), (2, 1))),
        )
        yield Scene((root,)), Left(1, 1, 1, 1, 0, 2, 2)
        yield Scene((root, child, child._replace(instead=1))), Left(1, 0, 0, 1, 0, 2, 2 if FULL else 1)
        yield Scene((root, other, other._replace(instead=1))), Left(1, 0, 0, 1, 0, 2, 2 if FULL else 1)
        yield Scene(items), Left(0, 0, 0, 1, 0, 3 if FULL else 2, 1)
        yield Scene((root, child, Slot(1, engine))), Left(0, 0, 0, 1, 0, 2, 1)
        yield from _across(engine)


def _across(engine: str) -> Iterator[tuple[Scene, Left]]:
    """Re-runs whose way up crosses engines (X7): through items beside one another, and over two links or one on a way
    of three executions. Where both ends of the way are tried, a cancel may come in between."""
    root, other = Slot(-1, engine), OTHER[engine]
    linked = Slot(0, other, native=False)
    left = Left(1, 0, 0, 1, 0, 2, 1) if FULL else Left(0, 0, 0, 1, 0, 2, 1)
    items = (root, linked._replace(item=0), linked._replace(item=1), linked._replace(item=0, instead=1))
    yield Scene(items), Left(0, 0, 0, 1, 0, 3 if FULL else 2, 1)
    yield Scene((root, linked, Slot(1, other))), left
    yield Scene((root, Slot(0, engine), Slot(1, other, native=False))), left
    yield Scene((root, linked, Slot(1, engine, native=False))), left


def _name(case: tuple[Scene, Left]) -> str:
    scene, left = case
    slots = "-".join(_slot_name(slot) for slot in scene.slots)
    flags = f"{'S' if scene.slow_down else ''}{'I' if scene.items else ''}{'L' if scene.slow_start else ''}"
    return f"{slots}{flags}-{''.join(map(str, left))}"


def _slot_name(slot: Slot) -> str:
    parent = "" if slot.parent < 0 else str(slot.parent)
    item = "" if slot.item is None else f"[{slot.item}]"
    instead = "" if slot.instead < 0 else f"!{slot.instead}"
    return f"{parent}{slot.engine}{'' if slot.native else '*'}{item}{instead}"


CASES = [*_cases(), *_some(), *_again()]


@pytest.mark.timeout(0 if FULL else 400)
@pytest.mark.parametrize(("scene", "left"), CASES, ids=[_name(case) for case in CASES])
def test_P_R_C_S_X_K_hold_in_every_interleaving(scene: Scene, left: Left) -> None:
    found = explore(scene, left)
    passed.cache_clear()
    assert found.quiet > 10


def test_a_broken_promise_is_found() -> None:
    """The search itself can fail: a world in which a held child runs is reported."""
    scene = Scene((Slot(-1, "plain"), Slot(0, "plain")))
    kept = (
        Kept(Want.HOLD, Status.PAUSED, EngineState.PAUSED),
        Kept(Want.RUN, Status.RUNNING, EngineState.RUNNING),
    )
    execs = (Exec(EngineState.PAUSED), Exec(EngineState.RUNNING, busy=True))
    with pytest.raises(Broken, match="1 is to run, it was promised to hold"):
        check_quiet(scene, World(execs, kept, (Want.HOLD, Want.HOLD)))


def _rest(scene: Scene, world: World) -> World:
    while (after := calm(scene, world)) is not None:
        world = after
    check_quiet(scene, world)
    return world


def _all_held(world: World) -> bool:
    return all(
        kept is None or (kept.want is Want.HOLD and exec.state in (EngineState.PAUSED, EngineState.ABSENT))
        for exec, kept in zip(world.execs, world.kept, strict=True)
    )


PAIR = Scene((Slot(-1, "eager"), Slot(0, "eager")))


def test_P7_a_pause_seen_between_our_resume_and_its_late_effect_ends_held() -> None:
    """The first race that cannot be closed: the root's resume is under way, a branch resumed alone pauses itself."""
    world = World(
        execs=(Exec(EngineState.PAUSED), Exec(EngineState.PAUSED)),
        kept=(
            Kept(Want.RUN, Status.RESUMING, EngineState.PAUSED, Resumed.NOW),
            Kept(Want.RUN, Status.RUNNING, EngineState.RUNNING),
        ),
        owed=(Want.HOLD, Want.HOLD),
        late=(("resume", 0),),
    )
    found = passed(PAIR, world.execs, world.kept)
    assert _all_held(_rest(PAIR, world._replace(kept=found.kept, steps=found.steps)))


def test_P7_an_upward_notification_that_arrives_after_the_resume_ends_held() -> None:
    """The second race that cannot be closed: the pause of a child reaches its parent when both were resumed."""
    world = World(
        execs=(Exec(EngineState.RUNNING), Exec(EngineState.RUNNING)),
        kept=(Kept(Want.RUN, Status.RUNNING, EngineState.RUNNING),) * 2,
        owed=(Want.RUN, Want.RUN),
        late=(("pause up", 0),),
        vague=True,
    )
    assert _all_held(_rest(PAIR, world))


def test_O3_a_bridge_that_dies_after_a_start_finds_the_child_and_does_not_start_it_twice() -> None:
    scene = Scene((Slot(-1, "plain"), Slot(0, "plain", native=False)))
    world = new_world(scene, Left())._replace(
        execs=(Exec(EngineState.RUNNING), Exec(EngineState.REQUESTED, busy=True, link=Link.WAITING)),
        kept=(
            Kept(Want.RUN, Status.RUNNING, EngineState.RUNNING),
            Kept(Want.RUN, Status.REQUESTED, EngineState.ABSENT),
        ),
    )
    found = passed(scene, world.execs, world.kept)
    assert Action.START not in {action for action, _ in found.steps}
    assert found.kept[1] == Kept(Want.RUN, Status.REQUESTED, EngineState.REQUESTED)
