"""A disk that is full at any moment of a verb: what is said of the verb is what the ledger holds (O2, O3)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.kit import Desk, errored_family, one
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.errors import LedgerError
from flowbridge.ledger.database import Database
from flowbridge.ledger.operations import State
from flowbridge.model import EngineState, TaskStatus
from support.haste import hurry

FULL = sqlite3.OperationalError("database or disk is full")

Ask = Callable[[Bridge], object]


def _rerun(desk: Desk) -> Ask:
    root, _ = errored_family(desk)
    return lambda flow: flow.rerun(root.id, RerunRequest(("sub.bad",)))


def _rerun_anew(desk: Desk) -> Ask:
    (flow,) = desk.bridges
    record = flow.run(Definition("flow"), backend="fake")
    desk.engine.has[record.ref.id].set("work", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has[record.ref.id].go(EngineState.SUCCEEDED)
    flow.get(record.id)
    return lambda flow: flow.rerun(record.id)


def _on_one(verb: str) -> Callable[[Desk], Ask]:
    def prepared(desk: Desk) -> Ask:
        record = one(desk)
        return lambda flow: getattr(flow, verb)(record.id)

    return prepared


#: By verb: what makes ready for it, and gives it.
VERBS: dict[str, Callable[[Desk], Ask]] = {
    "start": lambda _: lambda flow: flow.run(Definition("flow"), backend="fake"),
    "pause": _on_one("pause"),
    "cancel": _on_one("cancel"),
    "re-run": _rerun,
    "re-run anew": _rerun_anew,
}


@contextmanager
def full_at(moment: int, *, keeps: bool) -> Iterator[list[str]]:
    """From the transaction with this number on every write fails. `keeps`: the first that fails counts all the same,
    as one does whose log was written before the disk said no."""
    commit, written = Database.commit, []

    def fails(self: Database) -> None:
        written.append("transaction")
        if len(written) == moment and keeps:
            commit(self)
        elif len(written) < moment:
            commit(self)
            return
        self._roll_back()
        raise self._translated(FULL, unsure=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "commit", fails)
        yield written


@pytest.mark.parametrize("keeps", [False, True], ids=["lost", "kept"])
@pytest.mark.parametrize("verb", VERBS)
def test_O3_wherever_the_disk_is_full_it_is_said_whether_the_verb_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, *, keeps: bool
) -> None:
    hurry(monkeypatch, tmp_path)
    said = list(_said(tmp_path, verb, keeps=keeps))
    assert len(said) >= 3
    assert len(said) < MOMENTS  # at the last one there was nothing left to be written
    assert "was not begun" in said[0]  # nobody had the tree yet
    assert any("is written down: once" in message for message in said)


MOMENTS = 50


def _said(place: Path, verb: str, *, keeps: bool) -> Iterator[str]:
    """What is said of a verb where the disk is full from its first transaction on, from its second, and so on."""
    for moment in range(1, MOMENTS):
        desk = Desk(place / f"{moment}.db")
        flow = desk.open()
        ask = VERBS[verb](desk)
        before = {entry.operation for entry in flow.history()}
        desk.engine.requests.clear()
        with full_at(moment, keeps=keeps) as written:
            try:
                ask(flow)
            except LedgerError as error:
                _check(desk, verb.partition(" ")[0], error.message, before)
                yield error.message
        desk.close()
        if len(written) < moment:
            return


def _check(desk: Desk, verb: str, message: str, before: set[str]) -> None:
    """What was said, against what another process finds."""
    operations = desk.open("somebody").ledger.operations
    new = {entry.operation for entry in operations.history()} - before
    states = {operation.state for id in new if (operation := operations.known(id))}
    assert "\n" not in message
    if f"the {verb} was not begun" in message:
        assert states <= {State.REJECTED}
        assert desk.engine.sent() == []
    elif f"the {verb} is written down: once the ledger is well" in message:
        assert State.OPEN in states
    elif f"the {verb} is written down, and ended: " in message:
        assert states & {State.DONE, State.FAILED}
    else:
        assert f"whether the {verb} is written down is not known" in message
        assert desk.engine.sent() == []
