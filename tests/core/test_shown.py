"""A backend that shows what it must not is named with what was wrong, and nothing is concluded from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.kit import Desk, family, one
from flowbridge.bridge import Bridge
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState, ExecutionLook, ParentLink, Ref, Status, TaskStatus

Tree = tuple[ExecutionLook, ...]


def shows(desk: Desk, broken: Callable[[Tree], Tree], id: str = "e0") -> None:
    """Have the first engine's backend show one tree in another way."""
    sound = desk.engine.observe
    desk.engine.observe = lambda ids: {  # type: ignore[method-assign]
        each: broken(looks) if each == id else looks for each, looks in sound(ids).items()
    }


def _in_words(looks: Tree) -> Tree:
    state: EngineState = "RUNNING"  # type: ignore[assignment]  # as an adapter without types would
    return (replace(looks[0], state=state), *looks[1:])


def _task_in_words(looks: Tree) -> Tree:
    status: TaskStatus = "DONE"  # type: ignore[assignment]
    return (replace(looks[0], tasks=(replace(looks[0].tasks[0], status=status),)), *looks[1:])


def _under_a_stranger(looks: Tree) -> Tree:
    return (*looks[:2], replace(looks[2], parent=ParentLink("nobody", "nobody.sub")))


BROKEN: list[tuple[Callable[[Tree], Tree], str]] = [
    (_in_words, "the state of e0 is 'RUNNING', not an EngineState of abandoned, canceled, "),
    (lambda looks: (replace(looks[0], state=EngineState.GONE), *looks[1:]), "the state of e0 is <EngineState.GONE"),
    (_task_in_words, "the status of task sub is 'DONE', not a TaskStatus of canceled, canceling, "),
    (lambda looks: (), "its tree is empty"),
    (lambda looks: looks[1:], "it is not the root of its tree, e1 is"),
    (lambda looks: (*looks, replace(looks[0], ref=Ref("fake", "e9"))), "e9 comes without a parent before it"),
    (_under_a_stranger, "e2 comes without its parent nobody before it"),
    (lambda looks: (*looks[:2], replace(looks[2], ref=Ref("else", "e2"))), "else:e2 is of another instance"),
]


@pytest.mark.parametrize(("broken", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_O4_what_must_not_be_shown_is_told_and_not_believed(
    flow: Bridge, desk: Desk, broken: Callable[[Tree], Tree], why: str
) -> None:
    root, *children = family(desk)
    shows(desk, broken)
    look = flow.get(root.id)
    assert look.silent["fake"].startswith(f"the backend fake shows e0 as it must not: {why}")
    assert [node.record.status for node in look.snapshot.nodes] == [Status.RUNNING] * 3
    outcome = flow.pause(children[0].id, timeout=0)
    assert all(why in told for told in outcome.not_done.values())
    assert outcome.not_done.keys() == {root.id, *(child.id for child in children)}
    assert desk.engine.sent() == []


def test_O4_what_is_shown_of_another_tree_hides_no_other(flow: Bridge, desk: Desk) -> None:
    wrong, right = one(desk, id="e0"), one(desk, id="e1")
    shows(desk, _in_words)
    desk.engine.has["e1"].go(EngineState.SUCCEEDED)
    desk.engine.has["e1"].set("t0", status=TaskStatus.SUCCEEDED, active=False)
    statuses = {record.id: record.status for record in flow.list(Filter())}
    assert statuses == {right.id: Status.SUCCEEDED, wrong.id: Status.RUNNING}
