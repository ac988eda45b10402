"""Every verb on a tree of 20, killed at every point: nothing is lost, and nothing is done twice (O3)."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crash.points import DIED
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import Rejected
from flowbridge.ledger.leases import Lease
from flowbridge.model import Record, Ref, Status, TaskStatus, Verb
from flowbridge_memory.backend import MemoryBackend
from support.threads import ThreadLauncher

TREE = """
version: '2.0'
main:
  tasks:
    branch:
      with-items: i in BRANCHES
      workflow: branch n=<% $.i %>
branch:
  input: [n]
  tasks:
    leaf:
      with-items: i in <% range($.n) %>
      workflow: leaf
leaf:
  tasks:
    LEAF
"""
GATED = TREE.replace("LEAF", "gate: {action: flowbridge.run, input: {target: nobody, owner: the kit}}")
FAILING = TREE.replace("LEAF", "bad: {action: std.fail}")
#: Sixteen leaves where the engine cascades; fewer where every execution is a call of its own.
BRANCHES = {"native": [6, 5, 5], "bridged": [1, 1]}
CASCADES: dict[str, dict[str, Any]] = {"native": {}, "bridged": {"cascades": []}}

#: What each verb starts from, and the statuses that its whole tree may then show.
PAUSED = frozenset({Status.PAUSING, Status.PAUSED})
CANCELED = frozenset({Status.CANCELING, Status.CANCELED})


@dataclass
class Lab:
    """A ledger of its own, whose local runs are driven in threads of this process."""

    ledger: Path
    options: dict[str, Any]

    def __post_init__(self) -> None:
        self.launcher = ThreadLauncher(self.ledger, self._backend)
        self.driven: set[str] = set()
        config = Config(ledger=self.ledger, actor="me")
        self.bridge = Bridge(config, backends=[self._backend()], launch=self.launcher, durable=False)

    def _backend(self) -> MemoryBackend:
        return MemoryBackend("local", self.options)

    def drive(self) -> None:
        """Drive the run that a child handed over, or that nobody drives any more."""
        for name, token, pid in self.bridge.ledger.database.all("SELECT name, token, pid FROM leases"):
            if name.startswith("run:") and pid == os.getpid() and token not in self.driven:
                self.driven.add(token)
                self.launcher(self._backend(), Ref("local", name.rpartition(":")[2]), Lease(name, token))

    def take(self, root: Record) -> None:
        """Begin to drive a run from its rows."""
        lease = self.bridge.ledger.leases.take(f"run:{root.ref}", "the test")
        assert lease is not None
        self.driven.add(lease.token)
        self.launcher(self._backend(), root.ref, lease)

    def close(self) -> None:
        """End the runs and the bridge."""
        self.bridge.ledger.database.run("DELETE FROM leases")
        self.launcher.join()
        self.bridge.close()


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, str(here / "server.py"), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def order(server: subprocess.Popen[str], lab: Lab, **what: Any) -> int:
    """Have a child carry out a verb; what it hands over meanwhile is driven here. Gives its exit status."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps({"ledger": str(lab.ledger), "options": lab.options, **what}) + "\n")
    server.stdin.flush()
    while not select.select([server.stdout], [], [], 0.005)[0]:
        lab.drive()
    status = int(server.stdout.readline())
    lab.drive()
    return status


def _prepared(tmp_path: Path, cascades: str, verb: str) -> tuple[Path, str]:
    """A ledger with a tree that the verb may be applied to, driven by nobody."""
    lab = Lab(tmp_path / "base.db", CASCADES[cascades])
    branches = BRANCHES[cascades]
    errored = verb in ("re-run", "skip")
    text = (FAILING if errored else GATED).replace("BRANCHES", str(branches))
    record = lab.bridge.run(Definition(text, "flow"), backend="local")
    if errored:
        lab.bridge.wait(record.id, timeout=20)
    else:
        _until_gated(lab, record.id, branches)
    if verb == "resume":
        lab.bridge.pause(record.id)
        local = lab.bridge.instances.get("local")
        for look in local.observe([record.ref.id])[record.ref.id]:
            for gate in look.waiting:
                local.report(look.ref.id, gate.key, TaskStatus.SUCCEEDED, None)
        lab.bridge.wait(record.id, timeout=20, until=frozenset({Status.PAUSED}))
    lab.close()
    return lab.ledger, record.id


def _size(branches: list[int]) -> int:
    return 1 + len(branches) + sum(branches)


def _until_gated(lab: Lab, id: str, branches: list[int]) -> None:
    for look in lab.bridge.watch(id):
        if len(look.snapshot.nodes) == _size(branches) and sum(
            task.active for node in look.snapshot.nodes for task in node.tasks
        ) >= sum(branches):
            return


def _copied(base: Path, to: Path) -> Path:
    to.mkdir()
    shutil.copy(base, to / "ledger.db")
    return to / "ledger.db"


@pytest.mark.parametrize("cascades", CASCADES)
@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "re-run", "skip"])
def test_O3_a_verb_killed_at_any_point_is_finished_or_was_never_begun(
    verb: str, cascades: str, tmp_path: Path, server: subprocess.Popen[str]
) -> None:
    options = CASCADES[cascades]
    base, id = _prepared(tmp_path, cascades, verb)
    tasks = ["branch"] if verb in ("re-run", "skip") else []
    point, status = 0, DIED
    while status == DIED:
        lab = Lab(_copied(base, tmp_path / str(point)), options)
        if verb in ("pause", "cancel"):
            lab.take(lab.bridge.find(id))
        status = order(server, lab, verb=verb, id=id, tasks=tasks, point=point)
        _settle_and_check(lab, verb, id, tasks, BRANCHES[cascades])
        lab.close()
        point += 1
    assert status == 0
    assert point > 10


def _settle_and_check(lab: Lab, verb: str, id: str, tasks: list[str], branches: list[int]) -> None:
    lab.bridge.recover(id if _current(lab, id) else None, timeout=20)
    if not _begun(lab, verb):
        lab.bridge.operate(Verb(verb), id, request=RerunRequest(tuple(tasks)), timeout=20)
    record = _newest(lab, id)
    look = lab.bridge.get(record.id)
    statuses = {node.record.status for node in look.snapshot.nodes}
    assert lab.bridge.ledger.operations.open(record.tree) == []
    assert lab.bridge.ledger.database.one("PRAGMA integrity_check")[0] == "ok"
    _check[verb](lab, record, statuses, branches)


def _current(lab: Lab, id: str) -> bool:
    return not lab.bridge.find(id).superseded_by


def _newest(lab: Lab, id: str) -> Record:
    record = lab.bridge.find(id)
    while record.superseded_by:
        record = lab.bridge.find(record.superseded_by)
    return record


def _begun(lab: Lab, verb: str) -> bool:
    return any(
        entry.kind == "operation" and entry.doc["verb"] == verb and entry.actor == "doomed"
        for entry in lab.bridge.history()
    )


def _is_paused(lab: Lab, record: Record, statuses: set[Status], branches: list[int]) -> None:
    assert statuses <= PAUSED
    with pytest.raises(Rejected):
        lab.bridge.pause(record.id)


def _is_canceled(lab: Lab, record: Record, statuses: set[Status], branches: list[int]) -> None:
    assert statuses <= CANCELED


def _is_resumed(lab: Lab, record: Record, statuses: set[Status], branches: list[int]) -> None:
    look = lab.bridge.wait(record.id, timeout=20)
    assert look.record.status is Status.SUCCEEDED
    starts = [task.starts for node in look.snapshot.nodes for task in node.tasks if task.name == "gate"]
    assert starts == [1] * sum(branches)


def _is_rerun(lab: Lab, record: Record, statuses: set[Status], branches: list[int]) -> None:
    look = lab.bridge.wait(record.id, timeout=20)
    assert look.record.status is Status.ERRORED
    assert [task.starts for task in look.snapshot.nodes[0].tasks] == [2 * len(branches)]
    assert len(look.snapshot.nodes) == 2 * _size(branches) - 1


def _is_skipped(lab: Lab, record: Record, statuses: set[Status], branches: list[int]) -> None:
    look = lab.bridge.wait(record.id, timeout=20)
    assert look.record.status is Status.SUCCEEDED
    assert [task.status for task in look.snapshot.nodes[0].tasks] == [TaskStatus.SKIPPED]


_check = {
    "pause": _is_paused,
    "cancel": _is_canceled,
    "resume": _is_resumed,
    "re-run": _is_rerun,
    "skip": _is_skipped,
}


def test_O3_a_start_killed_at_any_point_starts_once_or_never(tmp_path: Path, server: subprocess.Popen[str]) -> None:
    point, status = 0, DIED
    while status == DIED:
        lab = Lab(tmp_path / f"{point}.db", {})
        status = order(server, lab, verb="start", definition=GATED.replace("BRANCHES", "[6, 5, 5]"), point=point)
        lab.bridge.recover(timeout=20)
        records = lab.bridge.ledger.executions.tree(lab.bridge.history()[0].tree) if lab.bridge.history() else []
        if records:
            _until_gated(lab, records[0].id, [6, 5, 5])
            assert len(lab.bridge.get(records[0].id).snapshot.nodes) == 20
        assert lab.bridge.ledger.operations.open_trees() == []
        assert lab.bridge.ledger.database.one("SELECT count(DISTINCT root) FROM rows")[0] == bool(records)
        lab.close()
        point += 1
    assert status == 0
