"""P: pausing."""

from __future__ import annotations

from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab
from flowbridge.model import EngineState, Status, TaskStatus
from flowbridge.treeviews import tree_view


def test_P1_what_is_paused_or_ended_is_rejected_with_its_status(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    lab.gate(child.id, "c")
    lab.pause(id)
    before = lab.fingerprint(id)
    assert lab.refused(lambda: lab.pause(id), "P1").reason == "already"
    assert lab.fingerprint(id) == before
    lab.cancel(id)
    lab.release(child.id, "c")
    lab.reaches(id, Status.CANCELED)
    assert "canceled" in lab.refused(lambda: lab.pause(id), "P1").message


def test_P1_a_paused_tree_with_a_branch_resumed_alone_names_that_branch(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume_alone(one)
    error = lab.refused(lambda: lab.pause(id), "P1")
    assert one in error.message


def test_P2_pausing_a_root_pauses_every_descendant(lab: Lab) -> None:
    id = lab.start(shapes.NESTED)
    low = lab.child(id, "left", "inner")
    lab.gate(low.id, "deep")
    outcome = lab.pause(id)
    assert outcome.done, outcome.not_done
    assert {line.record for line in outcome.plan.lines if line.by} == {id, *lab.children(id)}
    assert all(
        node.record.status is Status.PAUSING or node.record.status is Status.PAUSED
        for node in lab.look(id).snapshot.nodes
    )


def test_P3_pausing_a_child_pauses_its_parent_and_peers(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one"), lab.child(id, "two")
    lab.gate(one.id, "c")
    lab.gate(two.id, "c")
    outcome = lab.pause(one.id)
    assert outcome.done, outcome.not_done
    lab.release(one.id, "c")
    lab.release(two.id, "c")
    for record in (id, one.id, two.id):
        lab.reaches(record, Status.PAUSED)


def test_P3_pausing_goes_up_over_three_levels(lab: Lab) -> None:
    id = lab.start(shapes.NESTED)
    low, mid = lab.child(id, "left", "inner"), lab.child(id, "left")
    lab.gate(low.id, "deep")
    lab.pause(low.id)
    assert {lab.status(id), lab.status(mid.id), lab.status(low.id)} <= {Status.PAUSING, Status.PAUSED}


def test_P3_pausing_takes_in_a_branch_that_had_been_resumed_alone(lab: Lab) -> None:
    id = lab.start(shapes.TWINS)
    one, two = lab.child(id, "one").id, lab.child(id, "two").id
    lab.pause_settled(id, one, two)
    lab.resume_alone(one)
    lab.gate(one, "d")
    lab.pause(one)
    assert lab.status(one) is Status.PAUSING
    lab.release(one, "d")
    lab.reaches(one, Status.PAUSED)
    assert lab.status(id) is Status.PAUSED


def test_P4_the_task_of_a_pausing_child_is_pausing_too(lab: Lab) -> None:
    id = lab.start(shapes.ONLY)
    child = lab.child(id, "one")
    lab.gate(child.id, "c")
    lab.pause(id)
    tasks = tree_view(lab.look(id).snapshot)["tasks"]
    assert [task["status"] for task in tasks] == ["pausing"]


def test_P5_a_running_leaf_ends_and_its_result_is_kept_and_nothing_new_starts(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    outcome = lab.pause(id)
    assert any(task.startswith(tuple(_names(lab, id, "a"))) for task in outcome.running)
    lab.release(id, "a")
    lab.reaches(id, Status.PAUSED)
    done = lab.task(id, "a")
    assert done is not None
    assert done.status is TaskStatus.SUCCEEDED
    assert lab.result(id, "a") == {"of": "a"}
    lab.meanwhile(shapes.CHAIN)
    assert lab.gate_now(id, "b") is None
    assert lab.status(id) is Status.PAUSED


def test_P5_the_remaining_items_of_a_running_task_belong_to_it(lab: Lab) -> None:
    id = lab.start(shapes.SERIAL)
    lab.gate(id, "t")
    lab.pause(id)
    for _ in range(3):
        if lab.status(id) is Status.PAUSED:
            break
        lab.release(id, "t")
    lab.reaches(id, Status.PAUSED)
    assert lab.gate_now(id, "next") is None


def test_P5_a_paused_child_satisfies_no_join(lab: Lab) -> None:
    id = lab.start(shapes.JOINED)
    child = lab.child(id, "one").id
    lab.gate(child, "c")
    lab.gate(id, "b")
    lab.pause(id)
    lab.release(child, "c")
    lab.reaches(child, Status.PAUSED)
    lab.release(id, "b")
    lab.reaches(id, Status.PAUSED)
    lab.resume(id)
    lab.gate(child, "d")
    assert lab.gate_now(id, "j") is None
    lab.release(child, "d")
    lab.release(id, "j")
    lab.reaches(id, Status.SUCCEEDED)


def test_P6_a_child_that_is_born_under_a_hold_is_held_and_goes_on_with_the_resume(lab: Lab) -> None:
    id = lab.start(shapes.LATE)
    lab.gate(id, "a")
    lab.gate(id, "b")
    lab.pause(id)
    lab.release(id, "a")
    lab.release(id, "b")
    lab.reaches(id, Status.PAUSED)
    lab.meanwhile(shapes.CHAIN)
    assert all(record.status is Status.PAUSED for record in lab.children(id).values())
    assert lab.status(id) is Status.PAUSED
    lab.resume(id)
    lab.release(lab.child(id, "one").id, "c")
    lab.reaches(id, Status.SUCCEEDED)


def test_P7_a_workflow_that_pauses_itself_holds_the_whole_tree(lab: Lab) -> None:
    id = lab.start(shapes.SELF_PAUSED)
    child = lab.child(id, "one")
    lab.gate(id, "beside")
    lab.release(child.id, "first")
    lab.reaches(child.id, Status.PAUSED)
    assert lab.status(id) is Status.PAUSING
    lab.release(id, "beside")
    lab.reaches(id, Status.PAUSED)
    assert lab.look(id).record.held_by == "engine"
    lab.noticed(id, "paused_itself")


def test_P8_a_held_execution_whose_last_task_failed_is_paused_and_the_resume_ends_it(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.gate(id, "a")
    lab.pause(id)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.PAUSED)
    assert lab.state(id) is EngineState.PAUSED
    lab.resume(id)
    lab.reaches(id, Status.ERRORED)


def _names(lab: Lab, id: str, task: str) -> list[str]:
    return [f"{lab.look(id).record.workflow}.{task}", f"{id}.{task}"]
