"""A bound on how long one expression may take: a regular expression or a loop can take years over a few characters.

It counts the processor's time of the thread that evaluates, so that neither a busy machine nor an action that works
beside it fails a task. Python tells of signals in its main thread only, which is where a runner evaluates; elsewhere
nothing is bounded.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from flowbridge_memory.evaluation import ExpressionError

T = TypeVar("T")
V = TypeVar("V")

#: How many seconds of the processor's time one value's expressions may take.
SECONDS = 5.0

#: Told again after so long: should the thread have had less than the process, or what was stopped caught the error.
_AGAIN_SECONDS = 0.5


def in_time(evaluate: Callable[[T], V], scope: T) -> V:
    """Evaluate in a scope. Raises `ExpressionError` where that takes more than `SECONDS`."""
    if not _may_bound():
        return evaluate(scope)
    _Bound.after = time.thread_time() + SECONDS
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, _AGAIN_SECONDS)
            return evaluate(scope)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        # Once more, should the signal have come between the end and the line above. Later ones are none of ours.
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        _Bound.after = math.inf


def _may_bound() -> bool:
    """Whether this is the main thread, nobody else has a use for the timer, and no evaluation further out set it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        return False
    if any(signal.getitimer(signal.ITIMER_VIRTUAL)):
        return False
    handler = signal.getsignal(signal.SIGVTALRM)
    if handler is signal.SIG_DFL:
        handler = _stop
        signal.signal(signal.SIGVTALRM, handler)
    return handler is _stop


class _Bound:
    """The time of the main thread after which an evaluation is stopped."""

    after = math.inf


def _stop(_number: int, _frame: FrameType | None) -> None:
    # The timer counts what all threads of the process take.
    if time.thread_time() >= _Bound.after:
        raise ExpressionError(f"it takes more than {SECONDS:g} seconds of the processor's time")
