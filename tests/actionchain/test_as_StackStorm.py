"""What StackStorm's own examples and tests of chains show, with real commands and chains of our own.

Each test stands for one or more of the chains that StackStorm ships, as an example or to test its chain runner.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import chain_of, pack
from actionchain.runkit import Gate, Shop
from flowbridge.errors import InvalidInput
from flowbridge.model import Status, TaskStatus


def command(name: str, cmd: str, *, then: str = "", otherwise: str = "", **more: Any) -> dict[str, Any]:
    """A task that runs a shell command."""
    found = {"name": name, "ref": "core.local", "parameters": {"cmd": cmd, "timeout": 180}, **more}
    return found | ({"on-success": then} if then else {}) | ({"on-failure": otherwise} if otherwise else {})


def said(output: Any) -> list[str]:
    """What each task wrote."""
    return [task["result"]["stdout"] for task in output["tasks"]]


def test_echoes_one_after_another_with_a_greeting_that_grows(shop: Shop) -> None:
    tasks = [
        {
            "name": "t1",
            "ref": "core.echo",
            "params": {"message": "{{ name }}"},
            "publish": {"g": "{{ t1.stdout }}"},
            "on-success": "t2",
        },
        {
            "name": "t2",
            "ref": "core.echo",
            "params": {"message": "good day"},
            "publish": {"g": "{{ g }}, {{ t2.stdout }}"},
            "on-success": "t3",
        },
        {"name": "t3", "ref": "core.echo", "params": {"message": "{{ g }}"}, "publish": {"g": "{{ t3.stdout }}"}},
    ]
    output = shop.ended(chain_of(*tasks), name="Ada")
    assert said(output) == ["Ada", "good day", "Ada, good day"]
    assert output["published"] == {"g": "Ada, good day"}


def test_the_input_and_what_earlier_tasks_wrote_reach_later_commands(shop: Shop) -> None:
    chain = chain_of(
        command("c1", "echo c1, input {{input1}}", then="c2", otherwise="c4"),
        command("c2", "echo c2 {{c1.stdout}} in {{action_context.parent.execution_id}}", then="c3", otherwise="c4"),
        command("c3", "echo c3 {{c2.stdout}}", otherwise="c4"),
        command("c4", "echo fail c4"),
        default="c1",
    )
    id = shop.run(chain, input1="x")
    shop.bridge.wait(id, timeout=60)
    engine_id = shop.bridge.find(id).ref.id
    assert said(shop.output(id))[2] == f"c3 c2 c1, input x in {engine_id}"


def test_a_command_that_fails_ends_the_chain_with_its_result(shop: Shop) -> None:
    chain = chain_of(
        command("c1", "echo c1", then="c2", otherwise="c4"),
        command("c2", "echo 'it leaks' >&2; exit 1", then="c3"),
        command("c3", "echo c3"),
        command("c4", "echo c4"),
    )
    id = shop.run(chain)
    assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
    output = shop.output(id)
    assert [(task["name"], task["state"]) for task in output["tasks"]] == [("c1", "succeeded"), ("c2", "failed")]
    result = output["tasks"][1]["result"]
    assert (result["return_code"], result["stderr"], result["failed"], result["succeeded"]) == (
        1,
        "it leaks",
        True,
        False,
    )
    assert "error" not in output


def test_an_action_that_is_nowhere_is_told_before_the_first_task_where_StackStorm_runs_up_to_it(shop: Shop) -> None:
    chain = chain_of(
        command("c1", "echo c1", then="c2"), {"name": "c2", "ref": "core.invalid-action", "on-success": "c1"}
    )
    with pytest.raises(InvalidInput, match=r"chain\.yaml:1:134: task 'c2': there is no action 'core\.invalid-action'"):
        shop.run(chain)
    assert shop.bridge.ledger.executions.places([status.value for status in Status]) == []


def test_a_task_that_takes_too_long_fails_its_chain_as_a_timeout(shop: Shop) -> None:
    gate = shop.gate()
    slow = {"name": "c1", "ref": "core.local", "parameters": {"cmd": gate.command, "timeout": 1}, "on-failure": "c2"}
    output = shop.ended(chain_of(slow, command("c2", "echo rescued")))
    assert [(task["name"], task["state"]) for task in output["tasks"]] == [("c1", "timeout"), ("c2", "succeeded")]


def test_data_is_published_and_put_together(shop: Shop) -> None:
    chain = chain_of(
        command(
            "host",
            "printf box",
            then="tell",
            publish={
                "api": "http://{{ host.stdout }}:{{ port }}",
                "fqdn": "{{ host.stdout }}{% if domain %}.{{ domain }}{% endif %}",
                "paths": {"api": ["v1/actions", "v1/triggers"], "next": "{{ port + 1 }}", "info": "{{ info }}"},
            },
        ),
        command("tell", "echo {{api}} {{fqdn}} {{paths.api[1]}} {{paths.next}}", description="say it"),
        vars={"domain": "{{ st2kv.system.domain }}", "port": 9101},
    )
    output = shop.ended(chain, info="/proc/uptime")
    assert output["published"]["paths"] == {
        "api": ["v1/actions", "v1/triggers"],
        "next": "9102",
        "info": "/proc/uptime",
    }
    assert said(output)[1] == "http://box:9101 box v1/triggers 9102"


@pytest.mark.parametrize(
    ("template", "gives"),
    [
        ("{{ text | regex_match('x') }}", "False"),
        ("{{ text | regex_match('([0-9]{3} \\w+ (?:Ave|Dr))') }}", "True"),
        ("{{ text | regex_search('dr') }} {{ text | regex_search('dr', True) }}", "False True"),
        ("{{ text | regex_replace('[0-9]{3} \\w+', 'X') }}", "X Ave, X Dr"),
        ("{{ text | regex_substring('[0-9]{3} \\w+') }}", "567 Elsewhere"),
        ("{{ text | regex_substring('[0-9]{3} \\w+', 1) }}", "568 Nowhere"),
        ("{{ 12345 | to_human_time_from_seconds }}", "3h25m45s"),
        ("{{ '1.6.0' | version_bump_minor }}", "1.7.0"),
        ("{{ '1.7.0' | version_bump_major }} {{ '1.7.0' | version_bump_patch }}", "2.0.0 1.7.1"),
        ("{{ '1.7.0' | version_compare('1.6.0') }} {{ '1.7.0' | version_compare('2.0.0-rc.1') }}", "1 -1"),
        ("{{ '1.7.0' | version_strip_patch }}", "1.7"),
        ("{{ '1.7.0' | version_match('>=1.7.0') }} {{ '1.7.0' | version_equal('1.7.1') }}", "True False"),
        ("{{ '1.7.0' | version_more_than('1.6.9') }} {{ '1.7.0' | version_less_than('1.6.9') }}", "True False"),
        ("{{ data | to_json_string }}", '{"a": [1,null]}'),
        ("{{ (data | to_json_string | from_json_string).a[0] }}", "1"),
        ("{{ data | to_yaml_string }}", "a:\n- 1\n- null\n"),
        ("{{ ('a: [1, 2]' | from_yaml_string).a[1] }}", "2"),
        ("{{ data | to_complex }}", '{"a": [1, null]}'),
        ("{{ data | jsonpath_query('$.a[0]') }} {{ data | jsonpath_query('$.b') }}", "[1] None"),
        ("{{ 'say \"it\"' | json_escape }}", 'say \\"it\\"'),
        ("{{ '/a/b.txt' | basename }} {{ '/a/b.txt' | dirname }}", "b.txt /a"),
        ("{{ data | use_none }}", "{'a': [1, None]}"),
    ],
)  # fmt: skip
def test_the_filters_that_its_examples_use(template: str, gives: str) -> None:
    from flowbridge_actionchain.templates import Templates

    templates = _TEMPLATES.setdefault("one", Templates())
    assert templates.render(template, {"text": "567 Elsewhere Ave, 568 Nowhere Dr", "data": {"a": [1, None]}}) == gives


_TEMPLATES: dict[str, Any] = {}


@pytest.fixture(autouse=True, scope="module")
def _helper_ends() -> Any:
    yield
    for templates in _TEMPLATES.values():
        templates.close()


def test_nothing_at_all_is_handed_on_as_nothing(shop: Shop) -> None:
    chain = chain_of(
        command("c1", "true", then="c2"),
        {"name": "c2", "ref": "core.local", "parameters": {"cmd": "echo ok", "cwd": "{{ none_there | use_none }}"}},
        vars={},
    )
    assert said(shop.ended(chain, none_there=None)) == ["", "ok"]


def test_text_is_escaped_for_the_JSON_that_a_parameter_holds(shop: Shop) -> None:
    place = pack(
        shop.folder,
        "den",
        {
            "post": {
                "runner_type": "local-shell-cmd",
                "parameters": {
                    "attachments": {"type": "array"},
                    "cmd": {"default": "echo '{{ attachments[0].title }}'"},
                },
            }
        },
    )
    assert place == shop.packs
    chain = chain_of(
        {
            "name": "p",
            "ref": "den.post",
            "parameters": {"attachments": '[{"title": "{{ status }} - {{ description|json_escape }}"}]'},
        },
        vars={"status": "FAILED", "description": 'random text """ that breaks JSON'},
    )
    assert said(shop.ended(chain)) == ['FAILED - random text """ that breaks JSON']


def test_a_loop_goes_on_until_an_action_says_that_it_is_over(shop: Shop) -> None:
    chain = chain_of(
        command(
            "get",
            "echo $(( {% if more is defined %}{{ more.stdout }}{% else %}0{% endif %} + 1 ))",
            then="more",
            otherwise="failed",
        ),
        command("more", "test {{ get.stdout }} -lt 3 && echo {{ get.stdout }}", then="get", otherwise="finished"),
        command("finished", "exit 0"),
        command("failed", "exit 1"),
    )
    output = shop.ended(chain)
    assert [task["name"] for task in output["tasks"]] == ["get", "more"] * 3 + ["finished"]


# Pausing and resuming


def paused(shop: Shop, gate: Gate, id: str, target: str = "") -> None:
    """Pause while the gate holds the task t1, then let that end."""

    def held() -> bool:
        nodes = shop.bridge.get(id).snapshot.nodes
        return any(task.active and task.name == "t1" for node in nodes for task in node.tasks)

    shop.until(held, "the task at the gate")
    assert shop.bridge.pause(target or id).status == "pausing"
    gate.open()
    shop.reaches(id, Status.PAUSED)


def resumed(shop: Shop, id: str) -> Any:
    shop.bridge.resume(id)
    shop.bridge.wait(id, timeout=60, until=frozenset({Status.SUCCEEDED, Status.ERRORED}))
    return shop.output(id)


def test_a_paused_chain_has_one_task_and_a_resumed_one_both(shop: Shop) -> None:
    gate = shop.gate()
    id = shop.run(
        chain_of(command("t1", gate.command, then="t2"), command("t2", 'echo "{{message}}"')), message="foobar"
    )
    paused(shop, gate, id)
    assert len(shop.output(id)["tasks"]) == 1
    assert said(resumed(shop, id)) == ["", "foobar"]
    assert shop.bridge.get(id).record.status is Status.SUCCEEDED


def test_variables_and_results_come_through_a_pause(shop: Shop) -> None:
    gate = shop.gate()
    chain = chain_of(
        command("t0", 'echo "{{message}}"', then="t1"),
        command("t1", gate.command, then="t2", publish={"var1": "{{ var1 | upper }}", "var2": "x"}),
        command("t2", 'echo "{{var1}} {{t0.stdout}}"', publish={"var3": "y"}),
        vars={"var1": "{{message}}"},
    )
    id = shop.run(chain, message="foobar")
    paused(shop, gate, id)
    output = resumed(shop, id)
    assert said(output)[2] == "FOOBAR foobar"
    assert output["published"] == {"var1": "FOOBAR", "var2": "x", "var3": "y"}


def test_what_is_published_is_not_shown_where_nobody_wants_it(shop: Shop) -> None:
    gate = shop.gate()
    pack(
        shop.folder,
        "den",
        {"flow": {"runner_type": "action-chain", "entry_point": "chains/flow.yaml"}},
        {
            "flow": {
                "chain": [command("t1", gate.command, then="t2", publish={"v": "seen"}), command("t2", "echo {{v}}")]
            }
        },
    )
    id = shop.run("den.flow", display_published=False)
    paused(shop, gate, id)
    output = resumed(shop, id)
    assert (said(output), "published" in output) == (["", "seen"], False)


def test_a_task_that_fails_under_a_pause_goes_its_way_after_it(shop: Shop) -> None:
    gate = shop.gate()
    id = shop.run(chain_of(command("t1", f"{gate.command}; exit 1", otherwise="t2"), command("t2", "echo rescued")))
    paused(shop, gate, id)
    first, second = resumed(shop, id)["tasks"]
    assert (first["result"]["failed"], first["result"]["return_code"]) == (True, 1)
    assert (second["result"]["succeeded"], second["result"]["return_code"]) == (True, 0)


@pytest.mark.parametrize(("cmd", "end"), [("true", Status.SUCCEEDED), ("exit 1", Status.ERRORED)])
def test_a_chain_with_nothing_left_is_paused_and_ends_when_it_is_resumed(shop: Shop, cmd: str, end: Status) -> None:
    gate = shop.gate()
    id = shop.run(chain_of(command("t1", f"{gate.command}; {cmd}")))
    paused(shop, gate, id)
    assert len(resumed(shop, id)["tasks"]) == 1
    assert shop.bridge.get(id).record.status is end


def over(shop: Shop, gate: Gate) -> str:
    """Start a chain over another one, which waits at a gate."""
    sub = {
        "runner_type": "action-chain",
        "entry_point": "chains/sub.yaml",
        "parameters": {"message": {"type": "string", "required": True}},
    }
    chain = {"chain": [command("t1", gate.command, then="t2"), command("t2", 'echo "{{message}}"')]}
    pack(shop.folder, "den", {"sub": sub}, {"sub": chain})
    return shop.run(
        chain_of(
            {"name": "task1", "ref": "den.sub", "params": {"message": "{{m}}"}, "on-success": "task2"},
            command("task2", "echo foobar"),
        ),
        m="hey",
    )


@pytest.mark.parametrize("where", ["parent", "child"])
def test_a_pause_goes_down_and_up_and_a_resume_of_the_parent_resumes_both(shop: Shop, where: str) -> None:
    gate = shop.gate()
    id = over(shop, gate)
    child = shop.child(id)
    paused(shop, gate, id, child if where == "child" else "")
    assert shop.bridge.get(child).record.status is Status.PAUSED
    (one,) = shop.output(id)["tasks"]
    assert (one["state"], len(one["result"]["tasks"])) == ("paused", 1)
    first, second = resumed(shop, id)["tasks"]
    assert (first["state"], len(first["result"]["tasks"]), second["result"]["stdout"]) == ("succeeded", 2, "foobar")


def test_a_resume_of_the_child_leaves_its_parent_paused_until_that_is_resumed_too(shop: Shop) -> None:
    gate = shop.gate()
    id = over(shop, gate)
    child = shop.child(id)
    paused(shop, gate, id, child)
    assert said(resumed(shop, child))[1] == "hey"
    assert shop.bridge.get(id).record.status is Status.PAUSED
    assert len(shop.output(id)["tasks"]) == 1
    assert [task["name"] for task in resumed(shop, id)["tasks"]] == ["task1", "task2"]


# Canceling


@pytest.mark.parametrize("where", ["parent", "child"])
def test_a_canceled_chain_runs_nothing_behind_the_task_that_ran(shop: Shop, where: str) -> None:
    gate = shop.gate()
    id = over(shop, gate)
    child = shop.child(id)
    shop.until(lambda: any(task.active for task in shop.bridge.get(child).snapshot.nodes[1].tasks), "a running task")
    shop.bridge.cancel(child if where == "child" else id)
    assert shop.bridge.get(child).record.status is Status.CANCELING
    gate.open()
    shop.reaches(child, Status.CANCELED)
    shop.reaches(id, Status.CANCELED)
    (one,) = shop.output(id)["tasks"]
    assert (one["state"], len(one["result"]["tasks"])) == ("canceled", 1)
    assert one["result"]["tasks"][0]["state"] == "succeeded"
    (task,) = shop.bridge.get(id).snapshot.nodes[0].tasks
    assert task.status is TaskStatus.CANCELED


def test_a_chain_may_come_as_indented_YAML_with_tasks_in_any_order(shop: Shop) -> None:
    text = Path(__file__).with_name("indented.yaml").read_text()
    assert said(shop.ended(text)) == ["one", "two"]
