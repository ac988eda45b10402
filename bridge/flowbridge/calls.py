"""Several calls at once, at most a few in flight, so that a slow engine is not waited for once for each execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

#: How many calls are in flight at most.
LIMIT = 8

_Answer = TypeVar("_Answer")


def at_once(calls: Sequence[Callable[[], _Answer]]) -> list[_Answer]:
    """The answers of all calls, in their order. Every call is made; then the first error is raised."""
    if len(calls) < 2:
        return [call() for call in calls]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  a single call, as most are, needs no threads

    pool = ThreadPoolExecutor(min(LIMIT, len(calls)), thread_name_prefix="call")
    waits = True
    try:
        return [future.result() for future in [pool.submit(copy_context().run, call) for call in calls]]
    except KeyboardInterrupt:
        waits = False  # whoever stops us is not to wait for an engine that hangs
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=not waits)
