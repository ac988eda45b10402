"""Errors on one line, the cause first."""

from __future__ import annotations

import pytest

from flowbridge_mistral.causes import cause, one_line

ID = "42a20c36-7c27-4082-8c2a-e55176361ecb"


def raised(words: str) -> str:
    return f"The action raised an exception [action=Some action, action_ex_id={ID}, msg='{words}']"


def failed(name: str, words: str, *parts: str, kind: str = "action_ex_id") -> str:
    """What the engine writes of a workflow one of whose tasks failed."""
    lines = [f"    [{kind}={ID}, idx={index}]: {part}" for index, part in enumerate(parts)]
    head = f"Failure caused by error in tasks: {name}\n\n  {name} [task_ex_id={ID}] -> {words}\n"
    return head + "\n".join(lines) + "\n"


def test_the_task_and_what_its_action_said_once_and_first() -> None:
    assert cause(failed("t", raised("it broke"), raised("it broke"))) == "t: it broke"


def test_a_failure_below_is_told_with_the_tasks_that_lead_to_it() -> None:
    below = failed("t", raised("it broke"), raised("it broke"))
    above = failed("s", below, below, kind="wf_ex_id")
    assert cause(above) == "s: t: it broke"
    assert cause(failed("r", above, above, kind="wf_ex_id")) == "r: s: t: it broke"


def test_of_items_each_cause_is_told_once() -> None:
    words = failed("t", "One or more actions had failed.", raised("one"), raised("one"), raised("two"))
    assert cause(words) == "t: one; two"


def test_a_task_that_itself_says_nothing_leads_to_what_stands_below() -> None:
    below = failed("t", "it broke", "it broke")
    assert cause(failed("s", "None", below, kind="wf_ex_id")) == "s: t: it broke"
    assert cause(failed("s", "None")) == "s: its engine does not say why"


def test_of_what_failed_elsewhere_its_own_words_are_told() -> None:
    told = {"execution": ID, "workflow": "lab.mid", "status": "errored", "error": "Failed tasks: s2:\nit broke"}
    assert cause(failed("t", str(told), str(told))) == "t: Failed tasks: s2:; it broke"
    assert cause(str(told)) == "Failed tasks: s2:; it broke"


@pytest.mark.parametrize("words", ["{'execution': 'e', 'workflow': 'cut o", "{'execution': 1}", "{'execution': f()}"])
def test_a_result_that_only_looks_like_that_of_a_link_stands_as_it_is(words: str) -> None:
    assert cause(words) == words
    assert cause(failed("t", words)) == f"t: {words}"


def test_what_an_action_said_over_several_lines_stands_on_one() -> None:
    assert cause(failed("t", raised("first\n  second\n"))) == "t: first; second"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("it is so", "it is so"),
        (
            "Failed to run task [error=bad, wf=w]:\nTraceback (most recent call last):\n  File x",
            "Failed to run task [error=bad, wf=w]",
        ),
        ("Failure caused by error in tasks: t\n", "Failure caused by error in tasks: t"),
        ("", ""),
    ],
)
def test_anything_else_is_told_as_it_stands_without_its_traceback(words: str, told: str) -> None:
    assert cause(words) == told


def test_a_line_break_is_a_semicolon_and_an_empty_line_nothing() -> None:
    assert one_line("a\n\n  b\r\nc:\n") == "a; b; c"
