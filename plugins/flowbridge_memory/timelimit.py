"""A bound on how long one expression may take: a regular expression or a loop can take years over a few characters.

It counts the processor's time, so that a busy machine fails nobody's task. Python tells of signals in its main thread
only, which is where a runner evaluates; elsewhere nothing is bounded.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from flowbridge_memory.evaluation import ExpressionError

T = TypeVar("T")
V = TypeVar("V")

#: How many seconds of the processor's time one value's expressions may take.
SECONDS = 5.0

#: Told again after so long, should what was stopped have caught the first error.
_AGAIN_SECONDS = 0.5


def in_time(evaluate: Callable[[T], V], scope: T) -> V:
    """Evaluate in a scope. Raises `ExpressionError` where that takes more than `SECONDS`."""
    if not _may_bound():
        return evaluate(scope)
    signal.signal(signal.SIGVTALRM, _stop)
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, _AGAIN_SECONDS)
            return evaluate(scope)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        # Once more, should the signal have come between the end and the line above.
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _may_bound() -> bool:
    """Whether this is the main thread, nobody else has a use for the timer, and no evaluation further out set it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        return False
    ours = signal.getsignal(signal.SIGVTALRM) in (signal.SIG_DFL, _stop)
    return ours and not any(signal.getitimer(signal.ITIMER_VIRTUAL))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise ExpressionError(f"it takes more than {SECONDS:g} seconds of the processor's time")
