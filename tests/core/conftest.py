"""What every test of the core may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.kit import Desk
from flowbridge.bridge import Bridge
from support.haste import hurry


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A ledger and two engines. Nothing of this machine's configuration is seen, and waits are short."""
    hurry(monkeypatch, tmp_path)
    made = Desk(tmp_path / "ledger.db")
    yield made
    made.close()


@pytest.fixture
def flow(desk: Desk) -> Bridge:
    """A bridge over the desk."""
    return desk.open()
