"""`recover` itself killed at every point: the next one finishes it, and the history says how each ended (O3, O6)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crash.points import DIED, doomed, in_child
from crash.test_run_survives import Here, engine
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref, Status
from flowbridge.runners import Launcher


def _dead(ledger: Path) -> Launcher:
    """Runners that die before they begin."""

    def launch(backend: LocalBackend, root: Ref, lease: Lease) -> None:
        database = Database(ledger, durable=False)
        Leases(database).give(lease)
        database.close()

    return launch


def _bridge(ledger: Path, launch: Launcher) -> Bridge:
    return Bridge(Config(ledger=ledger, actor="me"), backends=[engine()], launch=launch, durable=False)


@pytest.mark.parametrize("who", ["recover", "a look"])
def test_O3_a_recover_killed_at_any_point_is_finished_and_every_one_has_its_outcome(who: str, tmp_path: Path) -> None:
    base, lines = tmp_path / "base.db", tmp_path / "lines.txt"
    text = f"version: '2.0'\none:\n  tasks:\n    t: {{action: note file='{lines}' name='t'}}\n"
    with _bridge(base, _dead(base)) as one:
        id = one.run(Definition(text, "one"), backend="local").id
        assert one.get(id).record.status is Status.ABANDONED
    point, status = 0, DIED
    while status == DIED:
        ledger = tmp_path / f"{point}.db"
        shutil.copy(base, ledger)
        lines.unlink(missing_ok=True)
        status = in_child(lambda ledger=ledger, point=point: _recover(ledger, id, point))  # type: ignore[misc]
        with _bridge(ledger, Here(ledger)) as after:
            _looked_after(after, id, who)
            assert after.ledger.operations.open_trees() == []
            rows = after.history(id)
            ends = {row.operation: row.doc["state"] for row in rows if row.kind == "outcome"}
            assert all(row.operation in ends for row in rows if row.kind == "recover")
        assert not lines.exists() or lines.read_text().split() == ["t"]
        point += 1
    assert status == 0
    assert point > 10


def _recover(ledger: Path, id: str, point: int) -> None:
    doomed(point)
    with _bridge(ledger, Here(ledger)) as one:
        one.recover(id)


def _looked_after(after: Bridge, id: str, who: str) -> None:
    after.get(id)
    if who == "recover":
        after.recover(id)
        assert after.get(id).record.status in (Status.SUCCEEDED, Status.ERRORED)
