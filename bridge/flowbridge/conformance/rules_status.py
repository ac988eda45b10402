"""S: what a status means, and what it settles to."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

import pytest

from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked
from flowbridge.errors import NotFound
from flowbridge.model import EngineState, Ref, Status, TaskRerun, TaskStatus


def test_S1_each_end_has_a_word_of_its_own(lab: Lab) -> None:
    id = lab.start(shapes.HANDLED)
    child = lab.child(id, "one").id
    lab.release(child, "c", ok=False)
    lab.reaches(child, Status.ERRORED)
    lab.reaches(id, Status.SUCCEEDED)
    words = {task.name: task.status for node in lab.look(id).snapshot.nodes for task in node.tasks}
    assert words == {"one": TaskStatus.ERRORED, "rescue": TaskStatus.SUCCEEDED, "c": TaskStatus.ERRORED}


def test_S2_an_execution_is_pausing_while_an_action_runs(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    assert lab.pause(id).status is Status.PAUSING
    assert lab.status(id) is Status.PAUSING
    lab.release(id, "a")
    lab.reaches(id, Status.PAUSED)


def test_S3_the_engines_own_word_stands_beside_the_status(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    look = lab.look(id)
    assert look.record.status is Status.PAUSING
    assert look.snapshot.nodes[look.place].state is EngineState.PAUSED
    assert look.record.raw


def test_S4_a_branch_that_was_resumed_alone_changes_nothing_above_it(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume_alone(one)
    lab.gate(one, "d")
    assert (lab.status(id), lab.status(one), lab.status(two)) == (Status.PAUSED, Status.RUNNING, Status.PAUSED)
    assert lab.state(id) is EngineState.PAUSED


def test_S5_a_tree_of_three_levels_settles_at_every_level(lab: Lab) -> None:
    id = lab.start(shapes.NESTED)
    low, mid = lab.child(id, "left", "inner"), lab.child(id, "left")
    lab.gate(low.id, "deep")
    lab.gate(mid.id, "peer")
    lab.gate(id, "right")
    lab.pause(id)
    lab.release(low.id, "deep")
    lab.release(mid.id, "peer")
    assert lab.status(id) is Status.PAUSING
    lab.release(id, "right")
    for one in (id, mid.id, low.id):
        lab.reaches(one, Status.PAUSED)


def test_S7_what_the_engine_does_not_have_is_left_out_of_a_look(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    here, gone = lab.ref(id).id, str(uuid.uuid4())
    assert set(lab.harness.backend.observe([here, gone])) == {here}
    with pytest.raises(NotFound):
        lab.bridge.adopt(Ref(lab.harness.instance, gone))


@pytest.mark.parametrize("call", ["pause", "resume", "cancel", "re-run", "skip", "read"])
def test_S7_a_call_for_what_the_engine_does_not_have_says_so(lab: Lab, call: str) -> None:
    if call != "read" and call not in lab.facts.verbs:
        not_asked(f"the engine has no {call}")
    backend, gone = lab.harness.backend, str(uuid.uuid4())
    calls: Mapping[str, Callable[[], object]] = {
        "pause": lambda: backend.pause(gone),
        "resume": lambda: backend.resume(gone, ""),
        "cancel": lambda: backend.cancel(gone),
        "re-run": lambda: backend.rerun(gone, [TaskRerun("none")]),
        "skip": lambda: backend.skip(gone, ["none"]),
        "read": lambda: backend.read(gone),
    }
    with pytest.raises(NotFound):
        calls[call]()
