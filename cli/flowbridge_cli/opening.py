"""Opening the bridge for a command that has only so much time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flowbridge.bridge import Bridge
from flowbridge.deadline import in_time_for


@contextmanager
def opened(timeout: float | None) -> Iterator[tuple[Bridge, float | None]]:
    """A bridge, and how many seconds of `timeout` are left once its ledger is open: somebody may keep that locked while
    it is to be made, or brought to a newer version."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with in_time_for(deadline):
        bridge = Bridge()
    with bridge:
        yield bridge, None if deadline is None else max(0.0, deadline - time.monotonic())
