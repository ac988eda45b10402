"""What is shown of a run whose look cannot be written down, because another process keeps the ledger locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.kit import Desk, one
from flowbridge.ledger import database
from flowbridge.ledger.database import Database
from flowbridge.model import EngineState
from flowbridge_cli.documents import full_document


def test_an_end_that_cannot_be_written_is_dated_by_the_look_that_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_HURRIED_SECONDS", 0.0)
    desk = Desk(tmp_path / "ledger")
    flow, other = desk.open(), Database(desk.ledger)
    record = one(desk)
    desk.engine.has[record.ref.id].tasks = []
    desk.engine.has[record.ref.id].go(EngineState.SUCCEEDED)
    with other.transaction():
        shown = full_document(flow, flow.get(record.id))
    other.close()
    desk.close()
    assert "in use by another process" in flow.ledger.unwritten
    assert (shown["status"], shown["updated_at"]) == ("succeeded", shown["observed_at"])
