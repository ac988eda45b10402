"""Which joins come right behind which tasks, by all the ways in which a definition can say so."""

from __future__ import annotations

import pytest

from flowbridge_mistral.joins import behind


def flow(clause: str, above: str = "") -> str:
    return f"""
flow:
  {above}
  tasks:
    a:
      action: std.noop
      {clause}
    j:
      join: all
      action: std.noop
    k: {{action: std.noop}}
"""


@pytest.mark.parametrize(
    "clause",
    [
        "on-success: j",
        "on-success: [k, j]",
        "on-error: [j]",
        "on-complete: [j]",
        "on-skip: [j]",
        "on-success: j x=1",
        "on-success: [{j: <% true %>}]",
        "on-success: {publish: {branch: {x: 1}}, next: j}",
        "on-success: {next: [k, {j: <% true %>}]}",
        "on-success: {next: {j: <% true %>}}",
    ],
)
def test_a_task_names_the_join_behind_it_in_any_clause_and_form(clause: str) -> None:
    assert behind(flow(clause)) == {"a": {"j"}}


def test_what_the_defaults_say_counts_for_a_task_that_says_nothing_itself() -> None:
    defaults = "task-defaults: {on-error: [j]}"
    assert behind(flow("", defaults)) == {name: {"j"} for name in ("a", "j", "k")}
    assert behind(flow("on-error: [k]", defaults)).keys() == {"j", "k"}


@pytest.mark.parametrize("text", [flow("on-success: [k, fail]"), "", "- a", "a: [", "flow: {tasks: {a: }}"])
def test_where_no_join_is_named_there_is_none(text: str) -> None:
    assert behind(text) == {}
