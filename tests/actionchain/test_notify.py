"""Whom a chain wants told of its tasks reaches the hooks, once for each task that ends."""

from __future__ import annotations

from typing import Any

from actionchain.chainkit import pack
from actionchain.runkit import Shop
from flowbridge import hookimpl
from flowbridge.model import Record

OWN = {"on-complete": {"message": "c1 is over", "routes": ["chat"], "data": {}}}
ALL = {"on-failure": {"routes": ["pager"]}}


class Listener:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, Any]] = []
        self.numbers: list[int] = []

    @hookimpl
    def flowbridge_task_ended(self, execution: Record, task: str, status: str, notify: Any, number: int) -> None:
        self.told.append((execution.workflow, task, status, notify))
        self.numbers.append(number)


def test_what_a_task_or_else_its_chain_says_is_told_with_the_task_s_end(shop: Shop) -> None:
    tasks = [
        {"name": "c1", "ref": "core.noop", "notify": OWN, "on-success": "c2"},
        {"name": "c2", "ref": "core.noop", "on-success": "c3"},
        {"name": "c3", "ref": "core.local", "parameters": {"cmd": "exit 1"}},
    ]
    flow = {
        "runner_type": "action-chain",
        "entry_point": "chains/flow.yaml",
        "notify": ALL,
        "parameters": {"skip_notify": {"default": ["c2"]}},
    }
    pack(shop.folder, "den", {"flow": flow}, {"flow": {"chain": tasks}})
    listener = Listener()
    shop.bridge.hooks.register(listener, "listener")
    id = shop.run("den.flow")
    shop.bridge.wait(id, timeout=60)
    shop.bridge.wait(id, timeout=60)
    assert listener.told == [("den.flow", "c1", "succeeded", OWN), ("den.flow", "c3", "errored", ALL)]
    assert len(set(listener.numbers)) == 2
    kinds = [entry.kind for entry in shop.bridge.history(id)]
    assert kinds.count("task_ended") == 2
