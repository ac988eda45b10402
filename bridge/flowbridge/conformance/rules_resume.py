"""R: resuming."""

from __future__ import annotations

from flowbridge.capabilities import Cascade, ResumeUp
from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked
from flowbridge.model import Status, TaskStatus


def test_R1_only_what_is_paused_can_be_resumed(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    before = lab.fingerprint(id)
    assert lab.refused(lambda: lab.resume(id), "R1").reason == "already"
    assert lab.fingerprint(id) == before
    lab.pause(id)
    assert "pausing" in lab.refused(lambda: lab.resume(id), "R1").message


def test_R1_not_while_an_ancestor_that_cascades_is_still_pausing(lab: Lab) -> None:
    if Cascade.PAUSE_DOWN not in lab.facts.cascades:
        not_asked("the engine does not cascade a pause, so it cannot pause the branch again")
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.gate(one, "c")
    lab.gate(two, "c")
    lab.pause(id)
    lab.release(one, "c")
    lab.reaches(one, Status.PAUSED)
    error = lab.refused(lambda: lab.resume(one), "R1")
    assert error.reason == "ancestor_pausing"
    assert id in error.message


def test_R2_every_held_descendant_resumes_with_its_root(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume(id)
    for child in (one, two):
        lab.release(child, "d")
        lab.reaches(child, Status.SUCCEEDED)
    lab.release(id, "next")
    lab.reaches(id, Status.SUCCEEDED)


def test_R3_a_resumed_child_leaves_its_parent_and_peers_paused(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume_alone(one)
    lab.release(one, "d")
    lab.reaches(one, Status.SUCCEEDED)
    assert lab.status(id) is lab.status(two) is Status.PAUSED
    assert lab.gate_now(id, "next") is None
    if not lab.harness.across:
        lab.until(lambda: _has_its_result(lab, id), "its result")
    lab.resume(id)
    lab.until(lambda: _has_its_result(lab, id), "its result")
    lab.release(two, "d")
    lab.reaches(two, Status.SUCCEEDED)
    lab.release_to_the_end(id, "next")


def _has_its_result(lab: Lab, id: str) -> bool:
    task = lab.task(id, "one")
    return task is not None and task.status is TaskStatus.SUCCEEDED and task.starts == 1


def test_R4_where_the_engine_would_resume_the_parent_too_it_is_refused(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one").id
    lab.pause_settled(id, child)
    if lab.facts.resume_up is ResumeUp.NEVER:
        lab.resume(child)
        lab.release(child, "d")
        lab.reaches(child, Status.SUCCEEDED)
        assert lab.status(id) is Status.PAUSED
        return
    before = lab.fingerprint(id)
    error = lab.refused(lambda: lab.resume(child), "R4")
    assert error.accept == "R4"
    assert "--accept R4" in error.message
    assert lab.fingerprint(id) == before


def test_R5_a_resumed_execution_goes_on_where_it_stopped(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN, n=7)
    lab.gate(id, "a")
    lab.pause(id)
    lab.release(id, "a")
    lab.reaches(id, Status.PAUSED)
    lab.resume(id)
    lab.release(id, "b")
    lab.release(id, "c")
    lab.reaches(id, Status.SUCCEEDED)
    assert lab.starts(id) == {"a": 1, "b": 1, "c": 1}
    assert [lab.result(id, task) for task in ("a", "b", "c")] == [{"of": task} for task in ("a", "b", "c")]
    assert dict(lab.bridge.read(id).input)["n"] == 7


def test_R5_a_task_that_still_runs_is_not_started_a_second_time(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume_alone(one)
    gate = lab.gate(one, "d")
    lab.resume(id)
    assert lab.gate(one, "d") == gate
    for child in (one, two):
        lab.release(child, "d")
        lab.reaches(child, Status.SUCCEEDED)
    lab.release(id, "next")
    lab.reaches(id, Status.SUCCEEDED)
    assert lab.starts(id) == {"one": 1, "two": 1, "next": 1}


def test_P8_a_pause_and_a_resume_twice_over_end_well(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    for task in ("a", "b"):
        lab.gate(id, task)
        lab.pause(id)
        lab.release(id, task)
        lab.reaches(id, Status.PAUSED)
        lab.resume(id)
    lab.release(id, "c")
    lab.reaches(id, Status.SUCCEEDED)
