"""From a report to looks: what counts as active (S2), and where every child hangs."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
import requests
import responses

from flowbridge.errors import EngineRefused
from flowbridge.model import EngineState, ExecutionLook, ParentLink, Ref, TaskLook, TaskStatus
from flowbridge_mistral.access import Access
from flowbridge_mistral.backend import MistralBackend
from flowbridge_mistral.client import MistralClient
from flowbridge_mistral.observe import Extras, Observer, looks, seconds

URL = "http://mistral.example/v2"
Json = dict[str, Any]


def action(state: str, accepted: bool = False, name: str = "std.echo") -> Json:
    return {"id": "a", "name": name, "state": state, "accepted": accepted}


def task(state: str, *actions: Json, children: tuple[Json, ...] = (), id: str = "t", info: str | None = None) -> Json:
    return {
        "id": id,
        "name": id,
        "state": state,
        "state_info": info,
        "created_at": "2026-01-02 03:04:05",
        "updated_at": "2026-01-02 03:04:05",
        "action_executions": list(actions),
        "workflow_executions": list(children),
    }


def execution(state: str, *tasks: Json, id: str = "x", created: str = "2026-01-02 03:04:05") -> Json:
    return {
        "id": id,
        "name": "w",
        "state": state,
        "state_info": "Failure caused by t:\nTraceback (most recent call last):\n ...",
        "created_at": created,
        "updated_at": "2026-01-02 03:04:06",
        "task_executions": list(tasks),
    }


def items(count: int, concurrency: int | None = None) -> Json:
    context: Json = {"with_items": {"count": count, "capacity": concurrency}}
    return context if concurrency is None else context | {"concurrency": concurrency}


def look_at(entry: Json, context: Json | None = None, indexes: dict[str, int] | None = None) -> TaskLook:
    extras = Extras(indexes=indexes or {}, contexts={entry["id"]: context or {}})
    return looks(execution("PAUSED", entry), extras, "prod")[0].tasks[0]


LAST = seconds("2026-01-02 03:04:06") or 0.0


def hung(entry: Json, *, after: float = 10.0, contexts: dict[str, Json] | None = None) -> str:
    """Whether an execution counts as hung so many seconds after the last thing happened in it."""
    return looks(entry, Extras(contexts=contexts or {}, now=LAST + after), "prod")[0].hung


RUNNING, DONE, FAILED = action("RUNNING"), action("SUCCESS", accepted=True), action("ERROR", accepted=True)
REPLACED = action("ERROR", accepted=False)


@pytest.mark.parametrize(
    ("entry", "active"),
    [
        (task("RUNNING", RUNNING), True),
        (task("RUNNING", DONE), False),
        (task("RUNNING"), True),
        (task("DELAYED"), True),
        (task("DELAYED", FAILED), True),
        (task("WAITING"), False),
        (task("PAUSED"), False),
        (task("PAUSED", action("PAUSED")), False),
        (task("IDLE"), True),
        (task("IDLE", info="Set by 'pause-before' policy"), False),
        (task("SUCCESS", DONE), False),
        (task("ERROR", FAILED), False),
        (task("ERROR", RUNNING), True),
        (task("CANCELLED", RUNNING), True),
        (task("CANCELLED", DONE), False),
        (task("SKIPPED", FAILED), False),
    ],
)
def test_S2_a_task_is_active_by_its_actions_and_not_by_the_engines_word(entry: Json, active: bool) -> None:
    assert look_at(entry).active is active


@pytest.mark.parametrize(("after", "active"), [(59.0, True), (61.0, False)])
def test_S5_a_start_that_died_with_its_engine_is_not_waited_for(after: float, active: bool) -> None:
    extras = Extras(now=(seconds("2026-01-02 03:04:05") or 0.0) + after)
    assert looks(execution("PAUSED", task("IDLE")), extras, "prod")[0].tasks[0].active is active


@pytest.mark.parametrize(
    ("children", "active"),
    [((), True), ((execution("RUNNING", id="c"),), False), ((execution("ERROR", id="c"),), False)],
)
def test_S2_a_sub_workflow_task_is_active_until_its_child_is_there(children: tuple[Json, ...], active: bool) -> None:
    assert look_at(task("RUNNING", children=children)).active is active


@pytest.mark.parametrize(
    ("actions", "context", "active"),
    [
        ((DONE,), items(3, 1), True),
        ((DONE, DONE, DONE), items(3, 1), False),
        ((DONE, FAILED, DONE), items(3), False),
        ((DONE, REPLACED, DONE), items(3), True),
        ((DONE, REPLACED, DONE, DONE), items(3), False),
        ((DONE, DONE, DONE, DONE), items(3), False),
    ],
)
def test_S2_a_running_task_with_items_left_to_begin_is_active(
    actions: tuple[Json, ...], context: Json, active: bool
) -> None:
    assert look_at(task("RUNNING", *actions), context).active is active


@pytest.mark.parametrize("state", ["CANCELLED", "ERROR", "SUCCESS", "SKIPPED"])
def test_S2_items_that_will_not_begin_do_not_count(state: str) -> None:
    assert not look_at(task(state, DONE), items(3, 1)).active


def kids(*states: str) -> tuple[tuple[Json, ...], dict[str, int]]:
    children = tuple(execution(state, id=f"c{place}") for place, state in enumerate(states))
    return children, {child["id"]: place for place, child in enumerate(children)}


@pytest.mark.parametrize(
    ("states", "context", "active"),
    [
        (("RUNNING", "RUNNING"), items(3), True),
        (("RUNNING", "RUNNING"), items(3, 2), False),
        (("RUNNING", "SUCCESS"), items(3, 2), True),
        (("RUNNING", "RUNNING", "SUCCESS"), items(3), False),
        (("SUCCESS", "SUCCESS", "SUCCESS"), items(3), False),
        (("PAUSED", "SUCCESS", "SUCCESS"), items(3), True),
    ],
)
def test_S2_items_that_are_sub_workflows_count_when_there_is_room_for_the_next(
    states: tuple[str, ...], context: Json, active: bool
) -> None:
    children, indexes = kids(*states)
    assert look_at(task("RUNNING", children=children), context, indexes).active is active


@pytest.mark.parametrize(
    ("states", "active"), [(("PAUSED", "PAUSED"), False), (("PAUSED", "SUCCESS"), True), (("SUCCESS",) * 4, False)]
)
def test_P6_a_paused_task_with_room_for_the_next_item_is_active(states: tuple[str, ...], active: bool) -> None:
    children, indexes = kids(*states)
    assert look_at(task("PAUSED", children=children), items(4, 2), indexes).active is active


def test_S2_a_paused_action_has_begun_and_takes_its_room() -> None:
    assert not look_at(task("PAUSED", action("PAUSED"), DONE), items(3, 1)).active
    assert not look_at(task("RUNNING", action("PAUSED"), DONE), items(2)).active


def test_R4_a_paused_task_of_paused_items_is_not_active() -> None:
    children, indexes = kids("PAUSED", "PAUSED")
    assert not look_at(task("PAUSED", children=children), items(2), indexes).active


def test_a_replaced_child_counts_as_a_start_and_not_as_an_item() -> None:
    children, _ = kids("ERROR", "RUNNING", "RUNNING")
    seen = look_at(task("RUNNING", children=children), items(2), {"c0": 0, "c1": 0, "c2": 1})
    assert (seen.starts, seen.active) == (3, False)


def test_a_task_tells_its_items_whether_one_by_one_and_what_runs() -> None:
    seen = look_at(task("RUNNING", RUNNING, DONE), items(2, 1))
    assert (seen.items, seen.serial, seen.starts, seen.running) == (2, True, 2, ("std.echo",))
    assert (look_at(task("RUNNING", RUNNING)).items, look_at(task("RUNNING", RUNNING), items(2, 2)).serial) == (
        None,
        False,
    )


def test_a_delayed_task_says_in_words_why() -> None:
    seen = look_at(task("DELAYED", info="Delayed by 'wait-before' policy [delay=3]"))
    assert (seen.status, seen.running) == (TaskStatus.WAITING, ("Delayed by 'wait-before' policy [delay=3]",))


def test_an_execution_carries_its_times_its_error_and_a_revision_that_counts_tasks() -> None:
    (look,) = looks(execution("ERROR", task("ERROR", FAILED, info="boom")), Extras(), "prod")
    assert (look.ref, look.state, look.raw) == (Ref("prod", "x"), EngineState.ERRORED, "ERROR")
    assert (look.created, look.ended) == (1767323045.0, 1767323046.0)
    assert (look.error, look.tasks[0].error) == ("Failure caused by t", "boom")
    assert look.revision == "2026-01-02 03:04:06/1"
    assert looks(execution("RUNNING"), Extras(), "prod")[0].ended is None


def test_a_child_has_an_item_only_where_its_task_has_items() -> None:
    child = execution("RUNNING", id="c")
    entry = execution("RUNNING", task("RUNNING", children=(child,)))
    plain = looks(entry, Extras(indexes={"c": 0}), "prod")[1]
    of_items = looks(entry, Extras(indexes={"c": 0}, contexts={"t": items(1)}), "prod")[1]
    assert (plain.parent, of_items.parent) == (ParentLink("x", "t"), ParentLink("x", "t", 0))


def test_children_are_listed_oldest_first_and_the_live_one_last() -> None:
    late = execution("ERROR", id="late", created="2026-01-02 03:04:09")
    live, dead = execution("RUNNING", id="live"), execution("ERROR", id="dead")
    entry = execution("RUNNING", task("RUNNING", children=(late, live, dead)))
    assert [look.ref.id for look in looks(entry, Extras(), "prod")] == ["x", "dead", "live", "late"]


def test_a_very_deep_tree_is_no_trouble() -> None:
    entry = execution("RUNNING", id="leaf")
    for depth in range(5000):
        entry = execution("RUNNING", task("RUNNING", children=(entry,)), id=f"x{depth}")
    assert len(looks(entry, Extras(), "prod")) == 5001


def test_an_unknown_state_is_refused_and_not_guessed() -> None:
    with pytest.raises(EngineRefused, match="HALTED"):
        looks(execution("HALTED"), Extras(), "prod")


def test_times_are_read_as_utc() -> None:
    assert (seconds("1970-01-01 00:01:00"), seconds("1970-01-01T00:01:00.5"), seconds(None)) == (60.0, 60.0, None)


@responses.activate
def test_a_root_is_asked_for_once_and_two_ids_of_one_tree_are_one_look() -> None:
    responses.get(f"{URL}/executions/x", json={"id": "x", "root_execution_id": None})
    responses.get(f"{URL}/executions/c", json={"id": "c", "root_execution_id": "x"})
    report = responses.get(f"{URL}/executions/x/report", json={"root_workflow_execution": execution("RUNNING")})
    observer = Observer(MistralClient("prod", Access(URL)), "prod")
    found = observer.trees(["c", "x"])
    assert found["c"] is found["x"]
    assert report.call_count == 1
    observer.trees(["c"])
    assert len(responses.calls) == 4


@responses.activate
def test_the_tasks_of_a_large_tree_are_read_no_further_than_needed() -> None:
    child = execution("RUNNING", task("RUNNING", id="u"), id="c")
    entry = execution("RUNNING", task("RUNNING", children=(child,)))
    responses.get(f"{URL}/executions/x", json={"id": "x", "root_execution_id": None})
    responses.get(f"{URL}/executions/x/report", json={"root_workflow_execution": entry})
    indexes = {"id": "c", "params": '{"index": 0}'}
    responses.get(f"{URL}/executions", json={"executions": [indexes]})
    tasks = [{"id": id, "runtime_context": "{}"} for id in ("of another tree", "t", "u")]
    asked = responses.get(f"{URL}/tasks", json={"tasks": tasks, "next": "more, without end"})
    Observer(MistralClient("prod", Access(URL)), "prod").trees(["x"])
    assert asked.call_count == 1
    assert responses.calls[3].request.params == {  # type: ignore[attr-defined]
        "fields": "id,runtime_context",
        "workflow_name": "in:w",
        "created_at": "gte:2026-01-02 03:04:05",
        "sort_keys": "created_at,id",
        "sort_dirs": "asc,asc",
        "limit": "1000",
    }


SLIPPED = task("WAITING", DONE, id="j")


def test_P5_a_join_that_ran_and_waits_again_with_nothing_else_at_work_is_hung_once_it_has_been_quiet() -> None:
    slipped = execution("RUNNING", task("SUCCESS", DONE), SLIPPED)
    assert "join j ran during a pause" in hung(slipped)
    assert hung(slipped, after=9.0) == ""


def test_P5_a_join_that_never_ran_with_nothing_left_before_it_is_hung_once_it_has_been_quiet() -> None:
    forgotten = execution("RUNNING", task("SUCCESS", DONE), task("WAITING", id="j"))
    assert "join j waits though all before it is over" in hung(forgotten)
    assert hung(forgotten, after=9.0) == ""


def test_X6_a_task_of_which_more_items_count_than_it_has_is_hung_once_it_has_been_quiet() -> None:
    overrun = execution("RUNNING", task("SUCCESS", DONE, id="s"), task("RUNNING", REPLACED, *[DONE] * 4))
    assert "task t ran more items than it has" in hung(overrun, contexts={"t": items(3)})
    assert hung(overrun, after=9.0, contexts={"t": items(3)}) == ""


def child(state: str, id: str) -> Json:
    return execution(state, task("SUCCESS", DONE, id=f"t of {id}"), id=id)


@pytest.mark.parametrize(
    ("counted", "is_hung"),
    [(4, True), (3, False)],
    ids=["one that had succeeded ran again and both count", "all were replaced by a re-run"],
)
@responses.activate
def test_X6_of_sub_workflows_that_ended_the_engine_is_asked_how_many_count(counted: int, is_hung: bool) -> None:
    children = tuple(child(state, f"c{place}") for place, state in enumerate(["SUCCESS", "ERROR", *["SUCCESS"] * 3]))
    root = execution("RUNNING", task("RUNNING", children=children))
    _serves(root, items(3), children)
    shown = responses.get(f"{URL}/tasks/t", json={"id": "t", "result": json.dumps([{}] * counted)})
    (look, *_) = _observed()
    assert ("task t ran more items than it has" in look.hung) is is_hung
    assert shown.call_count == 1


@pytest.mark.parametrize(
    "children",
    [
        tuple(child(state, state) for state in ("SUCCESS", "ERROR")),
        (child("RUNNING", "c"), *(child("SUCCESS", f"c{place}") for place in range(4))),
    ],
    ids=["no more than it has", "one is at work"],
)
@responses.activate
def test_X6_nothing_more_is_asked_of_a_task_that_may_still_end(children: tuple[Json, ...]) -> None:
    _serves(execution("RUNNING", task("RUNNING", children=children)), items(3), children)
    (look, *_) = _observed()
    assert look.hung == ""
    assert f"{URL}/tasks/t" not in {call.request.url for call in responses.calls}


@responses.activate
def test_X6_nothing_more_is_asked_of_a_task_whose_last_item_has_just_ended() -> None:
    children = tuple(child("SUCCESS", f"c{place}") for place in range(4))
    _serves(execution("RUNNING", task("RUNNING", children=children)), items(3), children, at="03:04:14")
    assert _observed()[0].hung == ""
    assert f"{URL}/tasks/t" not in {call.request.url for call in responses.calls}


@responses.activate
def test_X6_a_task_that_the_engine_cannot_show_is_not_called_hung() -> None:
    children = tuple(child("SUCCESS", f"c{place}") for place in range(4))
    _serves(execution("RUNNING", task("RUNNING", children=children)), items(3), children)
    responses.get(f"{URL}/tasks/t", status=400, json={"faultstring": "is not bound to a Session"})
    assert _observed()[0].hung == ""


def _serves(root: Json, context: Json, children: tuple[Json, ...], at: str = "04:00:00") -> None:
    """Answers for the tree of one execution, by default long after the last thing happened in it."""
    members = [{"id": each["id"], "params": json.dumps({"index": place})} for place, each in enumerate(children)]
    contexts = [{"id": "t", "runtime_context": json.dumps(context)}]
    now = {"Date": f"Fri, 02 Jan 2026 {at} GMT"}
    responses.get(f"{URL}/executions/x", json={"root_execution_id": None}, headers=now)
    responses.get(f"{URL}/executions/x/report", json={"root_workflow_execution": root}, headers=now)
    responses.get(f"{URL}/executions", json={"executions": members}, headers=now)
    responses.get(f"{URL}/tasks", json={"tasks": contexts}, headers=now)


def _observed() -> tuple[ExecutionLook, ...]:
    return Observer(MistralClient("prod", Access(url=URL)), "prod").trees(["x"])["x"]


@pytest.mark.parametrize(
    "entry",
    [
        execution("RUNNING", task("RUNNING", REPLACED, *[DONE] * 3)),
        execution("RUNNING", task("RUNNING", REPLACED, *[DONE] * 3, RUNNING)),
        execution("RUNNING", task("RUNNING", *[DONE] * 4), task("RUNNING", RUNNING, id="u")),
        execution("RUNNING", task("SUCCESS", *[DONE] * 4), task("RUNNING", id="u")),
        execution("PAUSED", task("RUNNING", *[DONE] * 4)),
    ],
    ids=["as many as it has", "an item at work", "another task at work", "it ended", "paused"],
)
def test_X6_a_task_that_may_still_end_is_not_hung(entry: Json) -> None:
    assert hung(entry, after=3600.0, contexts={"t": items(3)}) == ""


def test_P5_a_join_that_failed_during_a_pause_and_waits_again_tells_so() -> None:
    (look,) = looks(execution("RUNNING", task("SUCCESS", DONE), task("WAITING", FAILED, id="j")), Extras(), "prod")
    assert {task.error for task in look.tasks} == {"", "failed during a pause, and waits again"}


@pytest.mark.parametrize(
    "entry",
    [
        execution("RUNNING", task("RUNNING", RUNNING), task("WAITING", id="j")),
        execution("RUNNING", task("RUNNING", RUNNING), SLIPPED),
        execution("RUNNING", task("IDLE"), SLIPPED),
        execution("RUNNING", task("DELAYED", FAILED), SLIPPED),
        execution("RUNNING", task("ERROR", RUNNING), SLIPPED),
        execution("RUNNING", task("ERROR", children=(execution("RUNNING"),)), SLIPPED),
        execution("PAUSED", task("SUCCESS", DONE), SLIPPED),
        execution("SUCCESS", task("SUCCESS", DONE), SLIPPED),
    ],
    ids=["a join", "an action", "a start", "a delay", "a stray action", "a child", "paused", "ended"],
)
def test_P5_what_may_still_go_on_is_not_hung(entry: Json) -> None:
    assert hung(entry, after=3600.0) == ""


@responses.activate
def test_several_trees_are_asked_for_side_by_side_eight_at_most() -> None:
    all_there = threading.Barrier(8, timeout=30)
    inside: list[int] = []

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        inside.append(1)
        all_there.wait()
        inside.pop()
        return 404, {}, json.dumps({"faultstring": "not there"})

    responses.add_callback(responses.GET, re.compile(r"http://mistral.example/v2/executions/.*"), answer)
    backend = MistralBackend("prod", {"url": "http://mistral.example"})
    assert backend.concurrent
    assert backend.observe([f"e{number}" for number in range(16)]) == {}
    assert len(responses.calls) == 16
    backend.close()
