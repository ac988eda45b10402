"""Whatever sessions a test has opened are closed behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionchain.chainkit import World
from actionchain.runkit import Shop


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while World.open_sessions:
        World.open_sessions.pop().close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A bridge whose chains really run; nothing of them is left behind."""
    one = Shop(tmp_path)
    yield one
    one.close()
