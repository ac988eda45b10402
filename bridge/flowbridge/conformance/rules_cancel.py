"""C: canceling."""

from __future__ import annotations

from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab
from flowbridge.model import Status, TaskStatus


def test_C1_what_has_ended_cannot_be_canceled(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    before = lab.fingerprint(id)
    assert "errored" in lab.refused(lambda: lab.cancel(id), "C1").message
    assert lab.fingerprint(id) == before


def test_C1_what_is_paused_can_be_canceled(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    lab.release(id, "a")
    lab.reaches(id, Status.PAUSED)
    assert lab.cancel(id).done
    lab.reaches(id, Status.CANCELED)
    assert lab.refused(lambda: lab.cancel(id), "C1").reason == "already"


def test_C1_canceling_what_has_ended_is_no_error_of_the_engines(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    lab.harness.backend.cancel(lab.ref(id).id)
    assert lab.status(id) is Status.ERRORED


def test_C2_a_running_leaf_ends_and_its_result_is_recorded_and_nothing_new_starts(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    outcome = lab.cancel(id)
    assert outcome.status is Status.CANCELING
    assert outcome.running
    lab.release(id, "a")
    lab.reaches(id, Status.CANCELED)
    read = lab.bridge.read(id)
    ended = [(task.name, task.status, task.result) for task in read.tasks]
    assert ended == [("a", TaskStatus.SUCCEEDED, {"of": "a"})]
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate_now(id, "b") is None


def test_C3_canceling_reaches_every_level(lab: Lab) -> None:
    id = lab.start(shapes.NESTED)
    low, mid = lab.child(id, "left", "inner"), lab.child(id, "left")
    lab.gate(low.id, "deep")
    lab.cancel(id)
    assert all(lab.status(one) in (Status.CANCELING, Status.CANCELED) for one in (id, mid.id, low.id))
    lab.release(low.id, "deep")
    lab.release(mid.id, "peer")
    lab.release(id, "right")
    for one in (id, mid.id, low.id):
        lab.reaches(one, Status.CANCELED)


def test_C4_it_is_canceling_until_no_task_is_active(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    lab.gate(id, "a")
    lab.gate(id, "b")
    lab.cancel(id)
    lab.release(id, "a")
    assert lab.status(id) is Status.CANCELING
    lab.release(id, "b")
    lab.reaches(id, Status.CANCELED)


def test_C5_a_canceled_child_ends_its_parent_only_after_the_other_branches(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.gate(one, "c")
    lab.gate(two, "c")
    lab.cancel(one)
    lab.release(one, "c")
    lab.reaches(one, Status.CANCELED)
    assert lab.status(id) is Status.RUNNING
    lab.release(two, "c")
    lab.release(two, "d")
    lab.reaches(two, Status.SUCCEEDED)
    lab.reaches(id, Status.CANCELED)
    assert lab.task(id, "next") is None
    task = lab.task(id, "one")
    assert task is not None
    assert task.status is TaskStatus.CANCELED


def test_C5_under_a_held_parent_it_waits_for_the_resume(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.gate(one, "c")
    lab.gate(two, "c")
    lab.pause(id)
    lab.release(one, "c")
    lab.release(two, "c")
    lab.reaches(id, Status.PAUSED)
    lab.cancel(one)
    lab.reaches(one, Status.CANCELED)
    assert lab.status(id) is Status.PAUSED
    lab.resume(id)
    lab.release(two, "d")
    lab.reaches(id, Status.CANCELED)


def test_P6_a_child_born_under_a_canceled_execution_is_canceled(lab: Lab) -> None:
    id = lab.start(shapes.LATE)
    lab.gate(id, "a")
    lab.gate(id, "b")
    lab.cancel(id)
    lab.release(id, "a")
    lab.release(id, "b")
    lab.reaches(id, Status.CANCELED)
    assert all(record.status is Status.CANCELED for record in lab.children(id).values())


def test_C1_a_cancel_right_after_the_start_ends_canceled(lab: Lab) -> None:
    record = lab.begin(shapes.DELAYED)
    lab.cancel(record.id)
    if lab.status(record.id) is Status.CANCELING:
        lab.release(record.id, "a")
    lab.reaches(record.id, Status.CANCELED)
