"""The language: transitions, publishing, joins, commands, input and output."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowbridge.errors import InvalidInput
from flowbridge.local import Command
from memory.enginekit import ROOT, Engine

HEAD = "version: '2.0'\n"


def started(text: str, **input: Any) -> Engine:
    return Engine().start(HEAD + text, **input).finish()


def test_a_chain_runs_in_order_and_hands_on_what_it_publishes() -> None:
    engine = started(
        """
main:
  input: [name]
  output:
    greeting: <% $.greeting %>
  tasks:
    first:
      action: std.echo
      input: {output: hello}
      publish: {word: <% task().result %>}
      on-success: second
    second:
      action: std.echo
      input: {output: "<% $.word %> <% $.name %>"}
      publish: {greeting: <% task().result %>}
""".lstrip("\n"),
        name="Ada",
    )
    assert engine.state == "succeeded"
    assert engine.output == {"greeting": "hello Ada"}
    assert engine.states() == {"first": "succeeded", "second": "succeeded"}


def test_defaults_fill_what_the_input_leaves_out() -> None:
    engine = started(
        "main:\n  input: [a, b: 2]\n  output: {sum: <% $.a + $.b %>}\n  tasks: {t: {action: std.noop}}\n", a=1
    )
    assert engine.output == {"sum": 3}
    assert dict(engine.read().input) == {"a": 1, "b": 2}


@pytest.mark.parametrize(("given", "named"), [({}, "missing a"), ({"a": 1, "zz": 2}, "unknown zz")])
def test_wrong_input_is_refused_by_name_and_starts_nothing(given: dict[str, Any], named: str) -> None:
    engine = Engine()
    with pytest.raises(InvalidInput, match=named):
        engine.start(HEAD + "main:\n  input: [a]\n  tasks: {t: {action: std.noop}}\n", **given)
    assert engine.session.look() == ()


def test_vars_and_the_environment_are_seen_by_expressions() -> None:
    engine = (
        Engine()
        .start(
            HEAD + "main:\n  input: [a]\n  vars: {twice: <% $.a * 2 %>}\n"
            "  output: {v: <% $.twice %>, e: <% env().where %>}\n  tasks: {t: {action: std.noop}}\n",
            env={"where": "here"},
            a=4,
        )
        .finish()
    )
    assert engine.output == {"v": 8, "e": "here"}


def test_an_output_that_is_not_named_is_everything_published() -> None:
    engine = started(
        "main:\n  tasks:\n    t: {action: std.noop, publish: {x: 1}, on-success: u}\n"
        "    u: {action: std.noop, publish: {y: 2}}\n"
    )
    assert engine.output == {"x": 1, "y": 2}


def test_conditions_choose_the_way() -> None:
    engine = started(
        """
main:
  input: [n]
  tasks:
    t:
      action: std.noop
      on-success:
        - big: <% $.n > 10 %>
        - small: <% $.n <= 10 %>
        - always
    big: {action: std.noop}
    small: {action: std.noop}
    always: {action: std.noop}
""".lstrip("\n"),
        n=3,
    )
    assert engine.states() == {"t": "succeeded", "small": "succeeded", "always": "succeeded"}


def test_an_error_takes_on_error_and_on_complete_and_is_handled() -> None:
    engine = started(
        """
main:
  tasks:
    t:
      action: std.fail
      publish-on-error: {why: <% task().result %>}
      on-success: good
      on-error: bad
      on-complete: after
    good: {action: std.noop}
    bad: {action: std.noop}
    after: {action: std.noop}
""".lstrip("\n")
    )
    assert engine.state == "succeeded"
    assert engine.states() == {"t": "errored", "bad": "succeeded", "after": "succeeded"}
    assert "std.fail" in engine.output["why"]


def test_on_complete_alone_does_not_handle_an_error() -> None:
    engine = started("main:\n  tasks:\n    t: {action: std.fail, on-complete: after}\n    after: {action: std.noop}\n")
    assert engine.states() == {"t": "errored", "after": "succeeded"}
    assert engine.state == "errored"
    assert engine.look().error.startswith("Failed tasks: t:")


def test_publish_in_a_transition_reaches_the_branch_and_everybody() -> None:
    engine = started(
        """
main:
  output: {near: <% $.near %>, far: <% global(far) %>, own: <% $.own %>}
  tasks:
    t:
      action: std.echo
      input: {output: 5}
      publish: {own: 1}
      on-success:
        publish:
          branch: {near: <% task().result %>}
          global: {far: <% task().result + 1 %>}
        next: u
    u: {action: std.noop}
""".lstrip("\n")
    )
    assert engine.output == {"near": 5, "far": 6, "own": 1}


def test_what_one_branch_changed_is_not_undone_by_one_that_inherited_it() -> None:
    engine = started(
        """
main:
  output: {x: <% $.x %>}
  tasks:
    a: {action: std.noop, publish: {x: old}, on-success: [b, c]}
    b: {action: std.noop, publish: {x: new}, on-success: j}
    c: {action: std.sleep, input: {seconds: 5}, on-success: j}
    j: {join: all, action: std.noop}
""".lstrip("\n")
    )
    assert engine.output == {"x": "new"}


def test_a_join_merges_what_its_branches_published_in_depth() -> None:
    engine = started(
        """
main:
  output: {d: <% $.d %>}
  tasks:
    a: {action: std.noop, publish: {d: {one: 1}}, on-success: j}
    b: {action: std.noop, publish: {d: {two: 2}}, on-success: j}
    j: {join: all, action: std.noop}
""".lstrip("\n")
    )
    assert engine.output == {"d": {"one": 1, "two": 2}}


FORK = """
main:
  tasks:
    a: {{action: std.async_noop, on-success: j}}
    b: {{action: std.async_noop, on-success: j}}
    c: {{action: std.async_noop, on-success: j}}
    j: {{join: {join}, action: std.noop}}
"""


@pytest.mark.parametrize(("join", "needed"), [("all", 3), ("one", 1), ("1", 1), ("2", 2)])
def test_a_join_starts_when_enough_have_come_and_only_once(join: str, needed: int) -> None:
    engine = Engine().start(HEAD + FORK.format(join=join).lstrip("\n"))
    for count, name in enumerate(("b", "c", "a"), 1):
        engine.end(name)
        joined = engine.states().get("j") == "succeeded"
        assert joined == (count >= needed)
    assert engine.state == "succeeded"
    assert engine.task("j").starts == 1
    assert [task.name for task in engine.look().tasks].count("j") == 1


def test_a_join_that_cannot_come_together_is_an_error() -> None:
    engine = Engine().start(HEAD + FORK.format(join="all").lstrip("\n"))
    engine.end("a")
    assert engine.states()["j"] == "waiting"
    engine.end("b", "errored")
    assert engine.states()["j"] == "errored"
    assert "'b'" in engine.task("j").error
    engine.end("c")
    assert engine.state == "errored"


def test_a_join_of_two_survives_one_error_of_three() -> None:
    engine = Engine().start(HEAD + FORK.format(join="2").lstrip("\n"))
    engine.end("a")
    engine.end("b", "errored")
    assert engine.states()["j"] == "waiting"
    engine.end("c")
    assert engine.states()["j"] == "succeeded"


def test_a_join_knows_that_a_task_behind_an_untaken_way_will_never_come() -> None:
    engine = started(
        """
main:
  tasks:
    a: {action: std.noop, on-success: [j, {b: false}]}
    b: {action: std.noop, on-success: c}
    c: {action: std.noop, on-success: j}
    j: {join: all, action: std.noop}
""".lstrip("\n").replace("{b: false}", "b: <% false %>")
    )
    assert engine.states() == {"a": "succeeded", "j": "errored"}


def test_a_loop_runs_a_task_several_times() -> None:
    engine = started(
        """
main:
  output: {n: <% $.n %>}
  tasks:
    begin: {action: std.noop, publish: {n: 0}, on-success: turn}
    turn:
      action: std.echo
      input: {output: <% $.n + 1 %>}
      publish: {n: <% task().result %>}
      on-success:
        - turn: <% $.n < 5 %>
""".lstrip("\n")
    )
    assert engine.output == {"n": 5}
    assert [task.name for task in engine.look().tasks].count("turn") == 5


@pytest.mark.parametrize(("command", "state"), [("fail", "errored"), ("succeed", "succeeded"), ("noop", "succeeded")])
def test_commands_end_the_execution(command: str, state: str) -> None:
    engine = started(f"main:\n  tasks:\n    t: {{action: std.noop, on-success: [{command}]}}\n")
    assert engine.state == state


def test_noop_in_on_error_handles_the_error() -> None:
    assert started("main:\n  tasks:\n    t: {action: std.fail, on-error: noop}\n").state == "succeeded"


ENDS = """
main:
  tasks:
    t: {action: std.noop, on-success: [before, %s, behind]}
    before: {action: std.async_noop, on-success: behind}
    behind: {action: std.noop}
"""


@pytest.mark.parametrize(("command", "state"), [("fail", "errored"), ("succeed", "succeeded")])
def test_what_stands_before_a_command_is_started_and_nothing_behind_it(command: str, state: str) -> None:
    engine = Engine().start(HEAD + (ENDS % command).lstrip())
    assert engine.state == state
    assert engine.states() == {"t": "succeeded", "before": "running"}
    engine.end("before")
    assert engine.states() == {"t": "succeeded", "before": "succeeded"}


@pytest.mark.parametrize("boundary", range(8))
def test_a_crash_between_what_stands_before_a_command_and_the_command_changes_nothing(boundary: int) -> None:
    steps = iter(range(boundary))
    engine = Engine()
    text = HEAD + (ENDS % "fail").lstrip()
    start = {"workflow": "", "input": {}, "env": {}, "definition": text, "source": "flow.yaml"}
    engine.session.apply(Command("c", "start", ROOT, start))
    engine.session.advance(until=lambda: next(steps, None) is None)
    engine.reload()
    engine.go()
    assert engine.state == "errored"
    assert engine.states() == {"t": "succeeded", "before": "running"}


def test_X9_a_handler_that_has_run_before_fail_is_not_run_because_of_a_re_run() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {action: std.async_noop, on-error: [tell, fail], on-success: done}
    tell: {action: std.noop}
    done: {action: std.noop}
""".lstrip("\n")
    )
    engine.end("t", "errored")
    assert engine.states() == {"t": "errored", "tell": "succeeded"}
    engine.do("rerun", tasks=[[engine.task("t").id, True]])
    engine.end("t")
    assert (engine.state, [task.name for task in engine.look().tasks]) == ("succeeded", ["t", "tell", "done"])
    assert engine.task("tell").starts == 1


def test_fail_ends_the_execution_while_a_branch_still_runs_and_nothing_new_starts() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    slow: {action: std.async_noop, on-success: never}
    never: {action: std.noop}
    t: {action: std.noop, on-success: fail}
""".lstrip("\n")
    )
    assert engine.state == "errored"
    assert engine.task("slow").active
    engine.end("slow")
    assert engine.states() == {"slow": "succeeded", "t": "succeeded"}


def test_a_sub_workflow_gets_its_input_and_its_output_is_the_result() -> None:
    engine = started(
        """
main:
  output: {r: <% task(t).result.double %>}
  tasks:
    t: {workflow: sub, input: {n: 21}}
sub:
  input: [n]
  output: {double: <% $.n * 2 %>}
  tasks: {s: {action: std.noop}}
""".lstrip("\n")
    )
    assert engine.output == {"r": 42}
    assert engine.look(engine.child("t")).parent.task == engine.task("t").id  # type: ignore[union-attr]


def test_an_error_in_a_sub_workflow_is_an_error_of_its_task() -> None:
    engine = started(
        """
main:
  tasks:
    t: {workflow: sub, on-error: handled}
    handled: {action: std.noop}
sub:
  tasks: {s: {action: std.fail}}
""".lstrip("\n")
    )
    assert engine.state == "succeeded"
    assert engine.states() == {"t": "errored", "handled": "succeeded"}


def test_output_on_error_is_the_output_of_an_errored_execution() -> None:
    engine = started(
        "main:\n  output-on-error: {seen: <% $.x %>}\n  tasks:\n"
        "    t: {action: std.noop, publish: {x: 7}, on-success: u}\n    u: {action: std.fail}\n"
    )
    assert engine.output["seen"] == 7


def test_an_expression_that_fails_ends_the_execution_and_names_the_task() -> None:
    engine = started("main:\n  tasks:\n    t: {action: std.echo, input: {output: <% $.nowhere.at.all + 1 %>}}\n")
    assert engine.state == "errored"
    assert "'t'" in engine.look().error


def test_a_workbook_finds_its_own_workflows_and_actions_first() -> None:
    engine = (
        Engine()
        .start(
            HEAD
            + """
name: book
workflows:
  main:
    output: {r: <% task(t).result.said %>}
    tasks: {t: {workflow: sub}}
  sub:
    output: {said: <% task(s).result %>}
    tasks: {s: {action: shout, input: {word: hey}}}
actions:
  shout:
    input: [word]
    base: std.echo
    base-input: {output: "<% $.word %>!"}
""".lstrip("\n"),
            "main",
        )
        .finish()
    )
    assert engine.output == {"r": "hey!"}
    assert engine.look().workflow == "book.main"


def test_a_sub_workflow_of_another_file_comes_from_the_catalog_and_stays_known() -> None:
    other = HEAD + "other:\n  output: {r: 1}\n  tasks: {s: {action: std.async_noop}}\n"
    engine = Engine(catalog={"other": other}).start(HEAD + "main:\n  tasks: {t: {workflow: other}}\n")
    engine._catalog.clear()
    engine.reload()
    engine.end("s")
    assert engine.result("t") == {"r": 1}


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("{action: no.such}", "runs action 'no.such', which is not known here. Known actions: flowbridge.run, std."),
        ("{action: std.ehco output=1}", "did you mean 'std.echo'? Known actions: "),
        ("{workflow: nowhere}", "runs workflow 'nowhere', which is neither in this file nor in the catalog. Workflows"),
        ("{workflow: mian}", "did you mean 'main'? Workflows of this file: main."),
    ],
)
def test_an_unknown_action_or_sub_workflow_is_refused_before_anything_runs(task: str, says: str) -> None:
    engine = Engine()
    with pytest.raises(InvalidInput, match=re.escape(says)) as caught:
        engine.start(HEAD + f"main:\n  tasks:\n    t: {task}\n")
    assert (caught.value.source, caught.value.line, caught.value.column) == ("flow.yaml", 4, 9)
    assert engine.session.look() == ()


def test_an_ad_hoc_action_over_an_unknown_one_is_refused_where_it_names_it() -> None:
    text = HEAD + (
        "name: book\nworkflows:\n  main:\n    tasks:\n      t: {action: outer}\n"
        "actions:\n  outer:\n    base: book.inner\n  inner:\n    base: std.ecco\n"
    )
    with pytest.raises(
        InvalidInput, match=r"action 'book.inner' is based on action 'std.ecco'.*did you mean"
    ) as caught:
        Engine().start(text, "main")
    assert (caught.value.line, caught.value.column) == (11, 5)


def test_a_chain_of_ten_thousand_tasks_needs_no_deep_stack() -> None:
    tasks = "".join(f"    t{n}: {{on-success: t{n + 1}}}\n" for n in range(10_000))
    engine = started(f"main:\n  tasks:\n{tasks}    t10000: {{action: std.noop}}\n")
    assert engine.state == "succeeded"
    assert len(engine.look().tasks) == 10_001


LOST = """
main:
  tasks:
    a: {action: std.noop, publish: {x: 1}, on-success: j}
    b: {action: std.fail, on-success: j, on-error: noop}
    j: {join: all, action: std.noop, POLICY, on-success: k, on-error: l}
    k: {action: std.noop}
    l: {action: std.echo, input: {output: <% $.x %>}}
""".lstrip("\n")


@pytest.mark.parametrize("policy", ["retry: {count: 2, delay: 1}", "wait-after: 1", "concurrency: 1"])
def test_a_join_that_did_not_come_together_is_errored_whatever_its_policies(policy: str) -> None:
    engine = started(LOST.replace("POLICY", policy))
    assert engine.states() == {"a": "succeeded", "b": "errored", "j": "errored", "l": "succeeded"}
    assert engine.task("j").starts == 0


def test_a_join_that_did_not_come_together_hands_on_what_arrived() -> None:
    engine = started(LOST.replace("POLICY", "keep-result: true"))
    engine.reload()
    assert engine.result("l") == 1
    assert engine.output == {"x": 1}


TREE = """
version: '2.0'
main:
  output:
    here: <% tasks(execution().id).name.orderBy($) %>
    failed: <% tasks(execution().id, true, ERROR).name.orderBy($) %>
    leaves: <% tasks(execution().id, true, ERROR, true).name %>
    all: <% tasks().name.orderBy($) %>
    nobody: <% tasks(nobody) %>
  tasks:
    a: {action: std.noop, on-success: b}
    b: {workflow: child, on-error: noop}
child:
  tasks:
    c: {action: std.fail}
"""


def test_tasks_lists_the_tasks_of_an_execution_of_its_tree_or_of_all() -> None:
    engine = Engine().start(TREE, "main").finish()
    assert engine.output == {
        "here": ["a", "b"],
        "failed": ["b", "c"],
        "leaves": ["c"],
        "all": ["a", "b", "c"],
        "nobody": [],
    }
