"""A re-run from the beginning, killed at every point: it was never asked for, or it is started once (X1, O3)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from crash.points import DIED
from crash.test_verbs_survive import Lab, _copied, _prepared, order, server
from flowbridge.ledger.executions import Filter
from flowbridge.model import Status

__all__ = ["server"]


def test_X1_a_rerun_from_the_beginning_killed_at_any_point_is_started_once_or_never(
    tmp_path: Path,
    server: subprocess.Popen[str],
) -> None:
    base, id = _prepared(tmp_path, "bridged", "re-run")
    point, status, begun = 0, DIED, 0
    while status == DIED:
        lab = Lab(_copied(base, tmp_path / str(point)), {"cascades": []})
        status = order(server, lab, verb="re-run", id=id, point=point)
        lab.bridge.recover(timeout=20)
        begun += _check(lab, id)
        lab.close()
        point += 1
    assert status == 0
    assert 2 < begun < point


def _check(lab: Lab, id: str) -> bool:
    """Whether the re-run was asked for; then there is one new run, and it goes to its own end."""
    asked = [entry for entry in lab.bridge.history() if entry.doc.get("verb") == "re-run"]
    fresh = [record for record in lab.bridge.list(Filter()) if record.rerun_of == id]
    assert len(fresh) == len(asked) <= 1
    for record in fresh:
        look = lab.bridge.wait(record.id, timeout=20)
        assert look.record.status is Status.ERRORED
        leaves = [task for node in look.snapshot.nodes for task in node.tasks if task.name == "bad"]
        assert [task.starts for task in leaves] == [1, 1]
    assert lab.bridge.find(id).status is Status.ERRORED
    assert lab.bridge.ledger.operations.open_trees() == []
    assert lab.bridge.ledger.database.one("SELECT count(DISTINCT root) FROM rows")[0] == 1 + len(fresh)
    assert lab.bridge.ledger.database.one("PRAGMA integrity_check")[0] == "ok"
    return bool(asked)
