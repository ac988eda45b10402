"""The workflow language: what a definition means, and where each mistake in one is told."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbridge.backend import Definition
from flowbridge.errors import InvalidInput
from flowbridge_memory.definition import REQUIRED, Book, Next, Publish, Retry, TaskSpec, WithItems
from flowbridge_memory.language import parse


def book(text: str) -> Book:
    return parse(Definition(dedent(text), "flow.yaml"))


def task(body: str, rest: str = "") -> TaskSpec:
    """The task `t`, with the given body, in a workflow that has `other` and `third` too."""
    lines = "".join(f"          {line}\n" for line in dedent(body).strip().splitlines())
    text = (
        "version: '2.0'\nflow:\n"
        + (f"  {rest}\n" if rest else "")
        + "  tasks:\n    t:\n"
        + lines
        + "    other:\n      action: std.noop\n    third:\n      action: std.noop\n"
    )
    return parse(Definition(text, "flow.yaml")).workflows["flow"].tasks["t"]


def wrong(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        book(text)
    assert "\n" not in caught.value.message
    return caught.value


def test_a_file_holds_several_workflows_in_their_order() -> None:
    found = book(
        """
        version: '2.0'
        second: {tasks: {a: {action: std.noop}}}
        first: {tasks: {a: {action: std.noop}}}
        """
    )
    assert list(found.workflows) == ["second", "first"]
    assert found.workbook == ""


def test_a_workbook_names_its_parts_after_itself() -> None:
    found = book(
        """
        version: '2.0'
        name: shop
        workflows:
          order: {tasks: {a: {action: pay}}}
        actions:
          pay: {base: std.echo, base-input: {output: <% $.sum %>}, input: [sum, {currency: EUR}], output: <% $ %>}
        """
    )
    assert list(found.workflows) == ["shop.order"]
    pay = found.actions["shop.pay"]
    assert (pay.base, dict(pay.input)) == ("std.echo", {"sum": REQUIRED, "currency": "EUR"})


def test_a_workflow_has_input_with_defaults_vars_and_outputs() -> None:
    flow = book(
        """
        version: '2.0'
        flow:
          description: words
          tags: [a, b]
          input: [who, {greeting: hello}]
          vars: {x: 1}
          output: {said: <% $.x %>}
          output-on-error: <% $.x %>
          tasks: {a: {action: std.noop}}
        """
    ).workflows["flow"]
    assert dict(flow.input) == {"who": REQUIRED, "greeting": "hello"}
    assert (flow.vars, flow.output, flow.output_on_error) == ({"x": 1}, {"said": "<% $.x %>"}, "<% $.x %>")
    assert (flow.description, flow.tags) == ("words", ("a", "b"))


@pytest.mark.parametrize(
    ("line", "name", "given"),
    [
        ("std.echo output=<% $.x %>", "std.echo", {"output": "<% $.x %>"}),
        ('std.echo output="two words"', "std.echo", {"output": "two words"}),
        ("std.echo output=[1, 2]", "std.echo", {"output": [1, 2]}),
        ("std.echo output=3 delay={{ _.d }}", "std.echo", {"output": 3, "delay": "{{ _.d }}"}),
        ("<% $.action %>", "<% $.action %>", {}),
        ("std.echo  output=1,delay=2 ", "std.echo", {"output": 1, "delay": 2}),
        ("std.echo(output=1, delay=2)", "std.echo", {"output": 1, "delay": 2}),
        ("std.echo()", "std.echo", {}),
        ('std.echo output=[[1], [{"a": "]"}]]', "std.echo", {"output": [[1], [{"a": "]"}]]}),
        ("std.echo output=[a, <% $.b %>]", "std.echo", {"output": "[a, <% $.b %>]"}),
        ('std.echo output={"a":1}', "std.echo", {"output": {"a": 1}}),
        ("std.echo output=a=b", "std.echo", {"output": "a=b"}),
        ("std.echo output=http://x/<%$.y%>", "std.echo", {"output": "http://x/<%$.y%>"}),
        ('std.echo output="f<% $.i %> (x, y"', "std.echo", {"output": "f<% $.i %> (x, y"}),
    ],
)
def test_an_action_takes_its_input_on_the_same_line(line: str, name: str, given: dict[str, Any]) -> None:
    found = task(f"action: '{line}'")
    assert (found.action, found.input) == (name, given)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("std.echo output=f<% $.i %>", "the value of 'output' is cut off at 'f<% $.i %>'"),
        ("std.echo output=<% $.i %>f", "the value of 'output' goes on behind its end, with 'f'"),
        ("std.echo output=<% $.i", "the value of 'output' is cut off at '<% $.i'"),
        ("std.echo output={{ _.i }", "cut off"),
        ("std.echo output={% if 1 %}x{% endif %}", "cut off"),
        ("std.echo output={{ {'a': {'b': 1}}}}", "goes on behind its end"),
        ('std.echo output={"a": 1} ', "'1}' is not of the form NAME=VALUE"),
        ('std.echo output={"a":1,"b":2}', "is not of the form NAME=VALUE"),
        ("std.echo output=[1, 2", "the value of 'output' is cut off at '[1, 2'"),
        ("std.echo output=[a, [b]]", "goes on behind its end, with ']'"),
        ("std.echo output=x,y", "'y' is not of the form NAME=VALUE"),
        ('std.echo output="unclosed', "cut off"),
        ('std.echo output="', "cut off"),
        ("std.echo output='a'b", "goes on behind its end"),
        ("std.echo output=x garbage more", "'garbage more' is not of the form NAME=VALUE"),
        ("std.echo output=f(x)", "goes on behind its end, with '(x)'"),
        ("std.echo output=", "'output' has no value"),
        ("std.echo output = 1", "'output = 1' is not of the form NAME=VALUE"),
        ("std.noop garbage", "'garbage' is not of the form NAME=VALUE"),
        ("std.echo output=x output=y", "'output' stands there twice"),
        ("std.echo(output=x", "is not closed"),
        ("std.echo(output=x) more", "is not closed"),
    ],
)
def test_nothing_of_an_inline_input_is_left_out_without_a_word(line: str, says: str) -> None:
    for keyword in ("action", "workflow"):
        error = wrong(flow(f"{keyword}: {json.dumps(line)}"))
        assert says in error.message
        assert error.message.endswith("; put the value in double quotes, or write it under input:")
        assert (error.line, error.column) == (5, 7)


def test_a_name_that_an_expression_with_spaces_is_only_a_part_of_is_refused() -> None:
    error = wrong(flow("action: std.<% $.which %>"))
    assert error.message.endswith("'std.<% $.which %>' is cut off; write it as one expression from end to end")
    assert task("action: std.<%$.which%>").action == "std.<%$.which%>"


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ("retry: count=3 delay=1 break-on=$.x > 1", "'> 1' is not of the form NAME=VALUE"),
        ("retry: count=3 count=4 delay=1", "'count' stands there twice"),
        ("on-success: fail(msg=<% $.x %> garbage)", "'garbage' is not of the form NAME=VALUE"),
        ("on-success: fail no way", "'no way' is not of the form NAME=VALUE"),
        ("on-success: fail mgs='no way'", "fail takes no 'mgs'; allowed: msg"),
        ("on-success: noop msg=hello", "only fail, succeed and pause take a message"),
    ],
)
def test_nothing_of_a_clause_on_one_line_is_left_out_without_a_word(clause: str, says: str) -> None:
    error = wrong(flow(clause))
    assert says in error.message
    assert error.line == 5


def test_a_task_without_an_action_does_nothing() -> None:
    assert task("description: waits").action == "std.noop"


def test_a_sub_workflow_takes_input_both_ways() -> None:
    found = task("workflow: sub a=1\ninput: {b: 2}")
    assert (found.workflow, found.action, found.input) == ("sub", None, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("other", (Next("other"),)),
        ("[other, third]", (Next("other"), Next("third"))),
        ("[other: <% $.x %>, third]", (Next("other", "<% $.x %>"), Next("third"))),
        ("{other: <% $.x %>}", (Next("other", "<% $.x %>"),)),
        ("{next: [other]}", (Next("other"),)),
        ("fail", (Next("fail"),)),
        ("fail msg='no way'", (Next("fail", None, "no way"),)),
        ("'fail(msg=<% $.x %>)'", (Next("fail", None, "<% $.x %>"),)),
        ("['pause(msg=wait)': '{{ _.x }}']", (Next("pause", "{{ _.x }}", "wait"),)),
    ],
)
@pytest.mark.parametrize("keyword", ["on-success", "on-error", "on-complete", "on-skip"])
def test_a_transition_is_a_name_a_list_or_a_mapping(keyword: str, clause: str, expected: tuple[Next, ...]) -> None:
    assert getattr(task(f"{keyword}: {clause}"), keyword.replace("-", "_")).next == expected


def test_a_transition_publishes_to_its_branch_and_to_all() -> None:
    found = task("on-success: {publish: {branch: {a: 1}, global: {b: <% $.x %>}}, next: other}")
    assert found.on_success.publish == Publish({"a": 1}, {"b": "<% $.x %>"})


@pytest.mark.parametrize(("text", "expected"), [("all", "all"), ("one", 1), ("2", 2)])
def test_a_join_waits_for_all_for_one_or_for_a_number(text: str, expected: str | int) -> None:
    flow = book(
        f"""
        version: '2.0'
        flow:
          tasks:
            a: {{on-success: j}}
            b: {{on-success: j}}
            j: {{join: {text}}}
        """
    ).workflows["flow"]
    assert flow.tasks["j"].join == expected


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("i in <% $.list %>", WithItems(("i",), ("<% $.list %>",))),
        ("i in [1, 2]", WithItems(("i",), ([1, 2],))),
        ("[i in <% $.a %>, 'j in {{ _.b }}']", WithItems(("i", "j"), ("<% $.a %>", "{{ _.b }}"))),
    ],
)
def test_items_run_over_one_list_or_several(clause: str, expected: WithItems) -> None:
    assert task(f"with-items: {clause}").with_items == expected


@pytest.mark.parametrize("clause", ["{count: 3, delay: 1, break-on: <% $.x %>}", "count=3 delay=1 break-on=<% $.x %>"])
def test_retry_has_a_long_and_a_short_form(clause: str) -> None:
    assert task(f"retry: {clause}").retry == Retry(3, 1, "<% $.x %>", None)


def test_policies_are_numbers_flags_or_expressions() -> None:
    found = task(
        "wait-before: 1\nwait-after: <% $.w %>\ntimeout: 3\nconcurrency: 2\npause-before: true\n"
        "fail-on: <% $.x %>\nkeep-result: false\nsafe-rerun: true"
    )
    assert (found.wait_before, found.wait_after, found.timeout, found.concurrency) == (1, "<% $.w %>", 3, 2)
    assert (found.pause_before, found.fail_on, found.keep_result, found.safe_rerun) == (True, "<% $.x %>", False, True)


def test_defaults_of_tasks_hold_where_a_task_says_nothing_else() -> None:
    defaults = "task-defaults: {retry: {count: 1, delay: 2}, on-error: other}"
    assert task("action: std.noop", defaults).retry == Retry(1, 2)
    assert task("on-error: third", defaults).on_error.next == (Next("third"),)
    assert task("action: std.noop", defaults).on_error.next == (Next("other"),)


def flow(body: str) -> str:
    return "version: '2.0'\nflow:\n  tasks:\n    a:\n" + "".join(f"      {line}\n" for line in body.splitlines())


def reverse(body: str, *, deeper: bool = True) -> str:
    """A reverse workflow with a task `a`; further tasks stand in `body` where it is not `deeper` than they are."""
    lines = [line if deeper or not line.startswith("b:") else f"  {line}" for line in body.splitlines()]
    tasks = "".join(f"      {line}\n" for line in lines)
    return "version: '2.0'\nflow:\n  type: reverse\n  tasks:\n    a:\n" + tasks.replace("        b:", "    b:")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("- 1", 1, "version: '2.0'"),
        ("version: '3.0'\nf: {tasks: {a: {action: x}}}", 1, "version must be"),
        ("version: '2.0'", 1, "no workflow"),
        ("version: '2.0'\nf:\n  tsks: {}", 3, "did you mean 'tasks'"),
        ("version: '2.0'\nf:\n  type: sideways\n  tasks: {a: {action: x}}", 3, "allowed: direct, reverse"),
        (reverse("requires: b"), 6, "requires 'b', which is no task; there are: a"),
        (reverse("on-success: a"), 6, "unknown keyword 'on-success'"),
        (reverse("join: all"), 6, "unknown keyword 'join'"),
        (reverse("requires: 7"), 6, "list of names"),
        (reverse("requires: b\nb:\n  requires: a", deeper=False), 4, "require each other"),
        ("version: '2.0'\nf:\n  input: 1\n  tasks: {a: {action: x}}", 3, "list of names"),
        ("version: '2.0'\nf:\n  tasks:\n    fail: {action: x}", 4, "belongs to a command"),
        ("version: '2.0'\nf:\n  tasks:\n    a: {on-success: b}\n    b: {on-success: a}", 3, "nowhere to start"),
        (flow("actoin: std.noop"), 5, "did you mean 'action'"),
        (flow("action: x\nworkflow: y"), 6, "both an action and a workflow"),
        (flow("on-success: nowhere"), 5, "names 'nowhere', which is no task; there are: a"),
        (flow("action: std.echo output=<% 1 + %>"), 5, "'action': an expression cannot be read: "),
        (flow(f"action: std.noop\npublish: {{x: '<% {'(' * 600}1{')' * 600} %>'}}"), 6, "nested too deeply"),
        (flow(f"action: std.noop\npublish: {{x: '{{{{ {'(' * 100}1{')' * 100} }}}}'}}"), 6, "nested too deeply"),
        (flow("action: std.noop\njoin: most"), 6, "join must be"),
        (flow("action: std.noop\njoin: all"), 6, "no task leads to it"),
        (
            flow("on-success: b").replace("a:", "b: {join: 5}\n    a:"),
            4,
            "'b' waits for 5 tasks, and 1 task leads to it",
        ),
        (flow("action: ' '"), 5, "'action' must be a text, not an empty one"),
        (flow("with-items: i of x"), 5, "NAME in LIST"),
        (flow("with-items: i in [1,"), 5, "NAME in LIST"),
        (flow("retry: {count: 1}"), 5, "retry needs 'delay'"),
        (flow("retry: {count: -1, delay: 0}"), 5, "whole number from 0"),
        (flow("timeout: soon"), 5, "whole number"),
        (flow("pause-before: maybe"), 5, "true, false or an expression"),
        (flow("on-success:\n  publish: {atomic: {x: 1}}"), 6, "'atomic' is not implemented"),
        (flow("target: host"), 5, "remote executor"),
        (flow("requires: [b]"), 5, "unknown keyword 'requires'"),
        (flow("on-success: a msg=hello"), 5, "only fail, succeed and pause"),
        (flow("on-success:\n  - a: yes"), 6, "must be an expression"),
        (flow("publish: [1]"), 5, "must be a mapping"),
        (flow("input: words"), 5, "must be an expression"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_is_allowed(text: str, line: int, says: str) -> None:
    error = wrong(text)
    assert says in error.message
    assert (error.source, error.line) == ("flow.yaml", line)


WORDS = st.sampled_from(["version", "'2.0'", "flow", "tasks", "a", "action", "workflow", "std.noop", "join", "all"])
MARKS = st.sampled_from(
    [" ", "\n", "\n  ", "\n    ", ": ", "[", "]", "{", "}", ",", "<% ", " %>", "on-success", "retry"]
)


@given(st.lists(WORDS | MARKS, max_size=40))
def test_any_text_is_a_book_or_a_told_mistake(words: list[str]) -> None:
    try:
        parse(Definition("version: '2.0'\n" + "".join(words), "flow.yaml"))
    except InvalidInput as error:
        told = str(error)
    else:
        told = "flow.yaml"
    assert told.startswith("flow.yaml")
