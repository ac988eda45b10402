"""Several calls at once, at most a few in flight, so that a slow engine is not waited for once for each execution; and
what is asked of several trees at once, apart where one of them cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any, TypeVar

from flowbridge.errors import DamagedRow

#: How many calls are in flight at most.
LIMIT = 8

_Answer = TypeVar("_Answer")
_Found = TypeVar("_Found")


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


def apart(
    ask: Callable[[Sequence[str]], Mapping[Any, _Found]],
    trees: Sequence[str],
    failed: Callable[[str, DamagedRow], object],
) -> Mapping[Any, _Found]:
    """What is asked of all trees at once. Where a row of one cannot be read it is asked of each apart, and `failed` is
    told of those that cannot be shown: they hide no other."""
    try:
        return ask(trees)
    except DamagedRow:
        found: dict[Any, _Found] = {}
    for tree in trees:
        try:
            found |= ask([tree])
        except DamagedRow as error:
            failed(tree, error)
    return found
