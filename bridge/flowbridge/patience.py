"""How long the runners of local runs are waited for: once for all of them in one pass or verb, not once for each.

A command to a run that somebody drives is put into the run's inbox, and its runner answers within moments; one that
hangs does not. Commands for several runs are announced first, put into all the inboxes, and only then waited for one
after the other: whichever runner hangs, the others have answered meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from flowbridge import deadline
from flowbridge.errors import FlowbridgeError
from flowbridge.ledger.codec import dumps
from flowbridge.local import Command
from flowbridge.model import Ref

ANSWER_SECONDS = 30.0

#: What a command has at least, where others have used up the time of the pass before it was sent.
MOMENT_SECONDS = 1.0


class Announced(Exception):
    """Ends a call where it would begin to wait: its command is in the inbox."""


class _Sent(NamedTuple):
    command: Command
    at: float


class Patience:
    """The time that one thread spends on runners that do not answer."""

    def __init__(self) -> None:
        self._depth = 0
        self._spent = 0.0
        self._announcing = False
        self._announced: dict[str, _Sent] = {}

    @contextmanager
    def one_wait(self) -> Iterator[None]:
        """What is waited for inside is waited for at most once as long as for a single runner."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._spent = 0.0

    @contextmanager
    def announced(self, calls: Sequence[Callable[[], object]]) -> Iterator[None]:
        """Send the commands of several calls. Each of these calls, made inside, then only waits for its answer."""
        try:
            self._announcing = True
            for call in calls if len(calls) > 1 else ():
                with suppress(Announced, FlowbridgeError):  # what goes wrong does so again when the call is made
                    call()
            self._announcing = False
            yield
        finally:
            self._announcing = False
            self._announced.clear()

    def to_send(self, root: Ref, command: Command) -> _Sent:
        """The command to send: the one that was announced for the same call, else this one. Now, or when that was."""
        key = dumps([root, command.name, command.execution, _plain(command.args)])
        if self._announcing:
            return self._announced.setdefault(key, _Sent(command, time.monotonic()))
        return self._announced.pop(key, _Sent(command, time.monotonic()))

    def sent(self) -> None:
        """Called once the command is in the inbox. Raises `Announced` where it is not to be waited for yet."""
        if self._announcing:
            raise Announced

    @contextmanager
    def waiting(self, sent: float | None = None) -> Iterator[float]:
        """Wait inside for what was `sent` at that time (monotonic seconds); gives when to give up."""
        begin = time.monotonic()
        left = ANSWER_SECONDS - (self._spent if self._depth else 0.0)
        limit = deadline.left()
        left = left if limit is None else min(left, limit)
        try:
            yield max(begin + left, (sent or 0.0) + MOMENT_SECONDS)
        finally:
            self._spent += time.monotonic() - begin


def _plain(args: Mapping[str, object]) -> list[list[object]]:
    return [[key, args[key]] for key in sorted(args)]
