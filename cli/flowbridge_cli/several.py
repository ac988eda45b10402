"""The same on many executions: a few at once, each with a bridge of its own, results in the order asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from flowbridge.bridge import Bridge
from flowbridge.calls import LIMIT

_Result = TypeVar("_Result")


def each(bridge: Bridge, ids: Sequence[str], work: Callable[[Bridge, str], _Result]) -> Iterator[_Result]:
    """What `work` gives for every one of `ids`, as it is there, in order.

    For a single one `bridge` is used. Otherwise at most a few are under way at once, and when nobody asks for more
    results (an interrupt, say) no further one is begun. What `work` raises is raised when its turn comes.
    """
    if len(ids) < 2:
        yield from (work(bridge, id) for id in ids)
        return
    futures: list[Future[_Result]] = [Future() for _ in ids]
    left = iter(zip(ids, futures, strict=True))
    lock, stop = threading.Lock(), threading.Event()

    def go() -> None:
        own: Bridge | None = None
        while not stop.is_set():
            with lock:
                id, future = next(left, ("", None))
            if future is None:
                break
            try:
                own = own or Bridge(bridge.config)
                future.set_result(work(own, id))
            except BaseException as error:  # noqa: BLE001  whoever asks for the result is told
                future.set_exception(error)
        if own is not None:
            own.close()

    # Daemons: a call that hangs does not keep an interrupted command from ending.
    threads = [
        threading.Thread(target=copy_context().run, args=(go,), daemon=True) for _ in range(min(LIMIT, len(ids)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield from (future.result() for future in futures)
        for thread in threads:
            thread.join()
    finally:
        stop.set()
