"""How long whoever asks will wait, handed down to every call below it, and whom to tell that it takes long.

Neither is an argument of any method: a backend that knows nothing of them works as ever, and one that can give a call
up asks `left` how long it may take. Work that is handed to another thread takes both along in a copy of the context.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

#: What calls have beyond the time of whoever waits, in seconds.
GRACE_SECONDS = 1.0


class _Teller:
    def __init__(self, say: Callable[[str], object], after: float | None) -> None:
        self.say = say
        self.after = after
        self.told: set[str] = set()
        self.lock = threading.Lock()

    def tell(self, about: str, text: str) -> None:
        with self.lock:
            if about in self.told:
                return
            self.told.add(about)
        self.say(text)


_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
_TELLER: ContextVar[_Teller | None] = ContextVar("teller", default=None)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """What is called inside is to be over in so many seconds; None sets no limit. It lengthens none further out."""
    outer = _DEADLINE.get()
    inner = None if seconds is None else time.monotonic() + seconds
    token = _DEADLINE.set(min((at for at in (outer, inner) if at is not None), default=None))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def in_time_for(deadline: float | None) -> AbstractContextManager[None]:
    """The same for whoever waits until then, in monotonic seconds, and a little longer: what came of it is to be seen
    by one more look."""
    return within(None if deadline is None else max(0.0, deadline - time.monotonic()) + GRACE_SECONDS)


def left() -> float | None:
    """How many seconds a call may still take: 0.0 where there are none left, None where nobody set a limit."""
    deadline = _DEADLINE.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


@contextmanager
def telling(say: Callable[[str], object], after: float | None = None) -> Iterator[None]:
    """Have `say` called with a line for a person when a call inside is not answered as it should be.

    `after`: also for one that has been silent for so many seconds. Each engine is told of once.
    """
    token = _TELLER.set(_Teller(say, after))
    try:
        yield
    finally:
        _TELLER.reset(token)


def tell(engine: str, words: str) -> None:
    """Tell whoever waits, if anybody wants to know, what is the matter with an engine."""
    if teller := _TELLER.get():
        teller.tell(engine, f"{engine}: {words}")


@contextmanager
def silence(engine: str) -> Iterator[None]:
    """Around a call: whoever waits for it is told once it has taken too long for somebody who looks on."""
    teller = _TELLER.get()
    if teller is None or teller.after is None or engine in teller.told:
        yield
        return
    timer = threading.Timer(teller.after, teller.tell, (engine, f"{engine}: no answer yet"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
