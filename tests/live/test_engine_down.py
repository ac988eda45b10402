"""A tree over a real Mistral, the reference engine and a chain, and the Mistral is down for a while (O2).

It is killed and started again in the same place. What is below it goes on meanwhile; nothing is started or told twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flowbridge.backend import Definition
from flowbridge.checks import RerunRequest
from flowbridge.errors import Unavailable
from flowbridge.law.tables import TERMINAL
from flowbridge.model import EngineState, Status, Verb
from flowbridge_mistral.backend import MistralBackend
from live.mistral_server import MistralServer
from live.test_three_engines_survive import CANCELED, PATIENCE, PAUSED, Shop, Tree, agent_beside, ended
from live.three_engines import flow, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture
def mistral(tmp_path: Path) -> Iterator[MistralServer]:
    """One that this test may kill."""
    folder = tmp_path / "mistral"
    folder.mkdir()
    with MistralServer(folder) as server:
        yield server


@pytest.fixture
def shop(mistral: MistralServer, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, mistral.url)
    yield made
    made.close()


def below(shop: Shop, tree: Tree) -> list[Status]:
    """What is shown of the executions below the Mistral's, while that does not answer."""
    look = shop.bridge.get(tree.id)
    assert set(look.silent) == {"mistral"}
    return [node.record.status for node in look.snapshot.nodes[1:]]


def done_below(verb: Verb, shop: Shop, mistral: MistralServer) -> Tree:
    """A tree on which a verb was carried out while its Mistral was down: not done, and left open."""
    tree = shop.gated()
    mistral.kill()
    outcome = shop.bridge.operate(verb, tree.id, timeout=10)
    assert (outcome.done, outcome.exit_code) == (False, Unavailable.exit_code)
    return tree


def test_O2_what_ended_while_it_was_down_is_told_once_when_it_is_back(shop: Shop, mistral: MistralServer) -> None:
    tree = shop.gated()
    with agent_beside(shop):
        mistral.kill()
        tree.gate.open()
        until(lambda: below(shop, tree) == [Status.SUCCEEDED] * 2, "all below to end", PATIENCE)
        assert shop.bridge.find(tree.id).status is Status.RUNNING
        mistral.start_again()
        ended(shop, tree, Status.SUCCEEDED, "first", "second")


def test_O2_a_pause_while_it_is_down_holds_the_others_and_is_finished_when_it_is_back(
    shop: Shop, mistral: MistralServer
) -> None:
    tree = done_below(Verb.PAUSE, shop, mistral)
    assert set(below(shop, tree)) <= PAUSED
    tree.gate.open()
    with agent_beside(shop):
        until(lambda: below(shop, tree) == [Status.PAUSED] * 2, "all below to be paused", PATIENCE)
        with pytest.raises(Unavailable):
            shop.bridge.resume(tree.id, timeout=10)
        mistral.start_again()
        shop.bridge.wait(tree.id, timeout=PATIENCE, until=frozenset({Status.PAUSED}))
        assert tree.said() == ["first"]
        shop.bridge.resume(tree.id, timeout=PATIENCE)
        ended(shop, tree, Status.SUCCEEDED, "first", "second")
    assert [entry.doc["verb"] for entry in shop.bridge.history(tree.id) if entry.kind == "operation"].count(
        "pause"
    ) == 1


def test_O2_a_cancel_while_it_is_down_cancels_the_others_and_is_finished_when_it_is_back(
    shop: Shop, mistral: MistralServer
) -> None:
    tree = done_below(Verb.CANCEL, shop, mistral)
    assert set(below(shop, tree)) <= CANCELED
    tree.gate.open()
    with agent_beside(shop):
        mistral.start_again()
        ended(shop, tree, Status.CANCELED, "first")


def test_C1_a_child_whose_start_it_takes_after_the_cancel_of_its_tree_is_canceled_by_an_agent(
    mistral: MistralServer, tmp_path: Path
) -> None:
    shop = Shop(tmp_path, mistral.url, timeout=2)
    late = flow("late", {"wait": {"action": "std.sleep", "input": {"seconds": 30}}})
    shop.bridge.instances.get("mistral").deploy(Definition(late, "late.yaml"))
    root = flow("root", {"t": {"action": "flowbridge.run", "input": {"target": "mistral:late"}}})
    with mistral.halted():
        record = shop.bridge.run(Definition(root, "root.yaml"), backend="memory")
        until(lambda: shop.bridge.get(record.id).snapshot.nodes[1:], "a child", PATIENCE)
        (child,) = shop.bridge.get(record.id).snapshot.nodes[1:]
        assert (child.state, child.record.asked) == (EngineState.ABSENT, True)
        assert shop.bridge.cancel(record.id).status is Status.CANCELED
    with agent_beside(shop):
        until(lambda: shop.bridge.find(child.record.id).raw == "CANCELLED", "the late child to be canceled", PATIENCE)
        until(lambda: shop.bridge.find(child.record.id).status is Status.CANCELED, "what ran in it to end", PATIENCE)
    assert "arrived_late" in [entry.kind for entry in shop.bridge.history(child.record.id)]
    shop.close()


def test_O5_a_re_run_that_it_takes_after_a_cancel_took_it_back_is_canceled_by_an_agent(
    mistral: MistralServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, mistral.url, timeout=2)
    engine = shop.bridge.instances.get("mistral")
    engine.deploy(Definition(flow("late", {"bad": {"action": "std.fail", "wait-before": 5}}), "late.yaml"))
    root = flow("root", {"t": {"action": "flowbridge.run", "input": {"target": "mistral:late"}}})
    record = shop.bridge.run(Definition(root, "root.yaml"), backend="memory")
    assert shop.bridge.wait(record.id, timeout=PATIENCE).record.status is Status.ERRORED
    (child,) = shop.bridge.get(record.id).snapshot.nodes[1:]
    # Over a connection of its own: what comes over one that has answered before is dropped if that closes meanwhile.
    other = MistralBackend("mistral", {"url": mistral.url, "timeout": 2})
    with ExitStack() as meanwhile:

        def held(*call: Any) -> None:
            meanwhile.enter_context(mistral.halted())
            other.rerun(*call)

        monkeypatch.setattr(engine, "rerun", held)
        outcome = shop.bridge.rerun(record.id, RerunRequest(("t.bad",)), timeout=10)
        assert outcome.exit_code == Unavailable.exit_code
        canceled = shop.bridge.cancel(outcome.execution)
        assert canceled.exit_code == Unavailable.exit_code, "nobody can tell whether it has come: it stays open"
        assert "its re-run was sent, and its engine cannot be asked for it" in canceled.plan.warnings[0]
    with agent_beside(shop):
        until(lambda: shop.bridge.find(child.record.id).raw == "CANCELLED", "the late re-run to be canceled", PATIENCE)
        until(lambda: shop.bridge.find(child.record.id).status in TERMINAL, "what ran in it to end", PATIENCE)
    kinds = [entry.kind for entry in shop.bridge.history(child.record.id)]
    assert kinds.count("arrived_late") == 1
    assert "reopened_outside" not in kinds
    assert shop.bridge.ledger.executions.late() == []
    other.close()
    shop.close()
