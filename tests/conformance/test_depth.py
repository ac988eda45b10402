"""Deeper trees than the kit's own: four levels."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.model import Status, TaskStatus
from flowbridge_memory.backend import MemoryBackend
from support.threads import ThreadLauncher

FOUR = """
version: '2.0'
one: {tasks: {t: {workflow: two}}}
two: {tasks: {t: {workflow: three}}}
three: {tasks: {t: {workflow: four}}}
four: {tasks: {t: {action: flowbridge.run, input: {target: nobody, owner: the kit}}}}
"""


@pytest.mark.parametrize("cascades", [None, []], ids=["native", "bridged"])
def test_C3_a_cancel_reaches_four_levels(cascades: list[str] | None, tmp_path: Path) -> None:
    options = {} if cascades is None else {"cascades": cascades}
    ledger = tmp_path / "ledger.db"
    launch = ThreadLauncher(ledger, lambda: MemoryBackend("memory", options))
    backend = MemoryBackend("memory", options)
    with Bridge(Config(ledger=ledger, actor="me"), backends=[backend], launch=launch, durable=False) as bridge:
        record = bridge.run(Definition(FOUR, "four"), backend="memory", workflow="one")
        look = next(
            look
            for look in bridge.watch(record.id)
            if len(look.snapshot.nodes) == 4 and any(task.active for task in look.snapshot.nodes[3].tasks)
        )
        bridge.cancel(record.id)
        assert {node.record.status for node in bridge.get(record.id).snapshot.nodes} == {Status.CANCELING}
        (tree,) = backend.observe([record.ref.id]).values()
        backend.report(look.snapshot.nodes[3].record.ref.id, tree[3].waiting[0].key, TaskStatus.SUCCEEDED, None)
        end = bridge.wait(record.id, timeout=20)
        assert [node.record.status for node in end.snapshot.nodes] == [Status.CANCELED] * 4
        launch.join()
