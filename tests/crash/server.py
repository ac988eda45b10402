"""A process that forks the processes that are to die: `python server.py PARENT-PID`, one JSON line for each.

It imports everything once, YAQL and the plugins' metadata too; each child then costs a fork. A child's local runs are
handed to the parent, which drives them in threads as a runner would.

An order with `stop` has its child say so at the point instead of dying there where that is true, and go on when it is
told to. Such an order's child says once that it has to wait for a tree, too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from crash.points import die, doomed, in_child
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref, Verb
from flowbridge.plugins import Hooks
from flowbridge_memory.backend import MemoryBackend


class HandOver:
    """A launcher that gives the run to another process that lives."""

    def __init__(self, ledger: Path, pid: int) -> None:
        self._ledger, self._pid = ledger, pid

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        database = Database(self._ledger, durable=False)
        Leases(database).hand_over(lease, self._pid, "the test")
        database.close()


def act(order: dict[str, Any], parent: int) -> None:
    """Carry out one verb."""
    ledger = Path(order["ledger"])
    backend = MemoryBackend("local", order["options"])
    launch = HandOver(ledger, parent)
    with Bridge(Config(ledger=ledger, actor="doomed"), backends=[backend], launch=launch, durable=False) as bridge:
        if order["verb"] == "start":
            bridge.run(Definition(order["definition"], "flow"), backend="local")
        else:
            request = RerunRequest(tuple(order["tasks"]) if order.get("tasks") else None)
            bridge.operate(Verb(order["verb"]), order["id"], request=request, timeout=10)


def _doomed(order: dict[str, Any], parent: int) -> int:
    def work() -> None:
        doomed(order["point"], reached=_stop if order.get("stop") else die)
        if "stop" in order:
            _tell_of_waiting()
        act(order, parent)

    return in_child(work)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _stop() -> None:
    """Say so, and go on when a line comes. The parent reads no line while its child lives."""
    _say("stopped")
    os.read(sys.stdin.fileno(), 100)


def _tell_of_waiting() -> None:
    """Say so once where a tree is in use by another."""
    take = Leases.take
    said: list[str] = []

    def taking(self: Leases, name: str, holder: str) -> Lease | None:
        lease = take(self, name, holder)
        if lease is None and name.startswith("tree:") and not said:
            said.append(name)
            _say("waits")
        return lease

    Leases.take = taking  # type: ignore[method-assign]


def _warm_up() -> None:
    text = "version: '2.0'\nflow: {tasks: {t: {action: std.echo output=<% 1 %>}}}"
    MemoryBackend("local", {}).validate(Definition(text, "flow"))
    Hooks()


if __name__ == "__main__":
    _warm_up()
    for line in sys.stdin:
        _say(str(_doomed(json.loads(line), int(sys.argv[1]))))
