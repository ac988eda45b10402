"""The law on the engine itself: pause and resume over a native tree, and what every verb shares."""

from __future__ import annotations

import pytest

from flowbridge.capabilities import Cascade
from flowbridge.errors import EngineRefused, NotFound
from memory.enginekit import CHAIN, HEAD, ROOT, TREE, Engine


def test_P2_a_pause_reaches_every_descendant() -> None:
    engine = Engine().start(TREE)
    engine.do("pause")
    assert engine.states_of_all == ["paused"] * 5


def test_P3_pausing_a_child_pauses_its_parents_and_peers() -> None:
    engine = Engine().start(TREE)
    left = engine.child("left")
    engine.do("pause", engine.child("inner", execution=left))
    assert engine.states_of_all == ["paused"] * 5


def test_P3_a_pause_holds_again_what_had_been_resumed_alone() -> None:
    engine = Engine().start(TREE)
    engine.do("pause")
    left = engine.child("left")
    engine.do("resume", left)
    engine.do("pause", engine.child("right"))
    assert engine.states_of_all == ["paused"] * 5


def test_P5_a_running_leaf_ends_and_is_published_and_nothing_new_starts() -> None:
    engine = Engine().start(CHAIN)
    engine.do("pause")
    assert engine.task("a").active
    engine.end("a", result=3)
    assert engine.states() == {"a": "succeeded"}
    assert engine.read().tasks[0].published == {"x": 1}
    assert engine.result("a") == 3
    assert engine.state == "paused"
    assert engine.session.settled


def test_P5_a_join_stays_still_under_a_pause_and_is_counted_right_after_it() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.noop, on-success: k}
    k: {action: std.noop}
""".lstrip("\n")
    )
    engine.end("a")
    engine.do("pause")
    engine.end("b")
    assert engine.states() == {"a": "succeeded", "b": "succeeded", "j": "waiting"}
    engine.reload()
    engine.do("resume")
    assert engine.state == "succeeded"
    assert [task.name for task in engine.look().tasks] == ["a", "b", "j", "k"]


def test_P5_the_remaining_items_belong_to_the_running_task() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2, 3]", action: std.async_noop, concurrency: 1, on-success: u}
    u: {action: std.noop}
""".lstrip("\n")
    )
    engine.do("pause")
    for place in range(3):
        assert engine.gates() == [f"t[{place}]"]
        engine.end(f"t[{place}]")
    assert engine.states() == {"t": "succeeded"}
    engine.do("resume")
    assert engine.states() == {"t": "succeeded", "u": "succeeded"}


def test_P6_a_child_born_under_a_held_execution_is_held() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2]", workflow: sub, concurrency: 1}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n")
    )
    engine.do("pause")
    first = engine.child("t", 0)
    engine.do("resume", first)
    engine.end("t[0]/g")
    second = engine.child("t", 1)
    assert engine.look(second).state.value == "paused"
    assert engine.look(second).tasks == ()
    assert engine.state == "paused"
    engine.reload()
    engine.do("resume")
    engine.end("t[1]/g")
    assert engine.state == "succeeded"


def test_P6_a_child_born_under_a_canceled_execution_is_canceled() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2, 3]", workflow: sub, concurrency: 1}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n")
    )
    engine.do("cancel")
    assert engine.states_of_all == ["canceled", "canceled"]
    engine.end("g")
    assert engine.states_of_all == ["canceled"] * 4
    assert engine.states() == {"t": "canceled"}


@pytest.mark.parametrize("inner", ["main", "sub"])
def test_P7_the_pause_command_pauses_the_whole_tree_and_changes_the_revision(inner: str) -> None:
    tasks = "{s: {action: std.async_noop, on-success: [pause, more]}, more: {action: std.noop}}"
    other = (
        "{t: {workflow: sub}}"
        if inner == "sub"
        else "{s: {action: std.async_noop, on-success: [pause, more]}, more: {action: std.noop}}"
    )
    engine = Engine().start(HEAD + f"main:\n  tasks: {other}\nsub:\n  tasks: {tasks}\n", "main")
    before = engine.look().revision
    engine.end("s")
    assert set(engine.states_of_all) == {"paused"}
    assert engine.look().revision != before
    engine.reload()
    engine.do("resume")
    assert set(engine.states_of_all) == {"succeeded"}
    assert engine.session.look()[-1].tasks[-1].name == "more"


def test_P7_pause_before_pauses_and_the_task_waits() -> None:
    engine = Engine().start(
        HEAD
        + """
main:
  tasks:
    a: {action: std.noop, on-success: b}
    b: {action: std.noop, pause-before: true}
""".lstrip("\n")
    )
    assert engine.state == "paused"
    assert engine.states() == {"a": "succeeded", "b": "waiting"}
    assert not engine.task("b").active
    engine.reload()
    engine.do("resume")
    assert engine.state == "succeeded"


def test_P8_a_held_execution_with_nothing_left_stays_paused_until_the_resume_ends_it() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks: {a: {action: std.async_noop}}\n")
    engine.do("pause")
    engine.end("a", "errored", "bad")
    assert engine.state == "paused"
    engine.do("resume")
    assert engine.state == "errored"


@pytest.mark.parametrize("policy", ["wait-before: 5", "retry: {count: 1, delay: 5}"])
def test_P5_what_becomes_due_under_a_pause_waits_for_the_resume(policy: str) -> None:
    action = "std.fail" if "retry" in policy else "std.echo, input: {output: 1}"
    engine = Engine().start(HEAD + f"main:\n  tasks:\n    a: {{action: {action}, {policy}}}\n")
    engine.do("pause")
    assert engine.task("a").active
    begun = engine.task("a").starts
    engine.pass_time(6)
    assert not engine.task("a").active
    assert engine.task("a").starts == begun
    assert engine.session.settled
    engine.reload()
    engine.do("resume")
    assert engine.task("a").starts == begun + 1
    assert engine.state in ("succeeded", "errored")


def test_R2_a_resume_reaches_every_held_descendant() -> None:
    engine = Engine().start(TREE)
    engine.do("pause")
    engine.do("resume")
    assert engine.states_of_all == ["running"] * 5


def test_R3_a_resume_never_goes_up_and_the_result_is_recorded() -> None:
    engine = Engine().start(TREE)
    engine.do("pause")
    left = engine.child("left")
    engine.do("resume", left)
    engine.end("inner/gate")
    assert engine.look(left).state.value == "succeeded"
    assert engine.state == "paused"
    assert engine.states() == {"left": "succeeded", "right": "paused", "leaf": "running"}
    engine.do("resume")
    assert engine.states()["after"] == "succeeded"


def test_R5_nothing_that_ran_runs_again_after_a_resume() -> None:
    engine = Engine().start(CHAIN)
    engine.do("pause")
    engine.reload()
    engine.do("resume")
    assert engine.task("a").starts == 1
    engine.end("a")
    assert engine.states() == {"a": "succeeded", "b": "succeeded"}


def test_R1_a_resume_at_another_revision_is_refused_and_changes_nothing() -> None:
    engine = Engine().start(CHAIN)
    engine.do("pause")
    seen = engine.look().revision
    engine.do("resume", revision=seen)
    engine.do("pause")
    with pytest.raises(EngineRefused, match="has changed"):
        engine.do("resume", revision=seen)
    assert engine.state == "paused"


def test_each_cascade_can_be_switched_off() -> None:
    engine = Engine(cascades=frozenset()).start(TREE)
    left = engine.child("left")
    engine.do("pause", left)
    assert engine.states_of_all == ["running", "paused", "running", "running", "running"]
    engine.do("resume", left)
    engine.do("cancel")
    assert engine.states_of_all == ["canceled", "running", "running", "running", "running"]
    engine = Engine(cascades=frozenset({Cascade.PAUSE_UP})).start(TREE)
    engine.do("pause", engine.child("left"))
    assert engine.states_of_all.count("paused") == 2


def test_a_birth_under_a_held_execution_runs_where_the_engine_does_not_cascade() -> None:
    engine = Engine(cascades=frozenset()).start(
        HEAD
        + """
main:
  tasks:
    t: {with-items: "i in [1, 2]", workflow: sub, concurrency: 1}
sub:
  tasks: {g: {action: std.async_noop}}
""".lstrip("\n"),
        "main",
    )
    engine.do("pause")
    engine.end("t[0]/g")
    assert engine.states_of_all == ["paused", "succeeded", "running"]


def test_the_same_command_twice_does_nothing() -> None:
    from flowbridge.local import Command

    engine = Engine().start(CHAIN)
    engine.session.apply(Command("same", "pause", ROOT))
    engine._flush(engine.session.changes())
    engine.do("resume")
    engine.reload()
    engine.session.apply(Command("same", "pause", ROOT))
    assert engine.state == "running"


def test_an_unknown_execution_or_verb_is_refused() -> None:
    engine = Engine().start(CHAIN)
    with pytest.raises(NotFound):
        engine.do("pause", "nobody")
    with pytest.raises(EngineRefused, match="no verb 'explode'"):
        engine.do("explode")


def test_only_the_running_can_be_paused_and_only_the_paused_resumed() -> None:
    engine = Engine().start(HEAD + "main:\n  tasks: {a: {action: std.noop}}\n")
    with pytest.raises(EngineRefused, match="is succeeded"):
        engine.do("pause")
    with pytest.raises(EngineRefused, match="is succeeded"):
        engine.do("resume")
    engine.do("cancel")
    assert engine.state == "succeeded"
