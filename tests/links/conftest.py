"""A host engine, another engine, and bridges over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from links.kit import Desk
from support.haste import hurry


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A ledger and two engines. Nothing of this machine's configuration is seen, and waits are short."""
    hurry(monkeypatch, tmp_path)
    made = Desk(tmp_path / "ledger.db")
    yield made
    made.close()
