"""A few threads that run actions with effects, and the queue their outcomes come back on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

#: A result may be nested so deeply; whatever reads it again later may recurse into it.
MAX_DEPTH = 200

_HALVES = re.compile("[\ud800-\udfff]")
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


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
    """Call an action and turn whatever happens into an outcome that can be written down and shown."""
    try:
        return Outcome(key, _plain(call(**input)))
    except ActionFailed as failed:
        return _failure(key, failed)
    except BaseException as error:  # noqa: BLE001  (whatever an action raises is its failure, SystemExit too)
        text = _told(error)
        return Outcome(key, text, text)


def _failure(key: str, failed: ActionFailed) -> Outcome:
    try:
        text = printable(str(failed)) or "The action failed."
        return Outcome(key, _plain(failed.result), text)
    except BaseException as error:  # noqa: BLE001  (what an action fails with may be no data, or have no text)
        text = printable(str(error)) if isinstance(error, ActionFailed) else _told(error)
        return Outcome(key, text, text)


def _told(error: BaseException) -> str:
    """An exception in words, whatever becomes of asking it for them."""
    name = type(error).__name__
    try:
        return printable(f"{name}: {error}")
    except BaseException as inner:  # noqa: BLE001  (the exception's own code may do anything)
        return printable(f"{name}, whose text cannot be told: that raises {type(inner).__name__}")


def _plain(result: Any) -> Any:
    kind = type(result)
    if result is None or kind is bool or kind is float:
        return result
    if kind is str:
        return printable(result)
    try:
        text = json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionFailed(f"The action's result is no JSON data: {_reason(error)}.") from error
    if _depth(text) > MAX_DEPTH:
        raise ActionFailed(f"The action's result is nested more than {MAX_DEPTH} levels deep.")
    # Half of a pair is escaped twice: so it is a text of six characters when this is read again.
    return json.loads(text if kind is int or _encodes(text) else _HALVES.sub(lambda half: f"\\{_escape(half)}", text))


def _reason(error: Exception) -> str:
    return "it is nested without measure" if isinstance(error, RecursionError) else str(error)


def _depth(text: str) -> int:
    """How deeply a JSON text is nested; not looked at where there are too few brackets for it to matter."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    deepest = depth = 0
    for mark in _MARKS.findall(text):
        if mark[0] != '"':
            depth += 1 if mark in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


def _encodes(text: str) -> bool:
    return text.isascii() or _HALVES.search(text) is None


def _escape(half: re.Match[str]) -> str:
    return f"\\u{ord(half.group()):04x}"


def printable(text: str) -> str:
    """A text that any file and terminal takes: half of a surrogate pair stands as its escape."""
    return text if _encodes(text) else _HALVES.sub(_escape, text)
