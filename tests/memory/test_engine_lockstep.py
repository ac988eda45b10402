"""Random verbs, endings and hours: one engine is built from its rows again after every step, its twin never is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowbridge.errors import EngineRefused, NotFound
from flowbridge.model import EngineState
from memory.enginekit import Engine

TEXT = """version: '2.0'
main:
  tasks:
    a: {action: std.async_noop, publish: {x: 1}, publish-on-error: {e: 1}, on-success: [j, k], on-error: h}
    b: {action: std.async_noop, wait-before: 2, retry: {count: 1, delay: 2}, on-success: j}
    h: {action: std.async_noop, on-complete: j}
    k: {workflow: sub, with-items: "i in [1, 2, 3]", concurrency: 2, on-complete: m}
    m: {with-items: "i in [1, 2, 3]", concurrency: 1, action: std.async_noop, wait-after: 3, timeout: 8}
    j: {join: 2, action: std.async_noop, pause-before: true, on-success: [pause, n], on-error: fail}
    n: {workflow: sub}
sub:
  tasks:
    s: {action: std.async_noop, on-success: [j, u]}
    u: {workflow: deep}
    j: {join: all, action: std.noop}
deep:
  tasks:
    d: {action: std.async_noop, retry: {count: 1, delay: 1}}
"""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["end", "end", "end", "fail", "time", "pause", "resume", "resume", "cancel", "rerun", "skip"]),
        st.integers(0, 7),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def execution(engine: Engine, pick: int) -> Any:
    looks = engine.session.look()
    return looks[pick % len(looks)]


def step(engine: Engine, kind: str, pick: int, flag: bool) -> str:
    """One step; gives what was refused, in words."""
    try:
        if kind == "time":
            engine.pass_time(pick)
        elif kind in ("end", "fail"):
            if gates := sorted(engine.session._world.waiting.items()):
                key, call = gates[pick % len(gates)]
                status = "succeeded" if kind == "end" else "errored"
                engine.do("report", call.task.run.id, key=key, status=status, result=pick)
        elif kind in ("rerun", "skip"):
            look = execution(engine, pick)
            errored = [task for task in look.tasks if task.status.value == "errored"]
            chosen = [[task.id, flag or task.items is None] if kind == "rerun" else task.id for task in errored]
            engine.do(kind, look.ref.id, tasks=chosen)
        else:
            engine.do(kind, execution(engine, pick).ref.id)
    except (EngineRefused, NotFound) as refusal:
        return str(refusal)
    return ""


def settle(engine: Engine) -> None:
    """Let everything go on to its end: no gate is left, no hold, no time to wait for."""
    for _ in range(400):
        if engine.gates():
            step(engine, "end", 0, True)
        elif any(look.state is EngineState.PAUSED for look in engine.session.look()):
            held = [look for look in engine.session.look() if look.state is EngineState.PAUSED]
            engine.do("resume", held[0].ref.id)
        elif not engine.session.settled:
            engine.pass_time(1)
        else:
            return
    raise AssertionError([(look.ref.id, look.state, look.tasks) for look in engine.session.look()])


@pytest.mark.timeout(300)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS)
def test_R5_a_tree_built_from_its_rows_goes_on_exactly_as_one_that_was_never_left(steps: list[Any]) -> None:
    twin, other = Engine().start(TEXT, "main"), Engine().start(TEXT, "main")
    for kind, pick, flag in steps:
        other.reload()
        refused = step(twin, kind, pick, flag), step(other, kind, pick, flag)
        assert refused[0] == refused[1]
        assert twin.session.look() == other.session.look()
        assert twin.session.settled == other.session.settled
    settle(twin)
    settle(other)
    assert [look.state for look in twin.session.look()] == [look.state for look in other.session.look()]
    assert twin.output == other.output


@pytest.mark.timeout(300)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS)
def test_S5_no_tree_is_ever_stuck(steps: list[Any]) -> None:
    engine = Engine().start(TEXT, "main")
    for kind, pick, flag in steps:
        step(engine, kind, pick, flag)
        for look in engine.session.look():
            running = look.state in (EngineState.RUNNING, EngineState.REQUESTED)
            children = [child for child in engine.session.look() if child.parent and child.parent.id == look.ref.id]
            assert not running or any(task.active for task in look.tasks) or children
    settle(engine)
    assert not any(task.active for look in engine.session.look() for task in look.tasks)
    assert {look.state for look in engine.session.look()} <= {
        EngineState.SUCCEEDED,
        EngineState.ERRORED,
        EngineState.CANCELED,
    }


@settings(max_examples=100, deadline=None, derandomize=True)
@given(STEPS, st.integers(0, 7))
def test_C3_after_a_cancel_of_the_root_nothing_begins_any_more(steps: list[Any], pick: int) -> None:
    engine = Engine().start(TEXT, "main")
    for kind, place, flag in steps:
        step(engine, kind, place, flag)
    engine.do("cancel")
    leaves = {task.id: task.starts for look in engine.session.look() for task in look.tasks if task.items is None}
    for _ in range(20):
        step(engine, "end", pick, True)
        step(engine, "time", 3, True)
    later = {task.id: task.starts for look in engine.session.look() for task in look.tasks if task.items is None}
    assert later == leaves
    assert engine.session.settled
