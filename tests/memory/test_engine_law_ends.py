"""The law on the engine itself: cancel, re-run and skip, over a native tree."""

from __future__ import annotations

import pytest

from flowbridge.errors import EngineRefused, NotFound
from memory.enginekit import CHAIN, HEAD, TREE, Engine


def test_C2_running_leaves_end_and_are_recorded_and_nothing_new_starts() -> None:
    engine = Engine().start(CHAIN)
    engine.do("cancel")
    assert engine.state == "canceled"
    assert engine.task("a").active
    engine.end("a", result=9)
    assert engine.states() == {"a": "succeeded"}
    assert engine.result("a") == 9
    assert engine.session.settled


def test_C3_a_cancel_reaches_every_descendant() -> None:
    engine = Engine().start(TREE)
    engine.do("cancel")
    assert engine.states_of_all == ["canceled"] * 5


def test_C3_a_cancel_reaches_what_is_paused() -> None:
    engine = Engine().start(TREE)
    engine.do("pause")
    engine.do("cancel")
    assert engine.states_of_all == ["canceled"] * 5


@pytest.mark.parametrize("policy", ["wait-before: 5", "retry: {count: 1, delay: 5}"])
def test_C2_a_delayed_task_never_starts_after_a_cancel(policy: str) -> None:
    action = "std.fail" if "retry" in policy else "std.noop"
    engine = Engine().start(HEAD + f"main:\n  tasks:\n    a: {{action: {action}, {policy}}}\n")
    begun = engine.task("a").starts
    engine.do("cancel")
    engine.pass_time(6)
    assert engine.task("a").status.value == "canceled"
    assert engine.task("a").starts == begun
    assert engine.session.settled


def test_C5_a_canceled_child_cancels_its_task_and_the_other_branches_go_on() -> None:
    engine = Engine().start(TREE)
    engine.do("cancel", engine.child("left"))
    assert engine.state == "running"
    assert engine.states()["left"] == "running"
    engine.end("gate")
    assert engine.states()["left"] == "canceled"
    engine.end("leaf")
    assert engine.states()["next"] == "succeeded"
    assert "after" not in engine.states()
    assert engine.state == "running"
    engine.end("gate")
    assert engine.state == "canceled"


def test_C5_the_other_items_go_on_to_their_end_first() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2, 3]", workflow: sub, concurrency: 2, on-complete: never}
    never: {action: std.noop}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n")
    )
    engine.do("cancel", engine.child("t", 0))
    engine.end("t[0]/g")
    assert engine.states() == {"t": "running"}
    engine.end("t[1]/g")
    engine.end("t[2]/g")
    assert engine.states() == {"t": "canceled"}
    assert engine.state == "canceled"


def test_C5_under_a_held_parent_it_waits_for_the_resume() -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks: {t: {workflow: sub}}\nsub:\n  tasks: {g: {action: std.async_noop}}\n", "main"
    )
    engine.do("pause")
    engine.do("cancel", engine.child("t"))
    engine.end("g")
    assert engine.states() == {"t": "canceled"}
    assert engine.state == "paused"
    engine.do("resume")
    assert engine.state == "canceled"


def test_C1_canceling_an_ended_execution_cancels_what_still_runs_under_it() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {workflow: sub}
    u: {action: std.noop, on-success: fail}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n"),
        "main",
    )
    assert engine.states_of_all == ["errored", "running"]
    engine.do("cancel")
    assert engine.states_of_all == ["errored", "canceled"]


def errored_tree() -> Engine:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    ok: {action: std.noop, publish: {seen: yes}}
    t: {workflow: sub, on-success: after}
    after: {action: std.echo, input: {output: "<% $.got %>"}, join: all}
    more: {action: std.noop, publish: {got: 1}, on-success: after}
sub:
  tasks:
    first: {action: std.noop, on-success: inner}
    inner: {workflow: deep}
deep:
  tasks:
    gate: {action: std.async_noop}
""".lstrip("\n"),
        "main",
    )
    engine.end("gate", "errored", "broken")
    assert engine.states_of_all == ["errored"] * 3
    return engine


def test_X2_X8_re_running_a_task_of_a_child_opens_its_ancestors_and_keeps_what_succeeded() -> None:
    engine = errored_tree()
    sub = engine.child("t")
    deep = engine.child("inner", execution=sub)
    engine.reload()
    engine.do("rerun", deep, tasks=[[engine.task("gate", deep).id, True]])
    assert engine.states_of_all == ["running"] * 3
    assert engine.states(sub)["first"] == "succeeded"
    assert engine.states() == {"ok": "succeeded", "more": "succeeded", "t": "running", "after": "errored"}
    engine.end("gate")
    assert engine.states_of_all == ["succeeded"] * 3


def test_X9_a_lost_join_is_counted_afresh_after_a_re_run() -> None:
    engine = errored_tree()
    sub = engine.child("t")
    deep = engine.child("inner", execution=sub)
    engine.do("rerun", deep, tasks=[[engine.task("gate", deep).id, True]])
    engine.end("gate")
    assert engine.states()["after"] == "succeeded"
    assert engine.result("after") == 1
    assert [task.name for task in engine.look().tasks].count("after") == 1


def test_X5_re_running_the_task_above_starts_its_child_anew() -> None:
    engine = errored_tree()
    first = engine.child("t")
    engine.do("rerun", tasks=[[engine.task("t").id, True]])
    second = engine.child("t")
    assert first != second
    assert engine.look(first).state.value == "errored"
    assert engine.look(second).state.value == "running"
    engine.end("gate")
    assert engine.state == "succeeded"


def test_X8_a_replaced_child_cannot_open_again() -> None:
    engine = errored_tree()
    first = engine.child("t")
    engine.do("rerun", tasks=[[engine.task("t").id, True]])
    engine.end("gate", "errored")
    with pytest.raises(EngineRefused, match="newer"):
        engine.do("rerun", first, tasks=[[engine.task("inner", first).id, True]])
    assert engine.state == "errored"


def test_X8_a_child_whose_parent_went_on_cannot_open_again() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {workflow: sub, on-error: noop}
sub:
  tasks: {s: {action: std.fail}}
""".lstrip("\n"),
        "main",
    )
    child = engine.child("t")
    with pytest.raises(EngineRefused, match="succeeded, not errored"):
        engine.do("rerun", child, tasks=[[engine.task("s", child).id, True]])
    assert engine.states_of_all == ["succeeded", "errored"]


def test_X3_a_task_that_is_not_errored_makes_the_whole_request_fail() -> None:
    engine = errored_tree()
    with pytest.raises(EngineRefused, match="'ok' is succeeded"):
        engine.do("rerun", tasks=[[engine.task("t").id, True], [engine.task("ok").id, True]])
    with pytest.raises(NotFound, match="no task"):
        engine.do("rerun", tasks=[["nothing", True]])
    assert engine.states_of_all == ["errored"] * 3


def test_X4_several_tasks_run_again_with_their_original_input() -> None:
    seen: list[int] = []

    def act(n: int) -> None:
        seen.append(n)
        if len(seen) <= 2:
            raise ValueError("not yet")

    engine = (
        Engine(actions={"act": act}, workers=1)
        .start(HEAD + "main:\n  tasks:\n    a: {action: act, input: {n: 1}}\n    b: {action: act, input: {n: 2}}\n")
        .finish()
    )
    assert engine.state == "errored"
    engine.do("rerun", tasks=[[engine.task("b").id, True], [engine.task("a").id, True]])
    engine.finish()
    assert engine.state == "succeeded"
    assert sorted(seen[2:]) == [1, 2]


def test_X2_what_has_been_opened_for_another_task_already_takes_one_more() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks:\n    a: {action: std.fail}\n    b: {action: std.async_noop}\n")
    engine.do("rerun", tasks=[[engine.task("a").id, True]])
    assert engine.task("a").starts == 2
    engine.end("b")
    assert engine.state == "errored"


@pytest.mark.parametrize("verb", ["rerun", "skip"])
def test_X8_a_task_whose_error_was_handled_is_left_alone_while_its_workflow_goes_on(verb: str) -> None:
    engine = Engine().start(
        HEAD + "main:\n  tasks:\n    a: {action: std.fail, on-error: b}\n    b: {action: std.async_noop}\n"
    )
    task = engine.task("a").id
    with pytest.raises(EngineRefused, match="its workflow goes on behind it"):
        engine.do(verb, tasks=[[task, True]] if verb == "rerun" else [task])


def test_O10_a_re_run_that_is_repeated_runs_nothing_a_second_time() -> None:
    engine = Engine().start(CHAIN)
    engine.end("a", "errored")
    again = [[engine.task("a").id, True]]
    engine.do("rerun", tasks=again)
    engine.do("rerun", tasks=again)
    assert engine.task("a").starts == 2


def test_X5_tasks_of_several_levels_run_again_together() -> None:
    engine = Engine().start(TREE)
    left = engine.child("left")
    deep = engine.child("inner", execution=left)
    engine.end("gate", "errored")
    engine.end("leaf", "errored")
    engine.end("gate")
    assert engine.state == "errored"
    engine.do("rerun", deep, tasks=[[engine.task("gate", deep).id, True]])
    engine.do("rerun", tasks=[[engine.task("leaf").id, True]])
    engine.end("gate")
    engine.end("leaf")
    assert engine.states_of_all == ["succeeded"] * 5


def test_K1_a_skipped_task_lets_the_rest_go_on() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    a: {action: std.fail, on-success: b, on-complete: c}
    b: {action: std.noop}
    c: {action: std.noop}
""".lstrip("\n")
    )
    assert engine.state == "errored"
    engine.do("skip", tasks=[engine.task("a").id])
    assert engine.states() == {"a": "skipped", "c": "succeeded", "b": "succeeded"}
    assert engine.state == "succeeded"


def test_K1_a_skipped_task_of_a_child_opens_its_ancestors() -> None:
    engine = errored_tree()
    sub = engine.child("t")
    deep = engine.child("inner", execution=sub)
    engine.do("skip", deep, tasks=[engine.task("gate", deep).id])
    assert engine.states_of_all == ["succeeded"] * 3


def test_P6_a_cancel_after_the_end_reaches_what_is_still_born_under_it() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2]", workflow: sub, concurrency: 1}
    u: {action: std.noop, on-success: fail}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n"),
        "main",
    )
    engine.do("cancel")
    engine.reload()
    engine.end("t[0]/g")
    assert engine.states_of_all == ["errored", "canceled", "canceled"]


def test_X9_a_replaced_child_that_ends_late_is_not_taken_for_the_new_one() -> None:
    engine = Engine().start(
        HEAD
        + "main:\n  tasks:\n    t: {workflow: sub, timeout: 5}\n"
        + "sub:\n  tasks: {g: {action: std.async_noop}}\n",
        "main",
    )
    engine.pass_time(6)
    assert engine.states_of_all == ["errored", "running"]
    engine.do("rerun", tasks=[[engine.task("t").id, True]])
    first, second = engine.session.look()[1:]
    engine.end("g", result="late")
    assert engine.look(first.ref.id).state.value == "succeeded"
    assert engine.look(second.ref.id).state.value == "running"
    assert engine.states() == {"t": "running"}
    engine.end("g")
    assert engine.state == "succeeded"


def test_X9_a_delay_that_the_end_cut_short_does_not_ring_after_a_re_run() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    slow: {action: std.async_noop, retry: {count: 3, delay: 10}}
    bad: {action: std.async_noop, on-error: fail}
""".lstrip("\n")
    )
    engine.end("slow", "errored")
    engine.end("bad", "errored")
    assert engine.state == "errored"
    assert engine.states()["slow"] == "waiting"
    engine.pass_time(8)
    engine.do("rerun", tasks=[[engine.task("bad").id, True]])
    engine.end("slow", "errored")
    engine.pass_time(3)
    assert engine.task("slow").starts == 2
    engine.pass_time(7)
    assert engine.task("slow").starts == 3


def test_K1_a_join_is_skipped_together_with_the_task_that_it_lost() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    a: {action: std.noop, on-success: j}
    b: {action: std.fail, on-success: j}
    j: {join: all, action: std.fail, on-success: [k, l]}
    k: {action: std.noop}
    l: {action: std.async_noop}
""".lstrip("\n")
    )
    engine.do("skip", tasks=[engine.task("b").id, engine.task("j").id])
    engine.reload()
    engine.end("l")
    assert engine.states() == {"a": "succeeded", "b": "skipped", "j": "skipped", "k": "succeeded", "l": "succeeded"}
    assert [task.name for task in engine.look().tasks].count("j") == 1
    assert engine.state == "succeeded"
