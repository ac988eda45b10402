"""One scenario for each call of the client and for each kind of error that the server gives."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest import mock

import pytest
import yaml

from cassettes.stage import BOOK, LINKS, Hands, Stage
from flowbridge.backend import Definition, StartRequest, Target, TaskRerun
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.model import EngineState, TaskStatus
from flowbridge_mistral.failures import Conflict, Ended, NotErrored

NOBODY = "00000000-0000-4000-8000-000000000000"


def flows(*names: str) -> Definition:
    """A definition of workflows that do nothing."""
    text = "".join(f"{name}:\n  tasks: {{t: {{action: std.noop}}}}\n" for name in names)
    return Definition(f"version: '2.0'\n{text}", "flows.yaml")


def check(stage: Stage) -> None:
    assert "answers and accepts" in stage.backend.check().detail


def validate(stage: Stage) -> None:
    assert stage.backend.validate(flows("other", "main")).workflows == ("main", "other")


def validate_refused(stage: Stage) -> None:
    text = "version: '2.0'\nw:\n  tasks:\n    bad:\n      actin: std.noop\n"
    with pytest.raises(InvalidInput, match="'actin' was unexpected") as caught:
        stage.backend.validate(Definition(text, "w.yaml"))
    assert (caught.value.line, caught.value.column) == (4, 5)


def validate_workbook(stage: Stage) -> None:
    assert "tape.items" in stage.backend.validate(Definition(BOOK)).workflows


def deploy_new(stage: Stage) -> None:
    assert stage.backend.deploy(flows("deployed_once")).workflows == ("deployed_once",)


def deploy_again(stage: Stage) -> None:
    stage.behind(lambda hands: hands.backend.deploy(flows("deployed_twice")))
    assert stage.backend.deploy(flows("deployed_twice")).workflows == ("deployed_twice",)


def deploy_new_beside_known(stage: Stage) -> None:
    stage.behind(lambda hands: hands.backend.deploy(flows("known")))
    assert stage.backend.deploy(flows("known", "new_beside_it")).workflows == ("known", "new_beside_it")


def deploy_workbook(stage: Stage) -> None:
    text = "version: '2.0'\nname: book_of_one\nworkflows:\n  w:\n    tasks: {t: {action: std.noop}}\n"
    assert stage.backend.deploy(Definition(text)).workflows == ("book_of_one.w",)
    assert stage.backend.deploy(Definition(text)).workflows == ("book_of_one.w",)


def deploy_links(stage: Stage) -> None:
    stage.behind(Hands.forget_links)
    assert stage.backend.deploy(Definition(LINKS.replace("away", "first"))).workflows == ("first.one", "first.items")


def deploy_links_again(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    assert stage.backend.deploy(Definition(LINKS)).workflows == ("away.one", "away.items")


def validate_names_of_a_catalog(stage: Stage) -> None:
    text = "version: '2.0'\nw:\n  tasks:\n    a: {action: core.local cmd=date}\n    b: {action: std.noop}\n"
    stage.backend.resolve = lambda name: Target() if name in ("core.local", "std.noop") else None
    assert stage.backend.validate(Definition(text)).workflows == ("w",)
    assert "b: {action: std.noop}" in stage.backend.deployed_text(Definition(text))


def deploy_invalid(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="'actin' was unexpected"):
        stage.backend.deploy(Definition("version: '2.0'\nw: {tasks: {bad: {actin: std.noop}}}\n"))


def conflict(stage: Stage) -> None:
    stage.behind(lambda hands: hands.backend.deploy(flows("there_already")))
    with pytest.raises(Conflict, match=r"[Dd]uplicate"):
        stage.backend._client.text("POST", "workflows", text=flows("there_already").text)


def update_of_what_is_not_there(stage: Stage) -> None:
    with pytest.raises(NotFound, match="never_deployed"):
        stage.backend._client.text("PUT", "workflows", text=flows("never_deployed").text)


def check_name(stage: Stage) -> None:
    stage.behind(lambda hands: hands.backend.deploy(flows("named")))
    stage.backend.check_name("named")
    with pytest.raises(NotFound, match=r"Workflow not found \[workflow_identifier=never_named"):
        stage.backend.check_name("never_named")


def definition(stage: Stage) -> None:
    link = "{with-items: 'i in [1, 2]', action: flowbridge.run target=memory:w}"
    text = f"version: '2.0'\n# as it was written\nshown:\n  tasks:\n    t: {link}\n"

    def deploy(hands: Hands) -> None:
        hands.backend.owner = "tape"
        hands.backend.deploy(Definition(text))
        hands.backend.owner = ""

    stage.behind(deploy)
    stage.backend.owner = "tape"
    shown = stage.backend.definition("no matter", "shown")
    assert shown is not None
    (task,) = yaml.safe_load(shown.text)["shown"]["tasks"].values()
    assert task == {"with-items": "i in [1, 2]", "action": "flowbridge.run", "input": {"target": "memory:w"}}
    assert shown.source == "prod:shown"
    with pytest.raises(NotFound, match="never_shown"):
        stage.backend.definition("no matter", "never_shown")


def start(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    request = StartRequest(stage.id(), "tape.main", {"who": "all"}, {"k": 1})
    assert stage.backend.start(request).id == request.id
    assert stage.backend.start(request).id == request.id
    assert [look.state for look in stage.backend.observe([request.id])[request.id]] == [EngineState.RUNNING] * 2


def start_with_its_definition(stage: Stage) -> None:
    request = StartRequest(stage.id(), "brought_along", definition=flows("brought_along"))
    stage.backend.start(request)
    assert stage.backend.observe([request.id])[request.id][0].state is EngineState.SUCCEEDED


def start_of_an_unknown_workflow(stage: Stage) -> None:
    with pytest.raises(NotFound, match="no_such_workflow"):
        stage.backend.start(StartRequest(stage.id(), "no_such_workflow"))


def start_without_an_input(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    with pytest.raises(InvalidInput, match=r"missing=\['who'\]"):
        stage.backend.start(StartRequest(stage.id(), "tape.inner"))


def observe_nested(stage: Stage) -> None:
    id = stage.started("main")
    root, inner = stage.backend.observe([id])[id]
    assert (root.ref.id, root.workflow, root.state) == (id, "tape.main", EngineState.RUNNING)
    assert inner.parent is not None
    assert (inner.parent.id, inner.parent.item) == (id, None)
    assert inner.tasks[0].running == ("tape.gate",)
    assert stage.backend.observe([inner.ref.id])[inner.ref.id][0].ref.id == id


def observe_items(stage: Stage) -> None:
    id = stage.started("items", "b=ERROR")
    (task,) = stage.backend.observe([id])[id][0].tasks
    assert (task.items, task.starts, task.active) == (3, 3, True)


def observe_children_of_items(stage: Stage) -> None:
    id = stage.started("children")
    _, *children = stage.backend.observe([id])[id]
    assert sorted(child.parent.item for child in children if child.parent) == [0, 1]  # type: ignore[type-var]


def observe_a_waiting_link(stage: Stage) -> None:
    id = stage.started("away.one")
    (link,) = stage.backend.observe([id])[id][0].waiting
    assert (link.target, link.input) == ("elsewhere", {"x": 1})


def observe_links_of_items(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    id = stage.backend.start(StartRequest(stage.id(), "away.items", owner="ours")).id
    (look,) = stage.backend.observe([id])[id]
    assert sorted((link.target, link.item, link.owner) for link in look.waiting) == [("a", 0, "ours"), ("a", 1, "ours")]
    assert (look.tasks[0].active, look.tasks[0].running) == (False, ())


def observe_gone(stage: Stage) -> None:
    assert stage.backend.observe([NOBODY]) == {}


def read(stage: Stage) -> None:
    id = stage.started("main", "subtask1", who="all")
    found = stage.backend.read(id)
    assert (found.input, found.output) == ({"who": "all"}, {"said": "all"})
    assert {task.name: task.status for task in found.tasks} == dict.fromkeys(("task1", "after"), TaskStatus.SUCCEEDED)


def read_items(stage: Stage) -> None:
    id = stage.started("items", "a", "b=ERROR", "c")
    (task,) = stage.backend.read(id).tasks
    assert [(item.index, item.status, item.result) for item in task.items or ()] == [
        (0, TaskStatus.SUCCEEDED, {"of": "a"}),
        (1, TaskStatus.ERRORED, {"of": "b"}),
        (2, TaskStatus.SUCCEEDED, {"of": "c"}),
    ]


def read_items_that_succeeded(stage: Stage) -> None:
    id = stage.started("items", "a", "b", "c")
    (task,) = stage.backend.read(id).tasks
    assert [(item.index, item.status, item.result) for item in task.items or ()] == [
        (index, TaskStatus.SUCCEEDED, {"of": name}) for index, name in enumerate("abc")
    ]


def read_what_runs(stage: Stage) -> None:
    id = stage.started("main", who="all")
    found = stage.backend.read(id)
    assert (found.input, found.output) == ({"who": "all"}, None)
    assert [(task.name, task.status, task.result) for task in found.tasks] == [("task1", TaskStatus.RUNNING, None)]


def read_no_task(stage: Stage) -> None:
    id = stage.started("main", "subtask1", who="all")
    found = stage.backend.read(id, ())
    assert (found.input, found.output, found.tasks) == ({"who": "all"}, {"said": "all"}, ())


def read_children_of_items(stage: Stage) -> None:
    id = stage.started("children")
    (task,) = stage.backend.read(id, [stage.task(id, "each").id]).tasks
    assert [item.status for item in task.items or ()] == [TaskStatus.RUNNING] * 2


def read_gone(stage: Stage) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        stage.backend.read(NOBODY)


def pause(stage: Stage) -> None:
    id = stage.started("main")
    stage.backend.pause(id)
    stage.backend.pause(id)
    assert [look.raw for look in stage.backend.observe([id])[id]] == ["PAUSED"] * 2


def pause_of_a_finished_one(stage: Stage) -> None:
    id = stage.started("main", "subtask1")
    with pytest.raises(EngineRefused, match=r"refused \(400\)"):
        stage.backend.pause(id)


def pause_of_an_unknown_one(stage: Stage) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        stage.backend.pause(NOBODY)


def resume(stage: Stage) -> None:
    id = stage.started("main")
    stage.behind(lambda hands: hands.put(id, "PAUSED"))
    before = stage.backend.observe([id])[id][0]
    stage.behind(Hands.new_second)
    stage.backend.resume(id, before.revision)
    after = stage.backend.observe([id])[id]
    assert [look.raw for look in after] == ["RUNNING"] * 2
    assert after[0].revision != before.revision


def resume_of_a_finished_one(stage: Stage) -> None:
    id = stage.started("main", "subtask1")
    stage.backend.resume(id, "")
    assert stage.backend.observe([id])[id][0].state is EngineState.SUCCEEDED


def cancel(stage: Stage) -> None:
    id = stage.started("main")
    stage.backend.cancel(id)
    stage.backend.cancel(id)
    root, inner = stage.backend.observe([id])[id]
    assert (root.raw, inner.raw, inner.tasks[0].active) == ("CANCELLED", "CANCELLED", True)


def cancel_of_a_finished_one(stage: Stage) -> None:
    id = stage.started("main", "subtask1")
    stage.backend.cancel(id)
    assert stage.backend.observe([id])[id][0].state is EngineState.SUCCEEDED


def rerun_task(stage: Stage) -> None:
    id = stage.started("main", "subtask1=ERROR")
    task = stage.task(id, "subtask1")
    stage.backend.rerun(id, [TaskRerun(task.id)])
    assert [look.raw for look in stage.backend.observe([id])[id]] == ["RUNNING"] * 2
    assert stage.task(id, "subtask1").starts == task.starts + 1


def rerun_failed_items(stage: Stage) -> None:
    id = stage.started("items", "a", "b=ERROR", "c=ERROR")
    stage.backend.rerun(id, [TaskRerun(stage.task(id, "each").id, reset=False)])
    assert stage.task(id, "each").starts == 5


def rerun_of_a_task_not_errored(stage: Stage) -> None:
    id = stage.started("main")
    task = stage.task(id, "subtask1").id
    with pytest.raises(NotErrored):
        stage.backend._client.put("tasks", task, body={"state": "RUNNING", "reset": True}, repeatable=False)
    stage.backend.rerun(id, [TaskRerun(task)])
    assert stage.task(id, "subtask1").starts == 1


def rerun_of_failed_items_of_a_task_without_items(stage: Stage) -> None:
    id = stage.started("skippable", "first=ERROR")
    with pytest.raises(EngineRefused, match=r"refused \(400\)"):
        stage.backend.rerun(id, [TaskRerun(stage.task(id, "first").id, reset=False)])


def rerun_of_an_unknown_task(stage: Stage) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        stage.backend.rerun(NOBODY, [TaskRerun(NOBODY)])


def skip_task(stage: Stage) -> None:
    id = stage.started("skippable", "first=ERROR")
    stage.backend.skip(id, [stage.task(id, "first").id])
    assert stage.task(id, "first").status is TaskStatus.SKIPPED
    assert stage.task(id, "after").status is TaskStatus.SUCCEEDED


def skip_of_a_task_not_errored(stage: Stage) -> None:
    id = stage.started("skippable")
    task = stage.task(id, "first").id
    stage.backend.skip(id, [task])
    assert stage.task(id, "first").status is TaskStatus.RUNNING


def report(stage: Stage) -> None:
    id = stage.started("away.one")
    (link,) = stage.backend.observe([id])[id][0].waiting
    stage.backend.report(id, link.key, TaskStatus.SUCCEEDED, "done")
    assert stage.backend.observe([id])[id][0].state is EngineState.SUCCEEDED


def report_to_an_ended_action(stage: Stage) -> None:
    id = stage.started("away.one")
    (link,) = stage.backend.observe([id])[id][0].waiting
    stage.end(id, "elsewhere")
    with pytest.raises(Ended, match="already completed"):
        stage.backend._client.put("action_executions", link.key, body={"state": "SUCCESS"}, repeatable=False)
    stage.backend.report(id, link.key, TaskStatus.ERRORED, None)
    assert stage.backend.observe([id])[id][0].state is EngineState.SUCCEEDED


def report_to_an_unknown_action(stage: Stage) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        stage.backend.report(NOBODY, NOBODY, TaskStatus.SUCCEEDED, None)


def report_what_is_no_object(stage: Stage) -> None:
    id = stage.started("away.one")
    (link,) = stage.backend.observe([id])[id][0].waiting
    stage.backend.report(id, link.key, TaskStatus.SUCCEEDED, [1, {"two": 3}])
    assert stage.backend.read(id).tasks[0].result == [1, {"two": 3}]


def read_links_of_items(stage: Stage) -> None:
    id = stage.started("away.items")
    for link in stage.backend.observe([id])[id][0].waiting:
        status = TaskStatus.ERRORED if link.item else TaskStatus.SUCCEEDED
        stage.backend.report(id, link.key, status, {"same": "for both"})
    (task,) = stage.backend.read(id).tasks
    statuses = [(item.index, item.status) for item in task.items or ()]
    assert statuses == [(0, TaskStatus.SUCCEEDED), (1, TaskStatus.ERRORED)]


def list_roots(stage: Stage) -> None:
    first = stage.started("main")
    stage.behind(Hands.new_second)
    second = stage.started("skippable")
    assert [each.ref.id for each in stage.backend.list_executions(limit=2)] == [second, first]


def list_by_state(stage: Stage) -> None:
    id = stage.started("main")
    stage.behind(lambda hands: hands.put(id, "PAUSED"))
    assert [each.ref.id for each in stage.backend.list_executions(limit=1, state="paused")] == [id]


def list_in_pages(stage: Stage) -> None:
    for _ in range(3):
        stage.started("skippable")
    with mock.patch("flowbridge_mistral.client.PAGE", 1):
        listed = [each.ref.id for each in stage.backend.list_executions(limit=3)]
    assert len(set(listed)) == 3


def glance(stage: Stage) -> None:
    runs, paused, over = stage.started("main"), stage.started("main"), stage.started("main", "subtask1")
    stage.behind(lambda hands: hands.put(paused, "PAUSED"))
    with mock.patch("flowbridge_mistral.backend.GLANCE", 3):
        assert stage.backend.glance([runs, paused, over]) == {runs: "RUNNING", paused: "PAUSED"}


def observe_what_has_no_report(stage: Stage) -> None:
    id = stage.started("trouble.retried")
    root, *children = stage.backend.observe([id])[id]
    assert (root.state, root.tasks[0].starts) == (EngineState.SUCCEEDED, 2)
    assert sorted(child.parent.item for child in children if child.parent) == [0, 1]  # type: ignore[type-var]
    assert [[(task.name, task.starts) for task in child.tasks] for child in children] == [[("again", 1)]] * 2


def read_a_task_that_the_engine_fails_to_show(stage: Stage) -> None:
    id = stage.started("trouble.global", "told")
    (task,) = stage.backend.read(id).tasks
    assert (task.name, task.status, task.result) == ("told", TaskStatus.SUCCEEDED, {"of": "told"})


def joins_behind(stage: Stage) -> None:
    stage.behind(Hands.deploy)
    found = stage.backend.joins_behind(["trouble.fork", "tape.main", "no.such"])
    assert found == {"trouble.fork": {"one": {"both"}, "two": {"both"}}, "tape.main": {}}


def slipped(stage: Stage) -> str:
    """A workflow whose join ran during a pause, and waits again since its resume."""
    id = stage.id()
    stage.behind(Hands.deploy)
    stage.behind(lambda hands: hands.slip(id))
    return id


def forgotten(stage: Stage) -> str:
    """A workflow whose join came into being with the resume, because all before it ended during a pause."""
    id = stage.started("trouble.fork")
    stage.behind(lambda hands: hands.put(id, "PAUSED"))
    stage.end(id, "one")
    stage.end(id, "two")
    stage.behind(lambda hands: hands.put(id, "RUNNING"))
    return id


def quiet() -> AbstractContextManager[object]:
    """Nothing counts as too fresh to be hung."""
    return mock.patch("flowbridge_mistral.observe.QUIET_SECONDS", float("-inf"))


def end_hung(stage: Stage) -> None:
    id = slipped(stage)
    with quiet():
        stage.backend.end_hung(id)
    assert stage.backend.observe([id])[id][0].state is EngineState.SUCCEEDED


def end_hung_of_what_never_ran(stage: Stage) -> None:
    id = forgotten(stage)
    with quiet(), pytest.raises(EngineRefused, match="both never ran; nothing was written"):
        stage.backend.end_hung(id)


def end_hung_of_a_sound_one(stage: Stage) -> None:
    id = stage.started("trouble.fork", "one")
    with quiet(), pytest.raises(EngineRefused, match="not hung any more"):
        stage.backend.end_hung(id)


def an_id_that_is_none(stage: Stage) -> None:
    assert stage.backend.observe(["no id at all"]) == {}


CALLS = {
    scenario.__name__: scenario
    for scenario in list(globals().values())
    if callable(scenario) and getattr(scenario, "__module__", "") == __name__
    if scenario not in (flows, slipped, forgotten, quiet)
}
