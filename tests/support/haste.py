"""What tests over engines driven by hand need of the bridge: short waits, and none of this machine's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbridge import bridge, carry


def hurry(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Look again soon, and find no configuration but what a test gives."""
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(folder / "none.yaml"))
    monkeypatch.setattr(carry, "_LONGEST_WAIT", 0.02)
    monkeypatch.setattr(bridge, "_FIRST_POLL", 0.001)
