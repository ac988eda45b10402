"""A few threads that run actions with effects, and the queue their outcomes come back on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended. `error` is "" where it succeeded; `result` is plain JSON data."""

    key: str
    result: Any
    error: str = ""


class ActionFailed(Exception):
    """Raised by an action to fail with a result of its own, any JSON data."""

    def __init__(self, result: Any, message: str = "") -> None:
        super().__init__(message or str(result))
        self.result = result


Work = tuple[str, Callable[..., Any], Mapping[str, Any]]


class Workers:
    """At most `size` daemon threads, started when needed. One thread hands out work and takes outcomes.

    The threads are daemons: an action that hangs does not keep the process from ending, and has then no result.
    """

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._threads = 0
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self.busy = 0

    @property
    def free(self) -> int:
        """How many actions could begin at once."""
        return self._size - self.busy

    def begin(self, key: str, call: Callable[..., Any], input: Mapping[str, Any]) -> None:
        """Run `call(**input)` in a thread; its outcome comes back under `key`."""
        if self.busy >= self._threads:
            self._threads += 1
            Thread(target=self._run, name=f"action-{self._threads}", daemon=True).start()
        self.busy += 1
        self._work.put((key, call, input))

    def outcome(self, seconds: float | None = None) -> Outcome | None:
        """The next outcome, waiting at most `seconds` for it (None: not at all)."""
        try:
            found = self._outcomes.get(block=seconds is not None, timeout=seconds)
        except Empty:
            return None
        self.busy -= 1
        return found

    def close(self) -> None:
        """Let idle threads end. Running actions are left as they are."""
        for _ in range(self._threads):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._outcomes.put(outcome_of(*work))


def outcome_of(key: str, call: Callable[..., Any], input: Mapping[str, Any]) -> Outcome:
    """Call an action and turn whatever happens into an outcome."""
    try:
        result = call(**input)
        return Outcome(key, _plain(result))
    except ActionFailed as failed:
        return Outcome(key, failed.result, str(failed) or "The action failed.")
    except BaseException as error:  # noqa: BLE001  (whatever an action raises is its failure, SystemExit too)
        text = f"{type(error).__name__}: {error}"
        return Outcome(key, text, text)


def _plain(result: Any) -> Any:
    if result is None or isinstance(result, str | int | float | bool):
        return result
    try:
        return json.loads(json.dumps(result))
    except (TypeError, ValueError) as error:
        raise ActionFailed(f"The action's result is no JSON data: {error}.") from error
