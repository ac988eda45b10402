"""Larger trees than brute force can take: hypothesis chooses the tree and what happens, rule by rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.world import bridge_moves, calm, idle, new_world, passed
from support.world_engines import Left, Scene, Slot, World
from support.world_moves import engine_moves
from support.world_outside import outside_moves
from support.world_rules import settle_down

_VERB = re.compile(r"(pause|resume|cancel) \d+\Z|(re-run|skip) \d+ ")
PLENTY = Left(verbs=8, pauses=3, outside=3, crashes=4, delayed=3, fails=5, again=3)


#: What brings forth each kind of event.
MOVES = {
    "birth": engine_moves,
    "verb": bridge_moves,
    "bridge": bridge_moves,
    "engine": engine_moves,
    "outside": outside_moves,
}


@st.composite
def trees(draw: st.DrawFn) -> Scene:
    """Up to twelve executions, any links, either way of cascading; a few can be begun anew."""
    slots = [Slot(-1, draw(st.sampled_from(["plain", "eager"])))]
    for place in range(1, draw(st.integers(5, 12))):
        parent = draw(st.integers(0, place - 1))
        native = draw(st.booleans())
        engine = slots[parent].engine if native else draw(st.sampled_from(["plain", "eager"]))
        slots.append(Slot(parent, engine, native))
    for place in sorted(draw(st.sets(st.integers(1, len(slots) - 1), max_size=3))):
        slots.append(slots[place]._replace(instead=place))
    return Scene(tuple(slots), slow_down=draw(st.booleans()), items=draw(st.booleans()))


class Trees(RuleBasedStateMachine):
    """One tree, its engines, its bridge; after every step it must be able to come to rest with every rule kept."""

    scene: Scene
    world: World

    @initialize(scene=trees())
    def begin(self, scene: Scene) -> None:
        """The root runs."""
        self.scene, self.world = scene, new_world(scene, PLENTY)
        passed.cache_clear()

    def _take(self, kind: str, data: st.DataObject) -> None:
        found = [(label, world) for label, world in MOVES[kind](self.scene, self.world) if _kind(label) == kind]
        if found:
            label, self.world = data.draw(st.sampled_from(found), label="what")
            del label

    @rule(data=st.data())
    def born(self, data: st.DataObject) -> None:
        """A child is born."""
        self._take("birth", data)

    @rule(data=st.data())
    def verb(self, data: st.DataObject) -> None:
        """The user asks for something."""
        self._take("verb", data)

    @rule(data=st.data())
    def bridge(self, data: st.DataObject) -> None:
        """The bridge looks or sends, or dies."""
        self._take("bridge", data)

    @rule(data=st.data())
    def engine(self, data: st.DataObject) -> None:
        """Something ends, begins or arrives."""
        self._take("engine", data)

    @rule(data=st.data())
    def outside(self, data: st.DataObject) -> None:
        """Somebody else does something."""
        self._take("outside", data)

    @precondition(lambda self: self.world.steps or self.world.late)
    @rule()
    def settle(self) -> None:
        """Time passes."""
        for _ in range(500):
            after = calm(self.scene, self.world)
            if after is None:
                return
            self.world = after

    @rule()
    def end_a_leaf(self) -> None:
        """A task ends."""
        self.world = idle(self.world) or self.world

    @invariant()
    def comes_to_rest_with_every_rule_kept(self) -> None:
        """P, R, C and S at every rest that follows."""
        settle_down(self.scene, self.world, {})


def _kind(label: str) -> str:
    if label.endswith("is born"):
        return "birth"
    if _VERB.match(label):
        return "verb"
    if label.startswith(("send", "a pass", "the bridge")):
        return "bridge"
    if label.endswith(("outside", "itself")):
        return "outside"
    return "engine"


# Finding the smallest failing example takes longer than passing.
TestTrees = pytest.mark.timeout(400)(Trees.TestCase)
TestTrees.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
