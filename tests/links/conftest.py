"""A host engine, another engine, and bridges over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbridge import bridge, carry
from links.kit import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A ledger and two engines. Nothing of this machine's configuration is seen, and waits are short."""
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setattr(carry, "_LONGEST_WAIT", 0.02)
    monkeypatch.setattr(bridge, "_FIRST_POLL", 0.001)
    made = Desk(tmp_path / "ledger.db")
    yield made
    made.close()
