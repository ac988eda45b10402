"""X and K: re-running and skipping."""

from __future__ import annotations

from flowbridge.capabilities import PartialRerun
from flowbridge.checks import RerunRequest
from flowbridge.conformance import shapes
from flowbridge.conformance.lab import Lab, not_asked
from flowbridge.model import Status, TaskStatus


def _tasks(*names: str, no_reset: tuple[str, ...] = ()) -> RerunRequest:
    return RerunRequest(names, no_reset)


def _errored_nested(lab: Lab) -> str:
    id = lab.start(shapes.NESTED)
    mid, low = lab.child(id, "left"), lab.child(id, "left", "inner")
    lab.release(id, "right")
    lab.release(mid.id, "peer")
    lab.release(low.id, "deep", ok=False)
    lab.reaches(id, Status.ERRORED)
    return id


def _errored_items(lab: Lab, *bad: int) -> str:
    id = lab.start(shapes.ITEMS)
    for item in range(3):
        lab.release(id, "t", item=item, ok=item not in bad, result={"item": item})
    lab.reaches(id, Status.ERRORED)
    return id


def test_X1_from_the_beginning_is_a_new_execution_with_the_same_input(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN, n=7)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    again = lab.rerun(id).execution
    assert again != id
    assert lab.bridge.find(again).ref != lab.bridge.find(id).ref
    assert lab.bridge.find(again).rerun_of == id
    lab.reaches(again, Status.RUNNING)
    assert dict(lab.bridge.read(again).input)["n"] == 7
    assert lab.status(id) is Status.ERRORED


def test_X1_single_input_values_can_be_overridden(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN, n=7)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    again = lab.rerun(id, RerunRequest(input={"n": 8})).execution
    lab.reaches(again, Status.RUNNING)
    assert dict(lab.bridge.read(again).input)["n"] == 8


def test_X1_a_running_execution_cannot_be_re_run(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    assert "running" in lab.refused(lambda: lab.rerun(id), "X1").message


def test_X2_from_tasks_reuses_the_engine_execution_under_a_new_record(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN, n=7)
    lab.release(id, "a")
    lab.release(id, "b", ok=False)
    lab.reaches(id, Status.ERRORED)
    old = lab.bridge.find(id)
    new = lab.rerun(id, _tasks("b")).execution
    record = lab.bridge.find(new)
    assert (record.ref, record.rerun_of) == (old.ref, id)
    error = lab.refused(lambda: lab.cancel(id), "X2")
    assert new in error.message
    lab.release(new, "b")
    lab.release(new, "c")
    lab.reaches(new, Status.SUCCEEDED)
    assert lab.starts(new) == {"a": 1, "b": 2, "c": 1}
    assert lab.result(new, "a") == {"of": "a"}
    assert dict(lab.bridge.read(new).input)["n"] == 7


def test_X2_input_overrides_are_rejected_for_tasks(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    lab.refused(lambda: lab.rerun(id, RerunRequest(("a",), input={"n": 1})), "X2")


def test_X3_one_wrong_task_fails_the_whole_request_and_all_wrong_ones_are_listed(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a")
    lab.release(id, "b", ok=False)
    lab.reaches(id, Status.ERRORED)
    before = lab.fingerprint(id)
    error = lab.refused(lambda: lab.rerun(id, _tasks("b", "a", "nowhere")), "X3")
    assert "a: is succeeded" in error.message
    assert "nowhere" in error.message
    assert lab.fingerprint(id) == before


def test_X3_a_running_execution_is_rejected(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    lab.gate(id, "b")
    lab.release(id, "a", ok=False)
    if lab.status(id) is not Status.RUNNING:
        not_asked("the engine ends the workflow at the first error")
    lab.refused(lambda: lab.rerun(id, _tasks("a")), "X3")


def test_X4_names_are_deduplicated_and_their_order_does_not_matter(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    for task in ("a", "b"):
        lab.release(id, task, ok=False)
    lab.reaches(id, Status.ERRORED)
    new = lab.rerun(id, _tasks("b", "a", "b")).execution
    for task in ("a", "b"):
        lab.release(new, task)
    lab.release(new, "j")
    lab.reaches(new, Status.SUCCEEDED)
    assert {name: count for name, count in lab.starts(new).items() if name != "j"} == {"a": 2, "b": 2}


def test_X4_a_name_together_with_one_inside_it_is_rejected(lab: Lab) -> None:
    id = _errored_nested(lab)
    lab.refused(lambda: lab.rerun(id, _tasks("left", "left.inner.deep")), "X4")


def test_X5_dotted_names_reach_into_children_to_any_depth(lab: Lab) -> None:
    id = _errored_nested(lab)
    low = lab.child(id, "left", "inner")
    new = lab.rerun(id, _tasks("left.inner.deep")).execution
    again = lab.child(new, "left", "inner")
    assert again.ref == low.ref
    lab.release(again.id, "deep")
    lab.release(new, "last")
    lab.reaches(new, Status.SUCCEEDED)


def test_X5_tasks_of_several_levels_run_again_together(lab: Lab) -> None:
    id = lab.start(shapes.NESTED)
    mid, low = lab.child(id, "left"), lab.child(id, "left", "inner")
    lab.release(id, "right", ok=False)
    lab.release(low.id, "deep", ok=False)
    if lab.gate_now(mid.id, "peer"):  # an engine may end a workflow at its first error
        lab.release(mid.id, "peer")
    lab.reaches(id, Status.ERRORED)
    new = lab.rerun(id, _tasks("right", "left.inner.deep")).execution
    lab.notes.calls = 1  # one for each execution whose tasks are named
    lab.release(lab.child(new, "left", "inner").id, "deep")
    lab.release(new, "right")
    lab.release(new, "last")
    lab.reaches(new, Status.SUCCEEDED)
    assert lab.starts(new)["right"] == 2


def test_X5_a_name_without_a_dot_starts_its_child_anew(lab: Lab) -> None:
    id = _errored_nested(lab)
    before = lab.child(id, "left")
    new = lab.rerun(id, _tasks("left")).execution
    after = lab.until(
        lambda: found if (found := lab.child(new, "left")).ref != before.ref else None, "another child under left"
    )
    inner = lab.child(after.id, "inner").id
    lab.release(inner, "deep")
    lab.reaches(inner, Status.SUCCEEDED)
    lab.release(after.id, "peer")
    lab.reaches(after.id, Status.SUCCEEDED)
    lab.release(new, "last")
    lab.reaches(new, Status.SUCCEEDED)


def test_X5_an_unknown_name_says_which_part_failed_and_what_is_there(lab: Lab) -> None:
    id = _errored_nested(lab)
    message = lab.refused(lambda: lab.rerun(id, _tasks("left.inner.shallow")), "X3").message
    assert "shallow" in message
    assert "there is: deep" in message


def test_X5_one_item_of_many_can_be_named(lab: Lab) -> None:
    id = lab.start(shapes.MANY)
    children = [lab.child(id, f"t[{item}]").id for item in range(3)]
    for place, child in enumerate(children):
        lab.release(child, "c", ok=place != 1)
    lab.reaches(id, Status.ERRORED)
    lab.refused(lambda: lab.rerun(id, _tasks("t[0].c")), "X3")
    new = lab.rerun(id, _tasks("t[1].c")).execution
    lab.release(lab.child(new, "t[1]").id, "c")
    lab.release(new, "next")
    lab.reaches(new, Status.SUCCEEDED)


def test_X5_without_an_index_all_items_are_meant_in_which_the_task_failed(lab: Lab) -> None:
    id = lab.start(shapes.MANY)
    before = [lab.child(id, f"t[{item}]") for item in range(3)]
    for place, child in enumerate(before):
        lab.release(child.id, "c", ok=place == 1)
    lab.reaches(id, Status.ERRORED)
    new = lab.rerun(id, _tasks("t.c")).execution
    lab.notes.calls = 1  # one for each execution whose tasks are named
    children = [lab.child(new, f"t[{item}]") for item in range(3)]
    assert [child.ref for child in children] == [child.ref for child in before]
    for item in (2, 0):
        lab.release(children[item].id, "c")
    lab.release(new, "next")
    lab.reaches(new, Status.SUCCEEDED)
    assert [lab.starts(child.id)["c"] for child in children] == [2, 1, 2]


def test_X6_all_items_run_again_by_default(lab: Lab) -> None:
    id = _errored_items(lab, 1)
    new = lab.rerun(id, _tasks("t")).execution
    for item in range(3):
        lab.release(new, "t", item=item)
    lab.release(new, "next")
    lab.reaches(new, Status.SUCCEEDED)
    assert lab.starts(new)["t"] == 6


def test_X6_with_no_reset_only_the_failed_items_run_and_results_keep_their_places(lab: Lab) -> None:
    id = _errored_items(lab, 2)
    new = lab.rerun(id, _tasks("t", no_reset=("t",))).execution
    lab.release(new, "t", item=2, result={"item": "again"})
    _nothing_else_runs_again(lab, new)
    lab.release(new, "next")
    lab.reaches(new, Status.SUCCEEDED)
    read = next(task for task in lab.bridge.read(new).tasks if task.name == "t")
    assert [item["item"] for item in read.result] == [0, 1, "again"]


def test_X6_where_the_engine_gets_it_wrong_it_is_refused_and_nothing_is_touched(lab: Lab) -> None:
    id = _errored_items(lab, 1)
    if lab.facts.partial_rerun is PartialRerun.YES:
        new = lab.rerun(id, _tasks("t", no_reset=("t",))).execution
        lab.release(new, "t", item=1)
        _nothing_else_runs_again(lab, new)
        lab.release(new, "next")
        lab.reaches(new, Status.SUCCEEDED)
        return
    before = lab.fingerprint(id)
    error = lab.refused(lambda: lab.rerun(id, _tasks("t", no_reset=("t",))), "X6")
    assert error.accept == "X6"
    assert lab.fingerprint(id) == before


def _nothing_else_runs_again(lab: Lab, id: str) -> None:
    """Of three items one has run again: the workflow goes on, and no item that had succeeded comes up."""
    lab.until(lambda: lab.gate_now(id, "next") or lab.gate_now(id, "t"), f"the gate next of {id}")
    begun = lab.starts(id)["t"] - 3
    assert begun == 1, (
        f"{begun} items run again, and one had failed: ask the engine for the failed ones alone where `reset` is "
        "false, or declare partial_rerun NO or LAST_FAILED if it cannot"
    )


def test_X6_no_reset_must_name_with_items_tasks_that_are_named(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    lab.refused(lambda: lab.rerun(id, _tasks("a", no_reset=("b",))), "X6")
    lab.refused(lambda: lab.rerun(id, _tasks("a", no_reset=("a",))), "X6")


def test_X8_a_childs_own_id_means_the_same_as_the_dotted_name(lab: Lab) -> None:
    id = _errored_nested(lab)
    low = lab.child(id, "left", "inner")
    outcome = lab.rerun(low.id, _tasks("deep"))
    assert lab.bridge.find(outcome.execution).rerun_of == low.id
    root = lab.until(lambda: _successor(lab, id), "the root's new record")
    lab.release(outcome.execution, "deep")
    lab.release(root, "last")
    lab.reaches(root, Status.SUCCEEDED)


def test_X8_an_ancestor_that_handled_the_error_is_no_way_back(lab: Lab) -> None:
    id = lab.start(shapes.HANDLED)
    child = lab.child(id, "one")
    lab.release(child.id, "c", ok=False)
    lab.reaches(id, Status.SUCCEEDED)
    before = lab.fingerprint(id)
    lab.refused(lambda: lab.rerun(child.id, _tasks("c")), "X8")
    assert lab.fingerprint(id) == before


def test_X9_behind_the_re_run_task_the_workflow_goes_on_and_joins_count_afresh(lab: Lab) -> None:
    id = lab.start(shapes.FORK)
    lab.release(id, "b")
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    new = lab.rerun(id, _tasks("a")).execution
    lab.release(new, "a")
    lab.release(new, "j")
    lab.reaches(new, Status.SUCCEEDED)
    assert lab.starts(new)["b"] == 1


def test_K1_a_skipped_task_ends_skipped_and_the_workflow_goes_on_behind_it(lab: Lab) -> None:
    id = lab.start(shapes.CHAIN)
    lab.release(id, "a", ok=False)
    lab.reaches(id, Status.ERRORED)
    new = lab.skip(id, "a").execution
    lab.release(new, "b")
    lab.release(new, "c")
    lab.reaches(new, Status.SUCCEEDED)
    skipped = lab.task(new, "a")
    assert skipped is not None
    assert skipped.status is TaskStatus.SKIPPED


def _successor(lab: Lab, id: str) -> str | None:
    error = lab.refused(lambda: lab.cancel(id), "X2")
    return next((word.rstrip(".:") for word in error.message.split() if word.count("-") == 4 and word != id), None)
