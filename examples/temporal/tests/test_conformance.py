"""A real Temporal against the law, through the bridge."""

from collections.abc import Iterator
from typing import Any

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge.errors import Unsupported
from flowbridge.model import ExecutionLook, Ref, TaskStatus, WaitingChild
from flowbridge_temporal.backend import TemporalBackend
from lab import QUEUE, Hand


class TemporalHarness(Harness):
    """Shapes are types that the worker knows; a gate is an activity that is completed from outside."""

    patience = 30.0

    def __init__(self, bridge: Bridge, hand: Hand) -> None:
        super().__init__(bridge, "temporal")
        self.hand = hand

    def definition(self, shape: Shape) -> str:
        if any(step.items is not None for flow in shape.flows for step in flow.steps):
            raise Unsupported("Temporal has no with-items: each activity and each child is a task of its own")
        return f"{shape.name}.{shape.flows[0].name}"

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        here = [task for task in look.tasks if task.raw == "STARTED" and "gate" in "".join(task.running)]
        return tuple(WaitingChild(task.name, task.id, None, "gate") for task in here)

    def unreachable(self) -> TemporalBackend:
        return TemporalBackend("temporal", {"address": "127.0.0.1:1", "task_queue": QUEUE})

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        self.hand.open(ref.id, gate.key, "" if status is TaskStatus.SUCCEEDED else "released with an error", result)


@pytest.fixture(scope="module")
def harness(address: str, hand: Hand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalHarness]:
    backend = TemporalBackend("temporal", {"address": address, "task_queue": QUEUE})
    config = Config(ledger=tmp_path_factory.mktemp("ledger") / "ledger.db", actor="me")
    with Bridge(config, backends=[backend], durable=False) as bridge:
        yield TemporalHarness(bridge, hand)
