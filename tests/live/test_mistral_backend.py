"""Each call of the Mistral backend against a real Mistral, and what an observation makes of Mistral's behaviour.

Every action of the workflows here is a gate: it runs until the test ends it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from flowbridge.backend import Definition, StartRequest, TaskRerun
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Unavailable
from flowbridge.model import EngineState, TaskStatus
from flowbridge_mistral.backend import MistralBackend
from live.mistral_lab import WORKBOOK, Lab, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab(mistral_url: str) -> Iterator[Lab]:
    backend = MistralBackend("prod", {"url": mistral_url})
    backend.deploy(Definition(WORKBOOK))
    yield Lab(backend)
    backend.close()


S, E = TaskStatus.SUCCEEDED, TaskStatus.ERRORED


def test_check_says_that_it_answers(lab: Lab) -> None:
    assert "answers and accepts" in lab.backend.check().detail


def test_an_address_where_no_mistral_is_refused_and_not_taken_for_one_that_lost_everything(mistral_url: str) -> None:
    backend = MistralBackend("prod", {"url": mistral_url + "/nothing/v2"})
    with pytest.raises(EngineRefused, match="no Mistral API"):
        backend.observe([str(uuid.uuid4())])
    backend.close()


def test_an_engine_that_is_down_is_unavailable_and_nothing_was_sent() -> None:
    backend = MistralBackend("prod", {"url": "http://127.0.0.1:9/v2"})
    with pytest.raises(Unavailable, match="Connection refused") as caught:
        backend.resume("x", "")
    assert caught.value.unsent
    backend.close()


def test_validate_names_the_workflows_the_default_first_and_leaves_the_engine_as_it_was(lab: Lab) -> None:
    text = "version: '2.0'\nnever_first:\n  tasks: {t: {action: std.noop}}\nmain:\n  tasks: {t: {action: std.noop}}\n"
    assert lab.backend.validate(Definition(text)).workflows == ("main", "never_first")
    with pytest.raises(NotFound, match="never_first"):
        lab.backend.start(StartRequest(str(uuid.uuid4()), "never_first"))


def test_validate_gives_the_engines_words_and_the_line_of_what_it_refuses(lab: Lab) -> None:
    text = "version: '2.0'\nw:\n  tasks:\n    bad:\n      actin: std.noop\n"
    with pytest.raises(InvalidInput, match="'actin' was unexpected") as caught:
        lab.backend.validate(Definition(text, "w.yaml"))
    assert (caught.value.source, caught.value.line, caught.value.column) == ("w.yaml", 4, 5)


def test_a_definition_changed_twice_within_a_second_runs_as_it_was_deployed_last(lab: Lab) -> None:
    def text(word: str) -> Definition:
        return Definition(f"version: '2.0'\nhasty: {{output: {{said: {word}}}, tasks: {{t: {{action: std.noop}}}}}}\n")

    def said() -> Any:
        ref = lab.backend.start(StartRequest(str(uuid.uuid4()), "hasty"))
        until(lambda: lab.backend.observe([ref.id])[ref.id][0].state is EngineState.SUCCEEDED)
        return lab.backend.read(ref.id, []).output["said"]

    lab.backend.deploy(text("first"))
    put = partial(lab.backend._client.text, "PUT", "workflows")
    for number in range(20):  # until both changes fall into one second of the server's, and it runs the first
        put(text=text(f"one {number}").text)
        said()
        put(text=text(f"other {number}").text)
        if said() != f"other {number}":
            break
    else:
        pytest.fail("the server always ran what was deployed last: nothing needs to be done about it any more")
    for number in range(3):
        lab.backend.deploy(text(f"ours {number}"))
        assert said() == f"ours {number}"


def test_deploy_creates_updates_and_does_both_in_one_file(lab: Lab) -> None:
    def text(*names: str) -> Definition:
        flows = "".join(f"{name}:\n  tasks: {{t: {{action: std.noop}}}}\n" for name in names)
        return Definition(f"version: '2.0'\n{flows}")

    assert lab.backend.deploy(text("first")).workflows == ("first",)
    assert lab.backend.deploy(text("first")).workflows == ("first",)
    assert lab.backend.deploy(text("first", "second")).workflows == ("first", "second")
    id = str(uuid.uuid4())
    lab.backend.start(StartRequest(id, "second"))
    lab.reaches(id, EngineState.SUCCEEDED)


def test_deploying_a_workbook_again_updates_it(lab: Lab) -> None:
    assert "live.items" in lab.backend.deploy(Definition(WORKBOOK)).workflows
    assert lab.backend.deploy(Definition(WORKBOOK)).workflows[0] == "live.main"


def test_start_deploys_what_it_was_given_and_starts_an_id_once(lab: Lab) -> None:
    name = f"once_{uuid.uuid4().hex}"  # the server is everybody's
    text = f"version: '2.0'\n{name}:\n  tasks: {{t: {{action: std.async_noop}}}}\n"
    request = StartRequest(str(uuid.uuid4()), name, env={"k": 1}, definition=Definition(text))
    assert lab.backend.start(request) == lab.backend.start(request)
    listed = [each for each in lab.backend.list_executions(limit=50) if each.workflow == name]
    assert [each.ref.id for each in listed] == [request.id]


def test_starting_an_unknown_workflow_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound, match="nosuch"):
        lab.start("nosuch")


def test_starting_without_an_input_is_refused_in_the_engines_words(lab: Lab) -> None:
    with pytest.raises(InvalidInput, match=r"missing=\['x'\]"):
        lab.start("child")


def test_an_execution_that_is_gone_is_missing_from_the_observation(lab: Lab) -> None:
    there, gone = lab.start("main"), str(uuid.uuid4())
    assert set(lab.backend.observe([there, gone, "no uuid"])) == {there}


def test_a_tree_is_listed_root_first_with_links_that_carry_the_items_index(lab: Lab) -> None:
    id = lab.start("nested")
    lab.gates(id, "0", "1", "2")
    root, many, *children = lab.tree(id)
    assert (root.parent, root.workflow, root.ref.backend) == (None, "live.nested", "prod")
    assert many.parent is not None
    assert (many.parent.id, many.parent.task, many.parent.item) == (id, root.tasks[0].id, None)
    links = [child.parent for child in children if child.parent is not None]
    assert {(link.id, link.task) for link in links} == {(many.ref.id, many.tasks[0].id)}
    assert sorted(link.item for link in links if link.item is not None) == [0, 1, 2]
    assert (many.tasks[0].items, root.tasks[0].items) == (3, None)


def test_a_child_gives_the_tree_of_its_root(lab: Lab) -> None:
    id = lab.start("nested")
    lab.gates(id, "0", "1", "2")
    leaf = lab.tree(id)[-1].ref.id
    assert lab.backend.observe([leaf])[leaf][0].ref.id == id


def test_a_larger_tree_costs_no_more_requests(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = lab.start("many"), lab.start("nested")
    lab.gates(small, "0", "1", "2")
    lab.gates(large, "0", "1", "2")
    calls: list[tuple[str, ...]] = []
    get = lab.backend._client.get

    def counted(*path: str, **query: Any) -> dict[str, Any]:
        calls.append(path)
        return get(*path, **query)

    monkeypatch.setattr(lab.backend._client, "get", counted)
    lab.tree(small)
    of_small = len(calls)
    lab.tree(large)
    assert len(calls) == 2 * of_small


def test_S2_a_running_action_keeps_a_paused_execution_pausing(lab: Lab) -> None:
    id = lab.start("main")
    lab.gates(id, "g")
    lab.backend.pause(id)
    look = lab.root(id)
    assert (look.state, look.tasks[0].active) == (EngineState.PAUSED, True)
    assert look.tasks[0].running == ("live.gate",)
    lab.end(id, "g")
    until(lambda: not lab.task(id, "g").active)
    assert lab.root(id).state is EngineState.PAUSED


def test_S2_a_delayed_task_is_active_and_waits(lab: Lab) -> None:
    id = lab.start("delayed")
    task = until(lambda: [task for task in lab.root(id).tasks if task.raw != "IDLE"])[0]
    assert (task.raw, task.status, task.active) == ("DELAYED", TaskStatus.WAITING, True)
    assert "wait-before" in task.running[0]


def test_S2_a_task_that_waits_for_pause_before_or_a_join_is_not_active(lab: Lab) -> None:
    held = lab.start("held")
    lab.reaches(held, EngineState.PAUSED)
    assert [(task.raw, task.active) for task in lab.root(held).tasks] == [("IDLE", False)]
    joined = lab.start("joined")
    lab.end(joined, "a")
    join = until(lambda: [task for task in lab.root(joined).tasks if task.name == "j"])[0]
    assert (join.raw, join.status, join.active) == ("WAITING", TaskStatus.WAITING, False)


def test_S2_items_behind_a_concurrency_limit_keep_their_task_active_under_a_pause(lab: Lab) -> None:
    id = lab.start("limited")
    lab.gates(id, "0")
    lab.backend.pause(id)
    for place in range(3):
        lab.end(id, str(place))
        # Between one item and the next nothing runs for a moment, and still the task is not done.
        assert place == 2 or until(lambda: lab.task(id, "t")).active
    until(lambda: not lab.task(id, "t").active)
    task = lab.task(id, "t")
    assert (task.starts, task.items, task.serial) == (3, 3, True)


def test_R4_a_task_whose_items_are_paused_is_active_until_the_engine_says_paused(lab: Lab) -> None:
    id = lab.start("many")
    lab.gates(id, "0", "1", "2")
    lab.backend.pause(id)

    def settled() -> bool:
        root, *children = lab.tree(id)
        task = root.tasks[0]
        assert task.active is (task.raw == "RUNNING")
        return task.raw == "PAUSED" and all(child.state is EngineState.PAUSED for child in children)

    until(settled)


def test_R4_one_of_several_paused_items_resumed_alone_leaves_the_parent_paused(lab: Lab) -> None:
    id = lab.start("many")
    lab.gates(id, "0", "1", "2")
    lab.backend.pause(id)
    until(lambda: lab.task(id, "t").raw == "PAUSED")
    child = lab.tree(id)[1]
    lab.backend.resume(child.ref.id, child.revision)
    for target in ("0", "1", "2"):
        lab.end(id, target)
    until(lambda: [look for look in lab.tree(id)[1:] if look.state is EngineState.SUCCEEDED])
    root, *children = lab.tree(id)
    assert root.state is EngineState.PAUSED
    assert sorted(look.state for look in children) == [EngineState.PAUSED, EngineState.PAUSED, EngineState.SUCCEEDED]


def test_P6_the_next_item_begins_under_a_pause_and_its_task_is_active_until_it_has(lab: Lab) -> None:
    id = lab.start("two_at_once")
    lab.gates(id, "0", "1")
    lab.backend.pause(id)
    until(lambda: lab.task(id, "t").raw == "PAUSED")
    child = lab.tree(id)[1]
    lab.backend.resume(child.ref.id, child.revision)
    until(lambda: lab.tree(id)[1].state is EngineState.RUNNING)
    (target,) = (target for target, (execution, _) in lab.gates(id, "0", "1").items() if execution == child.ref.id)
    lab.end(id, target)

    def born() -> bool:
        root, *children = lab.tree(id)
        ended = [look for look in children if look.state is EngineState.SUCCEEDED]
        assert root.tasks[0].active is (len(ended) == 1 and len(children) == 2)
        return len(children) == 3

    until(born)
    assert lab.root(id).state is EngineState.PAUSED
    assert EngineState.RUNNING in {look.state for look in lab.tree(id)[1:]}


def test_R4_the_only_paused_child_resumed_takes_its_parent_with_it(lab: Lab) -> None:
    id = lab.start("nested")
    lab.gates(id, "0", "1", "2")
    lab.backend.pause(id)
    until(lambda: lab.task(id, "t").raw == "PAUSED")
    many = lab.tree(id)[1]
    lab.backend.resume(many.ref.id, many.revision)
    lab.reaches(id, EngineState.RUNNING)


def test_P5_a_join_slips_through_a_pause_and_the_observation_shows_it(lab: Lab) -> None:
    id = lab.start("joined")
    lab.gates(id, "a", "b")
    lab.end(id, "a")
    until(lambda: lab.task(id, "a").status is TaskStatus.SUCCEEDED)
    lab.backend.pause(id)
    lab.end(id, "b")
    lab.gates(id, "j")
    look = lab.root(id)
    assert look.state is EngineState.PAUSED
    assert next(task for task in look.tasks if task.name == "j").active


def test_pause_and_resume_change_the_state_and_a_resume_changes_the_revision(lab: Lab) -> None:
    id = lab.start("main")
    lab.gates(id, "g")
    lab.backend.pause(id)
    lab.backend.pause(id)
    paused = lab.root(id)
    assert (paused.state, lab.root(id).revision) == (EngineState.PAUSED, paused.revision)
    second = int(time.time())
    until(lambda: int(time.time()) > second)  # the engine's times are whole seconds
    lab.backend.resume(id, paused.revision)
    resumed = lab.root(id)
    assert resumed.state is EngineState.RUNNING
    assert resumed.revision != paused.revision


def test_pausing_one_that_has_ended_is_refused_and_one_that_never_was_is_not_found(lab: Lab) -> None:
    id = lab.start("main")
    lab.end(id, "g")
    lab.reaches(id, EngineState.SUCCEEDED)
    with pytest.raises(EngineRefused):
        lab.backend.pause(id)
    with pytest.raises(NotFound):
        lab.backend.pause(str(uuid.uuid4()))


def test_C2_a_canceled_execution_shows_the_leaf_that_still_runs(lab: Lab) -> None:
    id = lab.start("main")
    lab.gates(id, "g")
    lab.backend.cancel(id)
    lab.backend.cancel(id)
    look = lab.root(id)
    assert (look.state, look.tasks[0].active) == (EngineState.CANCELED, True)
    assert look.ended is not None
    lab.end(id, "g")
    until(lambda: not lab.task(id, "g").active)


def test_C5_a_canceled_item_leaves_the_others_running_and_visible(lab: Lab) -> None:
    id = lab.start("items")
    lab.gates(id, "0", "1", "2")
    lab.end(id, "1", TaskStatus.CANCELED)
    look = lab.reaches(id, EngineState.CANCELED)
    assert (look.tasks[0].status, look.tasks[0].active) == (TaskStatus.CANCELED, True)
    lab.end(id, "0")
    lab.end(id, "2")
    until(lambda: not lab.task(id, "t").active)
    (task,) = lab.backend.read(id).tasks
    assert task.items is not None
    assert [item.status for item in task.items] == [S, TaskStatus.CANCELED, S]


def test_read_gives_input_output_results_and_what_was_published(lab: Lab) -> None:
    id = lab.start("main", x=[1, {"a": None}])
    lab.end(id, "g", result={"n": 7})
    lab.reaches(id, EngineState.SUCCEEDED)
    read = lab.backend.read(id)
    assert (read.input, read.output) == ({"x": [1, {"a": None}]}, {"y": [1, {"a": None}]})
    (task,) = read.tasks
    assert (task.result, task.published, task.items) == ({"n": 7}, {"p": {"n": 7}}, None)


def test_read_gives_of_a_running_task_no_result(lab: Lab) -> None:
    id = lab.start("main")
    lab.gates(id, "g")
    assert lab.backend.read(id).tasks[0].result is None


def test_read_gives_of_what_runs_again_no_output(lab: Lab) -> None:
    id, task = lab.errored_items(S, E, E)
    assert "Failure caused by error in tasks: t" in lab.backend.read(id).output["result"]
    lab.backend.rerun(id, [TaskRerun(task.id)])
    lab.gates(id, "0", "1", "2")
    assert lab.backend.read(id).output is None


def test_X6_items_of_actions_stand_at_their_places_failed_ones_included(lab: Lab) -> None:
    id, task = lab.errored_items(S, E, S)
    (read,) = lab.backend.read(id, [task.id]).tasks
    assert read.items is not None
    assert [(item.index, item.status, item.result) for item in read.items] == [
        (0, S, {"of": "0"}),
        (1, E, {"of": "1"}),
        (2, S, {"of": "2"}),
    ]


def test_X6_items_with_equal_outputs_and_different_ends_have_no_places(lab: Lab) -> None:
    id = lab.start("items")
    for place, outcome in enumerate((S, E, S)):
        lab.end(id, str(place), outcome, result={"same": True})
    lab.reaches(id, EngineState.ERRORED)
    assert lab.backend.read(id).tasks[0].items is None


def test_X6_items_of_sub_workflows_stand_at_the_index_that_the_engine_keeps(lab: Lab) -> None:
    id = lab.start("many")
    lab.end(id, "1", E)
    until(lambda: [look for look in lab.tree(id) if look.state is EngineState.ERRORED])
    (task,) = lab.backend.read(id).tasks
    assert task.items is not None
    assert [item.status for item in task.items] == [TaskStatus.RUNNING, E, TaskStatus.RUNNING]


def test_X2_a_rerun_begins_again_and_starts_only_grow(lab: Lab) -> None:
    id = lab.start("fails")
    lab.end(id, "f", E)
    lab.reaches(id, EngineState.ERRORED)
    before = lab.task(id, "f")
    lab.backend.rerun(id, [TaskRerun(before.id)])
    lab.gates(id, "f")
    assert lab.task(id, "f").starts == before.starts + 1
    lab.backend.rerun(id, [TaskRerun(before.id)])
    assert lab.task(id, "f").starts == before.starts + 1


def test_X6_a_partial_rerun_whose_last_item_failed_runs_the_failed_items_only(lab: Lab) -> None:
    id, task = lab.errored_items(S, E, E)
    lab.backend.rerun(id, [TaskRerun(task.id, reset=False)])
    assert set(lab.gates(id, "1", "2")) == {"1", "2"}
    lab.end(id, "1")
    lab.end(id, "2")
    lab.reaches(id, EngineState.SUCCEEDED)
    (read,) = lab.backend.read(id).tasks
    assert [item.status for item in read.items or ()] == [S, S, S]


def test_X6_a_partial_rerun_whose_last_item_succeeded_runs_it_again_and_may_hang(lab: Lab) -> None:
    """Of two that end at once the engine counts one, and is done, or both, which is more than it waits for."""
    id, task = lab.errored_items(S, E, S)
    lab.backend.rerun(id, [TaskRerun(task.id, reset=False)])
    assert set(lab.gates(id, "1", "2")) == {"1", "2"}
    lab.end(id, "1")
    lab.end(id, "2")
    until(lambda: not lab.task(id, "t").active)
    assert (lab.root(id).state, lab.task(id, "t").raw) in {
        (EngineState.RUNNING, "RUNNING"),
        (EngineState.SUCCEEDED, "SUCCESS"),
    }


def test_X2_a_rerun_of_an_unknown_task_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound):
        lab.backend.rerun(str(uuid.uuid4()), [TaskRerun(str(uuid.uuid4()))])


def test_K1_a_skipped_task_lets_the_workflow_go_on(lab: Lab) -> None:
    id = lab.start("fails")
    lab.end(id, "f", E)
    lab.reaches(id, EngineState.ERRORED)
    lab.backend.skip(id, [lab.task(id, "f").id])
    lab.end(id, "after")
    lab.reaches(id, EngineState.SUCCEEDED)
    assert lab.task(id, "f").status is TaskStatus.SKIPPED


def test_a_report_is_taken_once_and_may_be_repeated(lab: Lab) -> None:
    id = lab.start("main")
    execution, key = lab.gates(id, "g")["g"]
    lab.backend.report(execution, key, S, "text")
    lab.backend.report(execution, key, E, "other")
    lab.reaches(id, EngineState.SUCCEEDED)
    assert lab.backend.read(id).tasks[0].result == {"result": "text"}
    with pytest.raises(NotFound):
        lab.backend.report(execution, str(uuid.uuid4()), S, None)


def test_list_gives_roots_newest_first_by_state_and_at_most_as_many_as_asked(lab: Lab) -> None:
    lab.gates(lab.start("nested"), "0", "1", "2")
    paused = lab.start("held")
    lab.reaches(paused, EngineState.PAUSED)
    for _ in range(3):
        lab.start("main")
    listed = list(lab.backend.list_executions(limit=5))
    assert len(listed) == 5
    assert [each.created for each in listed] == sorted((each.created for each in listed), reverse=True)  # type: ignore[type-var]
    assert not [each for each in listed if each.workflow in ("live.many", "live.child")]
    assert {each.raw for each in lab.backend.list_executions(limit=5, state="paused")} == {"PAUSED"}


def test_a_glance_tells_the_states_of_many_executions_and_leaves_out_what_is_not_there(lab: Lab) -> None:
    runs, paused = lab.start("main"), lab.start("held")
    lab.reaches(paused, EngineState.PAUSED)
    ids = [runs, *(str(uuid.uuid4()) for _ in range(150)), paused]
    assert lab.backend.glance(ids) == {runs: "RUNNING", paused: "PAUSED"}


RETRIED = """
version: '2.0'
retried:
  tasks:
    r: {action: std.noop, retry: {count: 1, delay: 0}, on-success: [c, i]}
    c: {workflow: retried_child}
    i: {with-items: "i in [1, 2]", workflow: retried_child}
retried_child:
  tasks:
    e: {action: std.fail, retry: {count: 1, delay: 0}, on-error: noop}
"""


def test_a_tree_whose_report_the_engine_fails_to_build_is_observed_all_the_same(lab: Lab) -> None:
    lab.backend.deploy(Definition(RETRIED))
    id = str(uuid.uuid4())
    lab.backend.start(StartRequest(id, "retried"))
    lab.reaches(id, EngineState.SUCCEEDED)
    root, *children = lab.tree(id)
    assert {task.name: (task.status, task.starts) for task in root.tasks} == {"r": (S, 1), "c": (S, 1), "i": (S, 2)}
    of = {task.id: task.name for task in root.tasks}
    assert sorted((of[each.parent.task], str(each.parent.item)) for each in children if each.parent) == [
        ("c", "None"),
        ("i", "0"),
        ("i", "1"),
    ]
    assert [[(task.status, task.starts) for task in each.tasks] for each in children] == [[(E, 2)]] * 3


def test_a_tree_whose_report_fails_is_observed_in_as_many_requests_for_forty_children_as_for_two(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = """
version: '2.0'
retried_wide:
  input: [size]
  tasks:
    i: {with-items: "i in <% range($.size) %>", workflow: retried_child}
retried_child:
  tasks:
    e: {action: std.fail, retry: {count: 1, delay: 0}, on-error: noop}
"""
    lab.backend.deploy(Definition(book))
    client, costs = lab.backend._client, []
    send = client._send
    asked: list[str] = []

    def sent(method: str, *rest: Any) -> Any:
        asked.append(method)
        return send(method, *rest)

    monkeypatch.setattr(client, "_send", sent)
    for size in (2, 40):
        id = str(uuid.uuid4())
        lab.backend.start(StartRequest(id, "retried_wide", {"size": size}))
        until(lambda: lab.root(id).state is EngineState.SUCCEEDED, 120)  # noqa: B023
        asked.clear()
        root, *children = lab.tree(id)
        costs.append(len(asked))
        assert root.tasks[0].starts == len(children) == size
        assert sorted(each.parent.item for each in children if each.parent) == list(range(size))  # type: ignore[type-var]
        assert [(task.status, task.starts) for each in children for task in each.tasks] == [(E, 2)] * size
    assert costs[0] == costs[1] <= 8


GLOBAL = """
version: '2.0'
publishes_globally:
  tasks:
    g:
      action: std.echo output=5
      publish: {own: 1}
      on-success: {publish: {global: {far: <% task().result + 1 %>}}}
"""


def test_a_task_that_the_engine_fails_to_show_is_read_all_the_same(lab: Lab) -> None:
    lab.backend.deploy(Definition(GLOBAL))
    id = str(uuid.uuid4())
    lab.backend.start(StartRequest(id, "publishes_globally"))
    lab.reaches(id, EngineState.SUCCEEDED)
    (task,) = lab.backend.read(id).tasks
    assert (task.name, task.status, task.result) == ("g", S, 5)
    # Beside something global the engine may keep nothing of what was published to the branch: then it has none to tell.
    assert task.published in ({}, {"own": 1})
