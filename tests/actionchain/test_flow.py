"""How a chain goes on, and what its tasks are given: what StackStorm's chain runner does, and where it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import Failed, World, chain_of, given_to, pack
from actionchain.runkit import Shop
from flowbridge.errors import InvalidInput
from flowbridge.model import Status, TaskStatus

ACTIONS = {
    "any": {
        "runner_type": "noop",
        "parameters": {name: {"type": ["string", "object"]} for name in ("p1", "p2", "p3", "out")},
    },
    "typed": {
        "runner_type": "noop",
        "parameters": {
            f"{kind}type": {"type": kind} for kind in ("array", "boolean", "integer", "number", "object", "string")
        },
    },
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    packs = pack(tmp_path, "den", ACTIONS)
    stores = {"system": {"a": {"text": "1"}, "a.b.c": {"text": "two"}}, "user": {}}
    return World(
        tmp_path,
        packs,
        plays={"den.any": lambda given: {"o1": "1"}, "den.typed": lambda given: {"raw": "out"}},
        stores=stores,
    )


def task(name: str, ref: str = "den.any", *, then: str = "", otherwise: str = "", **more: Any) -> dict[str, Any]:
    found = {"name": name, "ref": ref, **more}
    return found | ({"on-success": then} if then else {}) | ({"on-failure": otherwise} if otherwise else {})


FOUR = [
    task("c1", then="c2", otherwise="c4"),
    task("c2", then="c3", otherwise="c4"),
    task("c3", otherwise="c4"),
    task("c4"),
]


def fails(given: Any) -> Any:
    raise Failed({"why": "because"})


def test_a_chain_goes_on_on_a_ledger_that_others_write_to_all_the_time(world: World) -> None:
    world.do("start", workflow="chain", input={}, definition=chain_of(*FOUR, default="c1"), source="chain.yaml")
    for _ in range(20):
        world.session.advance(until=lambda: True)
    assert world.state() == "succeeded"


def test_a_chain_takes_its_way_of_success_and_ends_behind_the_last_task(world: World) -> None:
    world.start(text=chain_of(*FOUR, default="c1"))
    assert world.state() == "succeeded"
    assert world.statuses() == [("c1", "succeeded"), ("c2", "succeeded"), ("c3", "succeeded")]


def test_a_failure_with_a_way_out_goes_there_and_the_last_task_decides(world: World) -> None:
    world.stage.plays["den.any"] = fails
    world.start(text=chain_of(*FOUR))
    assert world.state() == "errored"
    assert world.statuses() == [("c1", "errored"), ("c4", "errored")]


def test_a_failure_that_was_handled_ends_the_chain_succeeded(world: World) -> None:
    world.stage.plays["den.any"] = fails
    world.start(text=chain_of(task("c1", otherwise="c2"), task("c2", "den.typed")))
    assert (world.state(), world.look().error) == ("succeeded", "")


def test_without_a_default_it_begins_with_the_first_task_that_no_other_leads_to(world: World) -> None:
    world.start(text=chain_of(task("c2", then="c3"), task("c1", then="c2"), task("c3")))
    assert [name for name, _ in world.statuses()] == ["c1", "c2", "c3"]


def test_of_several_such_the_first_is_taken(world: World) -> None:
    world.start(text=chain_of(task("c1", then="c2"), task("c2"), task("c3")))
    assert [name for name, _ in world.statuses()] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (chain_of(*FOUR, default="nope"), "'default' names task 'nope'"),
        (chain_of(task("c1", then="c5")), "'on-success' of task 'c1' names task 'c5'"),
        (chain_of(task("c1", otherwise="c6")), "'on-failure' of task 'c1' names task 'c6'"),
        (chain_of({"action": "a1"}), "unknown key 'action'"),
        (chain_of({"name": "c1"}), "a task needs 'ref'"),
        (chain_of(), "at least one task"),
        (chain_of(task("c1", params={"p1": 1}, parameters={"p2": 2})), "both 'params' and 'parameters'"),
        (chain_of(task("c1", parameters=["p1"])), "'parameters' must be a mapping"),
        (chain_of(task("c1", publish={"a-b": 1})), "'a-b' cannot be a variable"),
        (chain_of(task("c1", notify={"on-sucess": {}})), "unknown key 'on-sucess'"),
        ("chain: [{name: 1, ref: den.any}]", "'name' must be text"),
        ("- chain", "a chain must be a mapping"),
    ],
)
def test_what_is_wrong_with_a_chain_is_told_with_its_line_before_anything_runs(
    world: World, text: str, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        world.start(text=text)
    assert caught.value.line == 1
    assert world.session.look() == ()
    assert world.stage.started == []


def test_parameters_come_from_the_input_earlier_results_and_all_of_them(world: World) -> None:
    world.start(
        text=chain_of(
            task("c1", then="c2", parameters={"p1": "{{s1}}"}),
            task("c2", then="c3", parameters={"p1": "{{c1.o1}}"}),
            task("c3", parameters={"p1": "{{c1.o1}}", "p2": "{{c2.o1}}", "p3": "{{s1}}", "out": "{{__results}}"}),
        ),
        s1=1,
    )
    given = given_to(world.stage.calls, "den.any")
    assert given[:2] == [{"p1": "1"}, {"p1": "1"}]
    assert given[2] == {"p1": "1", "p2": "1", "p3": "1", "out": "{'c1': {'o1': '1'}, 'c2': {'o1': '1'}}"}


def test_templates_give_text_which_the_metadata_of_the_action_makes_numbers_and_data(world: World) -> None:
    world.start(
        text=chain_of(
            task(
                "c1",
                "den.typed",
                parameters={
                    "booleantype": True,
                    "integertype": "{{s1}}",
                    "numbertype": "{{s3}}",
                    "stringtype": "{{s2}}",
                    "arraytype": ["{{s1}}", "{{s2}}"],
                    "objecttype": {"k1": "{{s1}}", "s2": "{{s2}}"},
                },
            )
        ),
        s1=1,
        s2="two",
        s3=3.14,
    )
    assert given_to(world.stage.calls, "den.typed") == [
        {
            "booleantype": True,
            "integertype": 1,
            "numbertype": 3.14,
            "stringtype": "two",
            "arraytype": ["1", "two"],
            "objecttype": {"k1": "1", "s2": "two"},
        }
    ]


def test_text_that_is_written_into_lists_and_mappings(world: World) -> None:
    world.start(
        text=chain_of(task("c1", parameters={"p1": "[{{s2}}, {{s3}}, {{s4}}]", "p2": {"p1.3": "[{{s3}}, {{s4}}]"}})),
        s2=2,
        s3=3,
        s4=4,
    )
    assert given_to(world.stage.calls, "den.any") == [{"p1": "[2, 3, 4]", "p2": {"p1.3": "[3, 4]"}}]


def test_a_value_that_names_a_whole_result_reaches_a_parameter_that_is_an_object_or_a_list(world: World) -> None:
    world.stage.plays["den.any"] = lambda given: {"data": {"a": None, "b": [True, "it's"]}}
    world.start(
        text=chain_of(
            task("c1", then="c2"),
            task("c2", "den.typed", parameters={"objecttype": "{{ c1.data }}", "arraytype": "{{ c1.data.b }}"}),
        )
    )
    assert given_to(world.stage.calls, "den.typed") == [
        {"objecttype": {"a": None, "b": [True, "it's"]}, "arraytype": [True, "it's"]}
    ]


def test_vars_may_name_the_input_and_the_datastore_and_keep_their_types(world: World) -> None:
    world.start(
        text=chain_of(
            task(
                "c1",
                "den.typed",
                parameters={"integertype": "{{n}}", "stringtype": "{{s}} {{t}} {{st2kv.system.a.b.c}}"},
            ),
            vars={"n": 1, "s": "{{input_a}}", "t": "{{st2kv.system.a}}"},
        ),
        input_a="two",
    )
    assert given_to(world.stage.calls, "den.typed") == [{"integertype": 1, "stringtype": "two 1 two"}]


def test_what_is_published_is_there_for_later_tasks_and_in_the_result(world: World) -> None:
    world.start(
        text=chain_of(
            task("c1", "den.typed", then="c2", publish={"o1": "{{c1.raw}}", "p": "{{ s1 }}", "last": "first"}),
            task("c2", parameters={"p1": "{{o1}}", "p2": "{{p}}"}, publish={"last": "last"}),
        ),
        s1="test value",
    )
    assert given_to(world.stage.calls, "den.any") == [{"p1": "out", "p2": "test value"}]
    assert world.output()["published"] == {"o1": "out", "p": "test value", "last": "last"}


def test_the_result_has_the_shape_that_StackStorm_gives(world: World) -> None:
    world.start(text=chain_of(task("c1", publish={"x": 1})))
    output = world.output()
    (one,) = output["tasks"]
    assert set(output) == {"tasks", "published"}
    assert set(one) == {"id", "name", "execution_id", "workflow", "created_at", "updated_at", "state", "result"}
    assert (one["id"], one["name"], one["state"], one["result"]) == ("c1", "c1", "succeeded", {"o1": "1"})


def test_parameters_that_cannot_be_told_end_the_chain_before_the_task_runs(world: World) -> None:
    world.start(
        text=chain_of(
            task("c1", then="c2", otherwise="c3"), task("c2", otherwise="c3", parameters={"p1": "{{s1}}"}), task("c3")
        )
    )
    output = world.output()
    assert world.state() == "errored"
    assert [one["name"] for one in output["tasks"]] == ["c1"]
    assert "task 'c2': parameter 'p1' cannot be told: 's1' is undefined ({{s1}})" in output["error"]
    assert "chain.yaml:1" in output["error"]
    assert output["traceback"]
    assert len(world.stage.started) == 1


def test_something_published_that_cannot_be_told_ends_the_chain(world: World) -> None:
    world.start(text=chain_of(task("c1", then="c2", otherwise="c2", publish={"p1": "{{ nope }}"}), task("c2")))
    assert world.state() == "errored"
    assert "task 'c1': published 'p1' cannot be told: 'nope' is undefined ({{ nope }})" in world.output()["error"]
    assert len(world.stage.started) == 1


def test_where_a_failed_task_cannot_publish_the_chain_tells_of_the_failure_too(world: World) -> None:
    world.stage.plays["den.any"] = fails
    world.start(text=chain_of(task("c1", publish={"p": "{{ c1.raw }}"})))
    assert "published 'p' cannot be told" in world.output()["error"]
    assert world.output()["error"].endswith("; the task had failed: it failed")


def test_vars_that_cannot_be_told_end_the_chain_before_anything_runs(world: World) -> None:
    world.start(text=chain_of(task("c1"), vars={"v": "{{ nope }}"}))
    assert (world.state(), world.stage.started) == ("errored", [])
    assert "vars cannot be told: 'nope' is undefined" in world.output()["error"]


def test_an_action_that_is_nowhere_ends_the_chain_when_its_turn_comes(world: World) -> None:
    world.start(text=chain_of(task("c1", then="c2"), task("c2", "den.nyy", otherwise="c1")))
    assert world.state() == "errored"
    assert world.statuses() == [("c1", "succeeded"), ("c2", "errored")]
    assert "there is no action 'den.nyy'; did you mean den.any" in world.output()["error"]
    assert [one["name"] for one in world.output()["tasks"]] == ["c1"]


def test_a_value_that_cannot_be_cast_ends_the_chain(world: World) -> None:
    world.start(text=chain_of(task("c1", "den.typed", otherwise="c2", parameters={"arraytype": "no list"}), task("c2")))
    assert (world.state(), world.stage.started) == ("errored", [])
    assert "den.typed: the parameter 'arraytype' must be of type array, and 'no list' is not" in world.output()["error"]


def test_parameters_that_the_action_does_not_accept_are_the_failure_of_the_task(world: World) -> None:
    world.start(
        text=chain_of(task("c1", otherwise="c2", parameters={"p9": 1}), task("c2", parameters={"p1": "{{c1.error}}"}))
    )
    assert world.state() == "succeeded"
    assert world.statuses() == [("c1", "errored"), ("c2", "succeeded")]
    (given,) = given_to(world.stage.calls, "den.any")
    assert "den.any has no parameter 'p9'" in given["p1"]


def test_a_task_whose_action_never_began_publishes_nothing_and_takes_its_way(world: World) -> None:
    world.start(
        text=chain_of(task("c1", otherwise="c2", parameters={"p9": 1}, publish={"x": "{{ c1.stdout }}"}), task("c2"))
    )
    assert world.statuses() == [("c1", "errored"), ("c2", "succeeded")]
    assert (world.state(), world.output()["published"]) == ("succeeded", {})


def test_a_runner_type_that_is_not_run_here_is_refused_by_name(world: World) -> None:
    pack(world.folder, "den", {"far": {"runner_type": "remote-shell-cmd"}})
    world.start(text=chain_of(task("c1", "den.far")))
    assert world.state() == "errored"
    assert "remote-shell-cmd" in world.output()["error"]


def test_a_disabled_action_is_the_failure_of_its_task(world: World) -> None:
    pack(world.folder, "den", {"off": {"runner_type": "noop", "enabled": False}})
    world.start(text=chain_of(task("c1", "den.off", otherwise="c2"), task("c2")))
    assert world.statuses() == [("c1", "errored"), ("c2", "succeeded")]


def test_a_chain_may_loop_and_sees_its_own_last_result(world: World) -> None:
    world.stage.plays["den.any"] = lambda given: {"n": int(given.get("p1") or 0) + 1}
    world.stage.plays["den.typed"] = lambda given: {} if given["integertype"] < 3 else fails(given)
    page = "{% if more is defined %}{{ fetch.n }}{% endif %}"
    world.start(
        text=chain_of(
            task("fetch", parameters={"p1": page}, then="more"),
            task("more", "den.typed", parameters={"integertype": "{{ fetch.n }}"}, then="fetch", otherwise="done"),
            task("done"),
        )
    )
    assert [name for name, _ in world.statuses()] == ["fetch", "more"] * 3 + ["done"]
    assert len({task.id for task in world.look().tasks}) == 7


def test_a_bound_on_the_tasks_stops_a_loop(tmp_path: Path) -> None:
    world = World(tmp_path, pack(tmp_path, "den", ACTIONS), plays={"den.any": lambda given: {}}, max_steps=5)
    world.start(text=chain_of(task("c1", then="c1")))
    assert (world.state(), len(world.stage.started)) == ("errored", 5)
    assert "max_steps" in world.output()["error"]


def test_a_template_may_say_where_it_goes(world: World) -> None:
    text = chain_of(task("c1", then="c{{ 1 + 1 }}"), task("c2", then="{{ nothing }}"), task("c3"), vars={"nothing": ""})
    world.start(text=text)
    assert (world.state(), [name for name, _ in world.statuses()]) == ("succeeded", ["c1", "c2"])


def test_the_default_may_be_a_template_too(world: World) -> None:
    tasks = [task("c1"), task("c2")]
    world.start(text=chain_of(*tasks, default="{{ which }}"), which="c2")
    assert [name for name, _ in world.statuses()] == ["c2"]
    wrong = World(world.folder, *world.packs)
    wrong.start(text=chain_of(*tasks, default="{{ which }}"), which="c9")
    assert (wrong.state(), wrong.statuses()) == ("errored", [])
    assert "default gives 'c9', which is no task" in wrong.output()["error"]


def test_a_template_that_leads_nowhere_is_the_chain_s_own_error(world: World) -> None:
    world.start(text=chain_of(task("c1", then="{{ where }}"), task("c2"), vars={"where": "c9"}))
    assert world.state() == "errored"
    assert "on-success of task 'c1' gives 'c9', which is no task; there is: c1, c2" in world.output()["error"]


WHERE = " ".join(f"{{{{action_context.parent.{name}}}}}" for name in ("execution_id", "user", "pack"))
WHERE += " {{config_context.color}}"


def test_the_context_and_the_configuration_of_the_pack_can_be_named(tmp_path: Path) -> None:
    packs = pack(
        tmp_path,
        "den",
        ACTIONS | {"flow": {"runner_type": "action-chain", "entry_point": "chains/flow.yaml"}},
        {
            "flow": {
                "chain": [
                    task(
                        "c1",
                        parameters={"p1": WHERE},
                    )
                ]
            }
        },
    )
    (packs / "den" / "config.yaml").write_text("color: red\n")
    world = World(tmp_path, packs, plays={"den.any": lambda given: {}})
    world.start("den.flow")
    assert given_to(world.stage.calls, "den.any") == [{"p1": "root ada den red"}]


def test_a_chain_of_a_pack_takes_what_its_metadata_says(tmp_path: Path) -> None:
    parameters = {"who": {"type": "string", "required": True}, "n": {"type": "integer", "default": 3}}
    packs = pack(
        tmp_path,
        "den",
        ACTIONS
        | {"flow": {"runner_type": "action-chain", "entry_point": "chains/flow.yaml", "parameters": parameters}},
        {"flow": {"chain": [task("c1", parameters={"p1": "{{who}} {{n}}"}, publish={"x": 1})]}},
    )
    world = World(tmp_path, packs, plays={"den.any": lambda given: {}})
    for wrong, why in (
        ({}, "'who' is required"),
        ({"who": "x", "what": 1}, "no parameter 'what'"),
        ({"who": "x", "n": "y"}, "'n' must be an integer"),
    ):
        with pytest.raises(InvalidInput, match=why):
            world.start("den.flow", **wrong)
    world.start("den.flow", who="ada", n="4", display_published=False)
    assert given_to(world.stage.calls, "den.any") == [{"p1": "ada 4"}]
    assert set(world.output()) == {"tasks"}


def test_a_parameter_that_nobody_gave_is_none_in_a_chain_and_below_it(tmp_path: Path) -> None:
    optional = {"who": {"type": "string"}, "key": {"type": "string", "secret": True, "default": None}}
    flow = {"runner_type": "action-chain", "entry_point": "chains/flow.yaml", "parameters": optional}
    under = {"runner_type": "action-chain", "entry_point": "chains/under.yaml", "parameters": optional}
    packs = pack(
        tmp_path,
        "den",
        ACTIONS | {"flow": flow, "under": under},
        {
            "flow": {"chain": [task("c1", "den.under", then="c2"), task("c2", parameters={"p1": "{{ who }}"})]},
            "under": {"chain": [task("c1", parameters={"p1": "{% if key %}locked{% else %}open{% endif %}"})]},
        },
    )
    world = World(tmp_path, packs, plays={"den.any": lambda given: {}})
    world.start("den.flow")
    assert world.state() == "succeeded"
    assert given_to(world.stage.calls, "den.any") == [{"p1": "open"}, {"p1": "None"}]


def test_one_action_is_an_execution_with_one_task(world: World) -> None:
    world.start("den.any", p1="{{ as it is }}")
    assert (world.state(), world.output()) == ("succeeded", {"o1": "1"})
    assert world.statuses() == [("any", "succeeded")]
    assert given_to(world.stage.calls, "den.any") == [{"p1": "{{ as it is }}"}]


def test_values_keep_their_types_where_the_backend_is_told_so(tmp_path: Path) -> None:
    world = World(
        tmp_path, pack(tmp_path, "den", ACTIONS), plays={"den.any": lambda given: {"n": 5, "l": [1]}}, native=True
    )
    world.start(
        text=chain_of(
            task("c1", then="c2", publish={"n": "{{ c1.n }}", "l": "{{ c1.l }}"}),
            task("c2", parameters={"p1": "{{ n + 1 }}", "p2": {"l": "{{ l }}"}, "p3": "{{ n }}."}),
        )
    )
    assert given_to(world.stage.calls, "den.any")[1] == {"p1": 6, "p2": {"l": [1]}, "p3": "5."}


def test_a_linked_task_waits_for_a_report_and_has_its_result(world: World) -> None:
    world.start(
        text=chain_of(
            task("c1", "flowbridge.run", parameters={"target": "prod:x", "input": {"n": "{{ n }}"}}, then="c2"),
            task("c2", parameters={"p1": "{{ c1.o }}"}),
        ),
        n=1,
    )
    (waiting,) = world.look().waiting
    assert (waiting.target, dict(waiting.input), waiting.task) == ("prod:x", {"n": "1"}, world.tasks()["c1"].id)
    world.do("report", key=waiting.key, status="succeeded", result={"o": "there"})
    world.go()
    assert given_to(world.stage.calls, "den.any") == [{"p1": "there"}]
    assert world.tasks()["c1"].status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"execution": "x", "error": "prod has no workflow x"}, "prod has no workflow x"),
        ("no such host", "no such host"),
        (None, "The action was reported errored."),
    ],
)
def test_the_error_of_a_linked_task_is_what_its_report_says_went_wrong(world: World, result: Any, error: str) -> None:
    world.start(text=chain_of(task("c1", "flowbridge.run", parameters={"target": "prod:x"})))
    (waiting,) = world.look().waiting
    world.do("report", key=waiting.key, status="errored", result=result)
    world.go()
    assert world.tasks()["c1"].error == error
    assert world.look().error == error


WORKFLOW = {
    "runner_type": "mistral-v2",
    "entry_point": "workflows/told.yaml",
    "parameters": {
        "n": {"type": "integer", "default": 3, "enum": [3, 4]},
        "token": {"type": "string", "secret": True},
        "context": {"default": {"region": "eu"}},
    },
}


def test_what_the_runner_of_a_workflow_takes_goes_beside_the_input_of_the_workflow(tmp_path: Path) -> None:
    world = World(tmp_path, pack(tmp_path, "den", {"told": WORKFLOW}, {"../workflows/told": ""}))
    asked = {"task": "b", "workflow": "told", "skip_notify": ["a"], "n": "{{ n }}"}
    world.start(text=chain_of(task("c1", "den.told", parameters=asked)), n=4)
    world.move_house()
    (waiting,) = world.look().waiting
    given: dict[str, Any] = {"n": 4, "context": {"region": "eu"}, "skip_notify": ["a"]}
    assert (waiting.target, dict(waiting.input), dict(waiting.env)) == ("den.told", given, {})
    assert (waiting.workflow, waiting.task_name) == ("told", "b")


def test_a_secret_in_the_context_of_a_workflow_is_not_handed_on(tmp_path: Path) -> None:
    secret = {"runner_type": "action-chain", "entry_point": "chains/c.yaml", "parameters": {"k": {"secret": True}}}
    over = {"chain": [task("c1", "den.told", parameters={"context": {"a": "{{ k }}"}})]}
    world = World(
        tmp_path, pack(tmp_path, "den", {"told": WORKFLOW, "c": secret}, {"c": over, "../workflows/told": ""})
    )
    world.start("den.c", k="xyzzy-42")
    assert world.state() == "errored"
    assert "there is a secret in context;" in world.output()["error"]
    assert "xyzzy-42" not in str(world.rows)


def test_a_chain_calls_a_workflow_of_a_pack(shop: Shop) -> None:
    pack(shop.folder, "den", {"told": WORKFLOW})
    place = shop.packs / "den" / "actions" / "workflows"
    place.mkdir()
    (place / "told.yaml").write_text(
        "version: '2.0'\n"
        "told:\n"
        "  type: reverse\n"
        "  input: [n, token, region]\n"
        "  output: {a: <% task(a).result %>}\n"
        "  tasks:\n"
        "    a: {action: std.echo, input: {output: '<% $.region %> <% $.n %> <% $.token %>'}}\n"
        "    b: {action: std.fail, requires: [a]}\n"
    )
    id = shop.run(chain_of(task("c1", "den.told", parameters={"task": "a", "context": {"region": "us"}})))
    look = shop.bridge.wait(id, timeout=60)
    assert look.record.status is Status.SUCCEEDED
    assert [node.record.ref.backend for node in look.snapshot.nodes] == ["actionchain", "memory"]
    assert shop.output(id)["tasks"][0]["result"] == {"a": "us 3 None"}


def test_a_configuration_that_is_broken_is_the_chain_s_own_error(tmp_path: Path) -> None:
    flow = {"runner_type": "action-chain", "entry_point": "chains/flow.yaml"}
    chain = {"chain": [task("c1", then="c2", publish={"x": "{{ config_context.color }}"}), task("c2")]}
    packs = pack(tmp_path, "den", ACTIONS | {"flow": flow}, {"flow": chain})
    (packs / "den" / "config.yaml").write_text("- no mapping\n")
    world = World(tmp_path, packs, plays={"den.any": lambda given: {}})
    world.start("den.flow")
    assert world.state() == "errored"
    assert "config.yaml" in world.output()["error"]


def test_a_lost_key_of_secrets_ends_the_chain_with_an_error(tmp_path: Path) -> None:
    secret = {"runner_type": "action-chain", "entry_point": "chains/flow.yaml", "parameters": {"k": {"secret": True}}}
    chain = {"chain": [task("c1", then="c2"), task("c2", parameters={"p1": "{{ k }}"})]}
    world = World(tmp_path, pack(tmp_path, "den", ACTIONS | {"flow": secret}, {"flow": chain}))
    world.start("den.flow", k="xyzzy")
    (tmp_path / "vault.key").unlink()
    world.move_house()
    world.finish({})
    assert world.state() == "errored"
    assert "vault.key" in world.output()["error"]


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ({"runner_type": "orquesta", "entry_point": "workflows/x.yaml"}, "runner type 'orquesta'"),
        ({"runner_type": "noop", "enabled": False}, "disabled by its pack"),
    ],
)
def test_a_chain_with_an_action_that_is_not_run_here_is_refused_before_anything_runs(
    shop: Shop, action: dict[str, Any], why: str
) -> None:
    pack(shop.folder, "den", {"never": action})
    trace = shop.folder / "trace"
    first = task("one", "core.local", then="two", parameters={"cmd": f"touch {trace}"})
    with pytest.raises(InvalidInput, match=f"chain.yaml:.*task 'two': .*{why}"):
        shop.run(chain_of(first, task("two", "den.never")))
    assert not trace.exists()
