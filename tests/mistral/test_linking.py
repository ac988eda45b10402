"""What a definition becomes before a stock Mistral gets it: tasks that name work elsewhere wait for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge_mistral import inline, nodes
from flowbridge_mistral.definitions import Text, parse
from flowbridge_mistral.linking import Rules

KNOWN = frozenset({"core.local", "examples.chain", "own"})
RULES = Rules(KNOWN, KNOWN.__contains__)
CORPUS = Path(__file__).parents[1] / "live" / "corpus"


def flow(*tasks: str) -> str:
    body = "".join(f"    {task}\n" for task in tasks)
    return f"version: '2.0'\nw:\n  tasks:\n{body}"


def linked(text: str, rules: Rules = RULES) -> Text:
    return parse(Definition(text, "w.yaml")).with_links(rules)


def task(text: str, rules: Rules = RULES, name: str = "t") -> dict[str, Any]:
    document = yaml.safe_load(linked(text, rules).text)
    flows = document.get("workflows") or {key: each for key, each in document.items() if key != "version"}
    return next(dict(each["tasks"][name]) for each in flows.values() if name in each["tasks"])


@pytest.mark.parametrize(
    ("written", "input"),
    [
        ("t: {action: core.local}", None),
        ("t: {action: core.local, input: {cmd: date}}", {"cmd": "date"}),
        ("t: {action: 'core.local cmd=\"date -u\" timeout=10'}", {"cmd": "date -u", "timeout": 10}),
        ("t: {action: core.local cmd=date, input: {cmd: ls, cwd: /}}", {"cmd": "date", "cwd": "/"}),
        ("t: {action: core.local, input: <% $.all %>}", "<% $.all %>"),
        ("t: {action: core.local, input: {cmd: 'echo {{ _.x }}'}}", {"cmd": "echo {{ _.x }}"}),
        ("t: {action: \"core.local cmd=<% $.a + ' b' %> l=[1, 2]\"}", {"cmd": "<% $.a + ' b' %>", "l": [1, 2]}),
    ],
)
def test_a_task_that_names_an_action_of_a_catalog_waits_for_it(written: str, input: Any) -> None:
    made = task(flow(written))
    assert made == {
        "action": "flowbridge.run",
        "input": {"target": "core.local", **({} if input is None else {"input": input})},
    }


def test_everything_else_of_a_task_stays_as_it_was_written() -> None:
    rest = {
        "publish": {"r": "<% task().result.stdout %>"},
        "publish-on-error": {"e": "{{ task().result }}"},
        "retry": {"count": 3, "delay": 1, "break-on": "<% $.x %>"},
        "timeout": 10,
        "wait-before": "<% $.n %>",
        "keep-result": False,
        "fail-on": "<% task().result.failed %>",
        "join": "all",
        "on-success": ["u", {"v": "<% $.y %>"}],
        "on-error": "u",
    }
    text = yaml.safe_dump({"version": "2.0", "w": {"tasks": {"t": {"action": "core.local", **rest}}}})
    made = task(text)
    assert {key: value for key, value in made.items() if key not in ("action", "input")} == rest


@pytest.mark.parametrize(
    ("items", "clauses", "index"),
    [
        ("i in <% $.l %>", ["i in <% $.l %>", "flowbridge_item in <% range(len($.l)) %>"], "<% $.flowbridge_item %>"),
        (
            "i in {{ _.l or [] }}",
            ["i in {{ _.l or [] }}", "flowbridge_item in {{ range((_.l or []) | list | length) | list }}"],
            "{{ _.flowbridge_item }}",
        ),
        ('i in ["a", "a"]', ['i in ["a", "a"]', "flowbridge_item in [0, 1]"], "<% $.flowbridge_item %>"),
        (
            ["i in [1, 2]", "j in <% $.l %>"],
            ["i in [1, 2]", "j in <% $.l %>", "flowbridge_item in [0, 1]"],
            "<% $.flowbridge_item %>",
        ),
        (
            ["i in <% $.a.where($ != ']') %>", "j in [1]"],
            ["i in <% $.a.where($ != ']') %>", "j in [1]", "flowbridge_item in <% range(len($.a.where($ != ']'))) %>"],
            "<% $.flowbridge_item %>",
        ),
    ],
)
def test_items_are_counted_so_that_equal_ones_are_told_apart(items: Any, clauses: list[str], index: str) -> None:
    spec = {"with-items": items, "concurrency": 2, "action": "core.local", "input": {"v": "<% $.i %>"}}
    made = task(yaml.safe_dump({"version": "2.0", "w": {"tasks": {"t": spec}}}))
    assert made["with-items"] == clauses
    assert made["input"] == {"target": "core.local", "input": {"v": "<% $.i %>"}, "item": index}
    assert made["concurrency"] == 2


def test_a_link_that_is_written_out_is_not_touched_where_nothing_is_missing() -> None:
    text = flow("t: {action: flowbridge.run, input: {target: 'memory:w', input: {x: 1}}}  # as it is")
    made = linked(text)
    assert (made.linked, made.text) == (True, text)


def test_a_link_that_is_written_in_one_line_takes_bare_words_as_text() -> None:
    made = task(flow("t: {action: flowbridge.run target=memory:w input=<% $.x %>}"))
    assert made == {"action": "flowbridge.run", "input": {"target": "memory:w", "input": "<% $.x %>"}}


def test_a_link_that_names_its_item_counts_no_others() -> None:
    text = flow("t: {with-items: 'i in <% $.l %>', action: flowbridge.run, input: {target: w, item: <% $.i %>}}")
    assert linked(text).text == text


def test_the_ledger_that_deploys_is_told_and_the_owner_that_is_named_stays() -> None:
    rules = Rules(KNOWN, deployer="ours")
    assert task(flow("t: {action: core.local}"), rules)["input"] == {"target": "core.local", "deployed_by": "ours"}
    named = task(flow("t: {action: flowbridge.run, input: {target: w, owner: theirs}}"), rules)
    assert named["input"] == {"target": "w", "owner": "theirs", "deployed_by": "ours"}


def test_the_actions_of_a_workbook_come_before_those_of_a_catalog() -> None:
    text = "version: '2.0'\nname: b\nactions: {own: {base: std.noop}}\nworkflows: {w: {tasks: {t: {action: own}}}}\n"
    made = linked(text)
    assert (made.linked, made.text, made.actions) == (False, text, {"std.noop"})


def test_names_that_a_catalog_is_asked_about_are_those_that_are_called() -> None:
    text = flow(
        "t: {action: core.local cmd=date}",
        "u: {action: std.noop}",
        "v: {action: <% $.x %>}",
        "x: {workflow: core.local}",
        "y: {action: flowbridge.run target=core.remote}",
        "z: {}",
    )
    assert parse(Definition(text)).actions == {"core.local", "std.noop"}


BOOK = """\
version: '2.0'
name: book
workflows:
  main:
    tasks:
      t: {workflow: sub x=1, target: elsewhere, publish: {r: <% task().result %>}}
      u: {workflow: other.flow, input: {y: <% $.y %>}}
      v: {workflow: <% $.name %>}
      i: {with-items: 'i in <% $.l %>', workflow: book.sub, input: {x: <% $.i %>}}
  sub: {tasks: {n: {action: std.noop}}}
"""


def test_R3_sub_workflows_become_links_to_the_same_engine_where_that_is_asked_for() -> None:
    rules = Rules(subworkflows=True)
    env = {"env": "<% env() %>"}
    assert task(BOOK, rules) == {
        "action": "flowbridge.run",
        "input": {"target": ":book.sub", "input": {"x": 1}, **env},
        "publish": {"r": "<% task().result %>"},
    }
    assert task(BOOK, rules, "u")["input"] == {"target": ":other.flow", "input": {"y": "<% $.y %>"}, **env}
    assert task(BOOK, rules, "v") == {"workflow": "<% $.name %>"}
    item = {"item": "<% $.flowbridge_item %>"}
    assert task(BOOK, rules, "i")["input"] == {"target": ":book.sub", "input": {"x": "<% $.i %>"}, **env, **item}


def test_a_sub_workflow_by_expression_is_a_link_where_its_name_can_only_be_a_full_one() -> None:
    made = task(flow("t: {workflow: <% $.name %>}"), Rules(subworkflows=True))
    assert made["input"]["target"] == ":<% $.name %>"


def test_sub_workflows_stay_what_they_are_where_nothing_is_said() -> None:
    made = linked(BOOK)
    assert (made.linked, made.text) == (False, BOOK)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (flow("t: {action: flowbridge.run}"), "4:17", "task t: flowbridge.run needs a target"),
        (flow("t: {action: flowbridge.run target=a env=1 x=2}"), "4:17", "flowbridge.run takes no x"),
        (flow("t: {action: core.local cmd=ls, input: <% $.x %>}"), "4:43", "in one expression"),
        (flow("t: {with-items: 'i in [1]', action: flowbridge.run, input: <% $.x %>}"), "4:64", "one by one"),
        (flow("t: {action: core.local, target: db1}"), "4:37", "leave out target"),
        (flow("t: {action: \"<% switch($.x => 'core.local', true => 'std.noop') %>\"}"), "4:17", "may name core.local"),
        (flow("t: {with-items: 'i in [1, x]', action: core.local}"), "4:21", "how many items"),
        (flow("t: {with-items: {}, action: core.local}"), "4:21", "NAME in LIST"),
        (
            "version: '2.0'\nname: b\nactions:\n  mine: {base: core.local cmd=ls}\nworkflows: {}\n",
            "4:16",
            "action mine: its base core.local runs elsewhere",
        ),
    ],
)
def test_what_cannot_be_linked_is_refused_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        linked(text)
    assert str(caught.value).startswith(f"w.yaml:{place}: ")


def test_an_action_by_an_expression_that_names_nothing_elsewhere_is_left_to_the_engine() -> None:
    text = flow("t: {action: <% $.x %>}", "u: {action: \"std.<% switch($.x => 'noop', true => 'echo') %>\"}")
    assert linked(text).text == text


def test_the_engines_verdict_on_a_rewritten_text_finds_the_line_in_the_original() -> None:
    made = linked(flow("# a comment", "t: {action: core.local}", "u: {actin: x}"))
    assert "# a comment" not in made.text
    verdict = "Invalid DSL: 'actin' was unexpected\n\nFailed validating ... {}\n\nOn instance:\n {'name': 'u'}"
    assert str(made.invalid(verdict)).startswith("w.yaml:6:5: ")


def test_a_file_that_is_new_in_part_is_sent_in_two_both_with_links() -> None:
    text = "version: '2.0'\na: {tasks: {t: {action: core.local}}}\nb: {tasks: {t: {action: core.local}}}\n"
    parts = linked(text).parts(["b"])
    assert [("flowbridge.run" in part, "core.local" in part, known) for part, known in parts] == [
        (True, True, False),
        (True, True, True),
    ]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_definitions_without_links_stay_byte_for_byte_as_they_were(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    made = linked(text, Rules(KNOWN - {"own"}, KNOWN.__contains__))
    assert (made.text, made.linked) == (text, False)


WORDS = st.sampled_from(["<% $.x %>", "{{ _.y }}", "plain", "@at", "&amp", "*star", "a: b", "true", "", "1.0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text("ab:#[]{}&*@'\"\\|>-é ,%", max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
TASKS = st.fixed_dictionaries(
    {"action": st.sampled_from(["core.local", "std.noop", "core.local a=1 b='<% $.x %>'", "flowbridge.run target=w"])},
    optional={
        "input": st.dictionaries(st.sampled_from(["target", "input"]), VALUES, min_size=1),
        "with-items": st.sampled_from(
            ["i in <% $.l %>", "i in {{ _.l }}", "i in [1, 2]", ["i in [1]", "j in <% $.l %>"]]
        ),
        "publish": st.dictionaries(st.sampled_from("abc"), VALUES),
    },
)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["t", "u", "v"]), TASKS, min_size=1), st.booleans(), st.sampled_from(["", "ours"])
)
def test_rewriting_twice_changes_nothing_and_keeps_every_value(
    tasks: dict[str, Any], flat: bool, deployer: str
) -> None:
    own = json.loads(json.dumps(tasks))  # no part twice: Mistral reads no aliases
    text = yaml.safe_dump({"version": "2.0", "w": {"tasks": own}}, default_flow_style=flat, allow_unicode=True)
    rules = Rules(KNOWN, deployer=deployer)
    once = linked(text, rules)
    assert linked(once.text, rules).text == once.text
    for name, made in yaml.safe_load(once.text)["w"]["tasks"].items():
        before = tasks[name]
        assert made.get("publish") == before.get("publish")
        given = {**before.get("input", {}), **inline.parse(before["action"]).parameters}
        if before["action"] == "std.noop":
            assert made == before
        elif before["action"].startswith("core.local"):
            assert made["input"].get("input", {}) == given
        else:
            assert {key: made["input"][key] for key in given} == given


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_a_value_comes_back_from_its_node_as_it_was(value: Any) -> None:
    assert yaml.safe_load(nodes.text(nodes.node(value))) == value


def test_the_tree_of_the_examples_is_linked_item_by_item() -> None:
    example = Path(__file__).parents[2] / "examples/across/fleet.yaml"
    rules = Rules(frozenset({"fleet.refill"}), {"fleet.refill"}.__contains__)
    each = task(example.read_text(encoding="utf-8"), rules, "each")
    assert (each["action"], each["input"]["target"]) == ("flowbridge.run", "fleet.refill")
    assert each["input"]["input"] == {"host": "<% $.host %>", "pace": "<% $.pace %>"}
    assert len(each["with-items"]) == 2  # the second counts them, so that each keeps its place
    assert task(example.read_text(encoding="utf-8"), rules, "report")["input"]["target"] == "core.echo"
