"""A linked child that is canceled while its start may still be on its way: it is looked for, and canceled there."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.driver import drive, is_over
from flowbridge.drivers import undriven
from flowbridge.errors import Unavailable
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.operations import Operations
from flowbridge.model import EngineState, Record, Status, TaskStatus, Verb
from flowbridge.treeviews import tree_view
from links.kit import Desk, children, settle


@pytest.fixture
def tree(desk: Desk) -> tuple[Bridge, Record, Record]:
    """A tree whose child's start got lost on the way, as far as anybody can tell."""
    desk.other.dropped = {"start"}
    root = desk.root()
    flow = desk.bridges[0]
    (child,) = children(flow.get(root.id))
    return flow, root, child


def canceled(flow: Bridge, desk: Desk, root: Record) -> None:
    """The tree is canceled, and nothing of it is seen to go on."""
    outcome = flow.cancel(root.id)
    assert (outcome.done, outcome.exit_code) == (True, 0)
    desk.other.dropped = set()
    settle(flow, root.id)
    assert flow.get(root.id).record.status is Status.CANCELED


def arrives(desk: Desk, child: Record) -> None:
    """What was on its way reaches its engine after all."""
    desk.other.add(child.ref.id, workflow="flow")


def kinds(flow: Bridge, record: Record) -> list[str]:
    """What the history calls what happened to an execution."""
    return [entry.kind for entry in flow.history() if entry.execution == record.id]


def looked_for(flow: Bridge) -> list[str]:
    """The trees that an agent looks after, of those that have ended."""
    return sorted({tree for tree, _ in flow.ledger.executions.places(("running",))})


def test_C1_a_cancel_says_of_a_child_whose_start_was_not_answered_that_it_may_still_arrive(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    plan = flow.plan(Verb.CANCEL, root.id)
    assert plan.lines[1].reason == "its start was seen nowhere, and is sent no more (C1)"
    (warning,) = flow.cancel(root.id).plan.warnings
    assert warning.startswith(f"other:{child.ref.id}: its start was sent, and is seen nowhere. What still arrives is")
    assert f"`flowbridge recover {child.id}` looks once more, and waits no longer (O3)" in warning
    view = tree_view(flow.get(root.id).snapshot)["tasks"][0]["children"][0]
    assert view["waits_for"] == "its start, which may still arrive, to cancel it then (C1)"


def test_C1_the_warning_is_one_however_many_may_still_arrive(desk: Desk) -> None:
    desk.other.dropped = {"start"}
    root = desk.root(items=3)
    (warning,) = desk.bridges[0].cancel(root.id).plan.warnings
    assert " and 2 more: its start was sent" in warning


def test_O13_a_tree_whose_child_may_still_arrive_after_its_cancel_is_driven(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    desk.driven.clear()
    canceled(flow, desk, root)
    assert root.tree in desk.driven
    assert flow.get(root.id).waits_for_driver
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == {root.tree}
    assert not is_over(flow.known(root.tree))
    arrives(desk, child)
    settle(flow, root.id)
    assert not flow.get(root.id).waits_for_driver
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == frozenset()
    assert is_over(flow.known(root.tree))


def test_O13_a_driver_stays_for_a_day_for_what_may_still_arrive_and_an_agent_longer(
    desk: Desk, tree: tuple[Bridge, Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, root, child = tree
    canceled(flow, desk, root)
    monkeypatch.setattr("flowbridge.drivers.time", SimpleNamespace(time=lambda: child.created + 86_401.0))
    assert is_over(flow.known(root.tree))
    assert not flow.get(root.id).waits_for_driver
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == frozenset()
    assert looked_for(flow) == [root.tree]


def test_O13_a_driver_looks_rarely_where_nothing_is_left_but_what_may_still_arrive(
    desk: Desk, tree: tuple[Bridge, Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, root, child = tree
    canceled(flow, desk, root)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 20:
            arrives(desk, child)

    monkeypatch.setattr("flowbridge.driver.time", SimpleNamespace(sleep=sleep))
    drive(flow, root.tree)
    assert max(waits) == 10.0
    assert desk.other.has[child.ref.id].state is EngineState.CANCELED


def test_C1_recover_gives_up_what_was_to_be_started_by_an_instance_that_is_configured_no_more(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, _ = tree
    canceled(flow, desk, root)
    without = Bridge(Config(ledger=desk.ledger, actor="me"), backends=[desk.host], drive=lambda _: None, durable=False)
    said: list[str] = []
    without.recover(root.id, finished=lambda operation: said.append(operation.outcome))
    without.close()
    assert said == ["its start was seen nowhere (other is not configured any more), and is waited for no longer"]
    assert looked_for(flow) == []


@pytest.mark.parametrize("look", [lambda flow, tree: flow.tend([tree], set()), lambda flow, _: flow.recover()])
def test_C1_a_child_that_arrives_after_the_cancel_of_its_tree_is_canceled_by_an_agents_look_and_by_recover(
    desk: Desk, tree: tuple[Bridge, Record, Record], look: Callable[[Bridge, str], object]
) -> None:
    flow, root, child = tree
    canceled(flow, desk, root)
    assert looked_for(flow) == [root.tree]
    arrives(desk, child)
    look(flow, root.tree)
    assert desk.other.has[child.ref.id].state is EngineState.CANCELED
    assert flow.get(child.id).record.status is Status.CANCELED
    assert looked_for(flow) == []
    assert "arrived_late" in kinds(flow, child)
    assert "reopened_outside" not in kinds(flow, child) + kinds(flow, root)
    assert desk.other.count()["start"] == 0


def test_C5_a_root_whose_child_was_canceled_before_it_arrived_was_not_canceled_outside(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    flow.cancel(child.id)
    assert settle(flow, root.id).record.status is Status.CANCELED
    assert "canceled_outside" not in kinds(flow, root)


def test_C1_it_is_looked_for_also_while_the_rest_of_its_tree_goes_on(desk: Desk) -> None:
    desk.other.dropped = {"start"}
    root = desk.root(items=2)
    flow = desk.bridges[0]
    late, _ = children(flow.get(root.id))
    flow.cancel(late.id)
    desk.other.dropped = set()
    settle(flow, root.id)
    assert flow.get(root.id).record.status is Status.RUNNING
    arrives(desk, late)
    for _ in range(2):
        flow.tend([root.tree], set())
    assert desk.other.has[late.ref.id].state is EngineState.CANCELED


def test_O3_a_start_is_known_to_be_on_its_way_before_it_is_sent(desk: Desk) -> None:
    flow = desk.open()
    asked: list[bool] = []

    def before(name: str) -> None:
        if name == "start":
            asked.extend(record.asked for record in flow.ledger.executions.list(Filter(backend="other", roots=False)))

    desk.other.before = before
    root = desk.root()
    assert asked == [True]
    (child,) = children(flow.get(root.id))
    assert not child.asked, "it was seen"


def test_O3_what_was_surely_not_sent_is_not_waited_for(desk: Desk) -> None:
    desk.other.refuses = {"start": Unavailable("no route", unsent=True)}
    root = desk.root()
    flow = desk.bridges[0]
    outcome = flow.cancel(root.id)
    assert outcome.plan.warnings == ()
    settle(flow, root.id)
    assert looked_for(flow) == []


def test_C1_a_recover_that_is_killed_before_it_has_given_up_has_done_nothing(
    desk: Desk, tree: tuple[Bridge, Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, root, _ = tree
    canceled(flow, desk, root)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "end", killed)
        with pytest.raises(KeyboardInterrupt):
            flow.recover(root.id)
    assert looked_for(flow) == [root.tree]
    assert flow.ledger.operations.open_trees() == []


def test_P6_a_child_that_may_still_arrive_under_a_pause_is_held_when_it_does(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    plan = flow.plan(Verb.PAUSE, root.id)
    assert plan.lines[1].reason == "its start was seen nowhere, and is not sent again while it is held (P6)"
    assert plan.warnings[0].endswith("What still arrives is paused by whoever looks, an agent too (O3)")
    flow.pause(root.id)
    desk.host.has[root.ref.id].tasks = []
    look = flow.get(root.id)
    assert look.record.status is Status.PAUSED
    assert look.waits_for_driver
    assert undriven(flow.ledger.executions, flow.ledger.leases, [root.tree]) == {root.tree}
    assert not is_over(flow.known(root.tree))
    flow.recover(root.id)
    assert not is_over(flow.known(root.tree)), "its start is sent again at the resume"
    desk.other.dropped = set()
    arrives(desk, child)
    settle(flow, root.id)
    assert desk.other.has[child.ref.id].state is EngineState.PAUSED
    assert is_over(flow.known(root.tree))


def test_C1_recover_waits_no_longer_for_what_is_seen_nowhere_and_says_so(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    canceled(flow, desk, root)
    desk.other.down = True
    said: list[str] = []
    missed: list[str] = []
    flow.recover(root.id, failed=lambda one, _: missed.append(one))
    assert missed == [child.id]
    assert looked_for(flow) == [root.tree], "its engine is silent, and nobody knows"
    desk.other.down = False
    flow.recover(finished=lambda operation: said.append(operation.outcome))
    assert (said, looked_for(flow)) == ([], [root.tree]), "nobody has named it"
    flow.recover(root.id, finished=lambda operation: said.append(operation.outcome))
    assert said == ["its start was seen nowhere at other, and is waited for no longer"]
    assert looked_for(flow) == []
    assert tree_view(flow.get(root.id).snapshot)["tasks"][0]["children"][0]["waits_for"] is None
    assert flow.recover() == []


def test_a_tree_with_a_child_that_may_still_arrive_is_not_pruned(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, _ = tree
    canceled(flow, desk, root)
    assert flow.prune(time.time()) == 0
    flow.recover(root.id)
    assert flow.prune(time.time()) == 1


def test_O12_a_child_that_ended_before_it_could_be_canceled_is_shown_as_it_ended(
    desk: Desk, tree: tuple[Bridge, Record, Record]
) -> None:
    flow, root, child = tree
    canceled(flow, desk, root)
    arrives(desk, child)
    desk.other.has[child.ref.id].set("work", status=TaskStatus.SUCCEEDED, active=False)
    desk.other.has[child.ref.id].go(EngineState.SUCCEEDED)
    settle(flow, root.id)
    assert flow.get(child.id).record.status is Status.SUCCEEDED
    assert looked_for(flow) == []
