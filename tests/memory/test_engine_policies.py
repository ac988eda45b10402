"""Policies of a task, on a clock that stands still until it is moved."""

from __future__ import annotations

from typing import Any

import pytest

from memory.enginekit import Engine

HEAD = "version: '2.0'\n"


def one(task: str, **input: Any) -> Engine:
    names = f"  input: [{', '.join(input)}]\n" if input else ""
    return Engine().start(HEAD + f"main:\n{names}  tasks:\n    t: {{{task}}}\n", **input)


def test_wait_before_delays_the_start_and_counts_as_active() -> None:
    engine = one("action: std.noop, wait-before: 5")
    assert engine.task("t").active
    assert engine.task("t").starts == 0
    engine.pass_time(4.9)
    assert engine.task("t").starts == 0
    engine.pass_time(0.2)
    assert engine.state == "succeeded"


def test_wait_after_delays_the_end_and_what_follows() -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks:\n    t: {action: std.noop, wait-after: 5, on-success: u}\n    u: {action: std.noop}\n"
    )
    assert engine.task("t").active
    assert engine.states() == {"t": "running"}
    engine.reload()
    engine.pass_time(5)
    assert engine.states() == {"t": "succeeded", "u": "succeeded"}


def test_a_delay_may_be_an_expression() -> None:
    engine = one("action: std.noop, wait-before: <% $.n %>", n=7)
    engine.pass_time(6)
    assert engine.state == "running"
    engine.pass_time(1)
    assert engine.state == "succeeded"


def test_retry_runs_again_after_each_delay_and_gives_up_after_count() -> None:
    engine = one("action: std.async_noop, retry: {count: 2, delay: 10}")
    for attempt in range(3):
        assert engine.task("t").starts == attempt + 1
        engine.end("t", "errored", f"no {attempt}")
        engine.pass_time(9)
        engine.reload()
        engine.pass_time(1)
    assert engine.states() == {"t": "errored"}
    assert engine.task("t").error == "no 2"


def test_a_retry_that_succeeds_ends_the_task() -> None:
    engine = one("action: std.async_noop, retry: {count: 5, delay: 1}")
    engine.end("t", "errored")
    engine.pass_time(1)
    engine.end("t", result="good")
    assert engine.state == "succeeded"
    assert engine.result("t") == "good"
    assert engine.task("t").starts == 2


def test_break_on_ends_the_retries() -> None:
    engine = one("action: std.fail, retry: {count: 5, delay: 0, break-on: <% $.stop %>}", stop=True)
    engine.finish()
    assert engine.task("t").starts == 1
    assert engine.state == "errored"


@pytest.mark.parametrize(("go_on", "starts"), [(True, 4), (False, 1)])
def test_continue_on_repeats_a_task_that_succeeds(go_on: bool, starts: int) -> None:
    engine = one("action: std.noop, retry: {count: 3, delay: 0, continue-on: <% $.more %>}", more=go_on).finish()
    assert engine.task("t").starts == starts


def test_a_retry_of_items_runs_all_items_again() -> None:
    engine = one("with-items: 'i in [1, 2]', action: std.async_noop, retry: {count: 1, delay: 1}")
    engine.end("t[0]", result=1)
    engine.end("t[1]", "errored")
    engine.pass_time(1)
    assert engine.gates() == ["t[0]", "t[1]"]
    engine.end("t[0]", result=3)
    engine.end("t[1]", result=4)
    assert engine.result("t") == [3, 4]


def test_timeout_ends_a_task_and_its_late_result_changes_nothing() -> None:
    engine = one("action: std.async_noop, timeout: 10")
    engine.reload()
    engine.pass_time(9)
    assert engine.state == "running"
    key = next(iter(engine.session._world.waiting))
    engine.pass_time(2)
    assert engine.states() == {"t": "errored"}
    assert "timeout" in engine.task("t").error
    engine.do("report", key=key, status="succeeded", result=1)
    assert engine.state == "errored"


def test_a_timeout_counts_once_though_wait_after_delays_the_end() -> None:
    engine = one("action: std.async_noop, timeout: 10, wait-after: 5")
    engine.pass_time(10)
    engine.reload()
    engine.go()
    assert engine.task("t").active
    engine.pass_time(5)
    assert engine.states() == {"t": "errored"}


def test_timeout_does_not_touch_a_task_that_ended_in_time() -> None:
    engine = one("action: std.async_noop, timeout: 10")
    engine.end("t")
    engine.pass_time(20)
    assert engine.state == "succeeded"


def test_fail_on_makes_an_error_of_a_success() -> None:
    engine = one("action: std.echo, input: {output: 3}, fail-on: <% task().result > 2 %>")
    assert engine.states() == {"t": "errored"}
    assert "fail-on" in engine.task("t").error


def test_a_false_fail_on_changes_nothing() -> None:
    assert one("action: std.noop, fail-on: <% $.bad %>", bad=False).state == "succeeded"


def test_keep_result_false_drops_the_result_after_it_was_published() -> None:
    engine = one("action: std.echo, input: {output: 3}, publish: {x: <% task().result %>}, keep-result: false")
    assert engine.result("t") is None
    assert engine.output == {"x": 3}


def test_pause_before_may_be_an_expression() -> None:
    assert one("action: std.noop, pause-before: <% $.stop %>", stop=False).state == "succeeded"
    assert one("action: std.noop, pause-before: <% $.stop %>", stop=True).state == "paused"


def test_a_delay_that_is_no_number_ends_the_execution_with_the_name_of_the_policy() -> None:
    engine = one("action: std.noop, wait-before: <% $.n %>", n="soon")
    assert engine.state == "errored"
    assert "wait-before" in engine.look().error


def test_a_re_run_has_its_retries_again() -> None:
    engine = one("action: std.async_noop, retry: {count: 1, delay: 1}")
    for _ in range(2):
        engine.end("t", "errored")
        engine.pass_time(1)
    assert engine.state == "errored"
    engine.do("rerun", tasks=[[engine.task("t").id, True]])
    for _ in range(2):
        engine.end("t", "errored")
        engine.pass_time(1)
    assert engine.state == "errored"
    assert engine.task("t").starts == 4


@pytest.mark.parametrize("policy", ["wait-before", "wait-after", "timeout"])
@pytest.mark.parametrize("value", ["soon", "\u00b2", float("inf"), float("nan"), -1, 10**400], ids=repr)
def test_a_policy_that_is_no_finite_number_ends_the_workflow(policy: str, value: Any) -> None:
    engine = one(f"action: std.noop, {policy}: <% $.s %>", s=value)
    assert engine.state == "errored"
    assert f"'{policy}' must be a finite number of zero or more, not " in engine.look().error


@pytest.mark.parametrize("value", [float("inf"), 10**400], ids=["inf", "huge"])
def test_a_concurrency_without_end_ends_the_workflow(value: Any) -> None:
    engine = one("with-items: 'i in [1, 2]', action: std.noop, concurrency: <% $.s %>", s=value)
    assert "'concurrency' must be a finite number" in engine.look().error


@pytest.mark.parametrize("value", ["abc", "", 1, None, []], ids=repr)
def test_pause_before_that_is_neither_true_nor_false_ends_the_workflow(value: Any) -> None:
    engine = one("action: std.noop, pause-before: <% $.s %>", s=value)
    assert engine.state == "errored"
    assert engine.look().error == f"'pause-before' must be true or false, not {value!r}. (task 't')"
