"""Whatever sessions a test has opened are closed behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actionchain.chainkit import World


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while World.open_sessions:
        World.open_sessions.pop().close()
