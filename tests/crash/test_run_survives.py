"""A run of 50 tasks, its process killed before and after every commit: each task that ended ran once (S6)."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from crash.points import DIED, doomed, in_child
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Record, Ref, Status
from flowbridge.runners import drive
from flowbridge_memory.backend import MemoryBackend

STAGES, WIDTH = 10, 5


def definition(file: Path) -> Definition:
    stages = "".join(
        f"    s{stage}:\n"
        f"      with-items: i in {list(range(WIDTH))}\n"
        f"      action: note file='{file}' name='s{stage}-<% $.i %>'\n"
        + (f"      on-success: s{stage + 1}\n" if stage + 1 < STAGES else "")
        for stage in range(STAGES)
    )
    return Definition(f"version: '2.0'\nfifty:\n  tasks:\n{stages}", "fifty")


class Here:
    """A launcher that drives the run in this process, at once."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        database = Database(self._ledger, durable=False)
        drive(database, engine(), root, lease)
        database.close()


def engine() -> MemoryBackend:
    return MemoryBackend("local", {"actions": {"note": "crash.effects:append"}, "workers": 3})


def bridge(ledger: Path) -> Bridge:
    return Bridge(Config(ledger=ledger, actor="me"), backends=[engine()], launch=Here(ledger), durable=False)


def run(ledger: Path, file: Path, point: int) -> None:
    doomed(point)
    with bridge(ledger) as one:
        one.run(definition(file), backend="local")


def test_S6_each_task_that_ended_ran_once_wherever_the_runner_was_killed(tmp_path: Path) -> None:
    point, status = 0, DIED
    while status == DIED:
        ledger, file = tmp_path / f"{point}.db", tmp_path / f"{point}.txt"
        status = in_child(lambda ledger=ledger, file=file, point=point: run(ledger, file, point))  # type: ignore[misc]
        with bridge(ledger) as one:
            _check(one, file)
        point += 1
    assert status == 0
    assert point > 4 * STAGES


def _check(one: Bridge, file: Path) -> None:
    record = _record(one)
    if record is None:
        assert not file.exists()
        return
    unknown = set(one.get(record.id).snapshot.nodes[0].unknown)
    one.recover(record.id)
    end = one.wait(record.id, timeout=20).record.status
    ran = Counter(file.read_text().split()) if file.exists() else Counter()
    assert set(ran.values()) <= {1}
    assert end is (Status.ERRORED if unknown else Status.SUCCEEDED)
    if not unknown:
        assert len(ran) == STAGES * WIDTH
    assert one.ledger.database.one("PRAGMA integrity_check")[0] == "ok"
    assert one.ledger.operations.open_trees() == []


def _record(one: Bridge) -> Record | None:
    history = one.history()
    return one.find(history[0].execution) if history else None


def test_S6_a_leaf_whose_end_nobody_saw_is_reported_and_run_again_only_when_told(tmp_path: Path) -> None:
    ledger, file = tmp_path / "ledger.db", tmp_path / "lines.txt"
    assert in_child(lambda: _dies_in_the_middle(ledger, file)) == DIED
    with bridge(ledger) as one:
        record = _record(one)
        assert record is not None
        assert one.get(record.id).record.status is Status.ABANDONED
        unknown = one.get(record.id).snapshot.nodes[0].unknown
        assert unknown
        before = Counter(file.read_text().split()) if file.exists() else Counter()
        one.recover(record.id, assume="rerun")
        assert one.wait(record.id, timeout=20).record.status is Status.SUCCEEDED
        after = Counter(file.read_text().split())
        assert len(after) == STAGES * WIDTH
        assert sum((after - before).values()) >= STAGES * WIDTH - sum(before.values())
        assert sum(count - 1 for count in after.values()) <= len(unknown)


def test_S6_a_recover_that_was_killed_before_it_assumed_anything_is_not_told_to_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, file = tmp_path / "ledger.db", tmp_path / "lines.txt"
    assert in_child(lambda: _dies_in_the_middle(ledger, file)) == DIED

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with bridge(ledger) as one:
        record = _record(one)
        assert record is not None
        with monkeypatch.context() as patch:
            patch.setattr(LocalBackend, "recover", killed)
            with pytest.raises(KeyboardInterrupt):
                one.recover(record.id, assume="failed")
        one.recover(record.id, assume="rerun")
        one.wait(record.id, timeout=20)
        outcomes = " ".join(str(entry.doc.get("outcome")) for entry in one.history(record.id))
    assert "run again" in outcomes
    assert "taken as failed" not in outcomes


@pytest.mark.parametrize(("assume", "taken"), [("failed", "taken as failed"), ("rerun", "run again")])
def test_S6_recover_says_what_it_took_for_the_ends_that_nobody_saw_and_the_history_keeps_it(
    assume: str, taken: str, tmp_path: Path
) -> None:
    ledger, file = tmp_path / "ledger.db", tmp_path / "lines.txt"
    assert in_child(lambda: _dies_in_the_middle(ledger, file)) == DIED
    told: list[str] = []
    with bridge(ledger) as one:
        record = _record(one)
        assert record is not None
        unseen = ", ".join(f"fifty.{name}" for name in one.get(record.id).snapshot.nodes[0].unknown)
        one.recover(record.id, assume=assume, finished=lambda operation: told.append(operation.outcome))
        kept = [entry.doc.get("outcome") for entry in one.history(record.id) if entry.kind == "outcome"]
        one.wait(record.id, timeout=20)
    assert told[0] == f"done; nobody saw how {unseen} ended: {taken}"
    assert told[0] in kept


def _dies_in_the_middle(ledger: Path, file: Path) -> None:
    with bridge(ledger) as one:
        backend = one.instances.get("local")
        assert isinstance(backend, MemoryBackend)
        backend.actions.register("note", _deadly)
        Here.__call__ = _here_deadly  # type: ignore[method-assign]
        one.run(definition(file), backend="local")


def _deadly(file: str, name: str) -> str:
    os._exit(DIED)


def _here_deadly(self: Here, backend: LocalBackend, root: Ref, lease: Lease) -> None:
    assert isinstance(backend, MemoryBackend)
    database = Database(self._ledger, durable=False)
    mine = engine()
    mine.actions.register("note", _deadly)
    drive(database, mine, root, lease)
