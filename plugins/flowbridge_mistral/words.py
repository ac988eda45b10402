"""The engine's words and ours. The tables are complete: a word that is not in them is refused, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from flowbridge.errors import EngineRefused
from flowbridge.model import EngineState, TaskStatus

#: What Mistral calls an execution. IDLE is one that was accepted and has not begun.
EXECUTION: Mapping[str, EngineState] = {
    "IDLE": EngineState.REQUESTED,
    "RUNNING": EngineState.RUNNING,
    "PAUSED": EngineState.PAUSED,
    "SUCCESS": EngineState.SUCCEEDED,
    "ERROR": EngineState.ERRORED,
    "CANCELLED": EngineState.CANCELED,
}

#: What Mistral calls a task. IDLE is new, or held by pause-before; WAITING is held by a join; DELAYED by wait-before,
#: wait-after or retry. All three wait, and whether one is active is told beside the word (S2).
TASK: Mapping[str, TaskStatus] = {
    "IDLE": TaskStatus.WAITING,
    "WAITING": TaskStatus.WAITING,
    "DELAYED": TaskStatus.WAITING,
    "RUNNING": TaskStatus.RUNNING,
    "PAUSED": TaskStatus.PAUSED,
    "SUCCESS": TaskStatus.SUCCEEDED,
    "ERROR": TaskStatus.ERRORED,
    "CANCELLED": TaskStatus.CANCELED,
    "SKIPPED": TaskStatus.SKIPPED,
}

#: What a waiting action is told when the work it stands for has ended.
REPORT: Mapping[TaskStatus, str] = {
    TaskStatus.SUCCEEDED: "SUCCESS",
    TaskStatus.ERRORED: "ERROR",
    TaskStatus.CANCELED: "CANCELLED",
}

#: An execution or an action in one of these states has ended.
ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "SKIPPED"})

#: An action in one of these states is at work. A paused action is not: it waits to be told.
AT_WORK = frozenset({"IDLE", "RUNNING", "DELAYED"})

Word = TypeVar("Word", EngineState, TaskStatus)


def translate(table: Mapping[str, Word], raw: str, of: str) -> Word:
    """Our word for the engine's `raw` word. Raises `EngineRefused` for one that this release does not know."""
    try:
        return table[raw]
    except KeyError:
        raise EngineRefused(
            f"Mistral calls {of} {raw!r}, a state this release does not know (known: {', '.join(sorted(table))}). "
            f"Look for a newer release of the backend."
        ) from None


def spoken(state: str) -> str:
    """Mistral's word for one of our states of an execution; a word of Mistral's own stays what it is."""
    ours = {word.value: raw for raw, word in EXECUTION.items()}
    return ours.get(state.lower(), state.upper())
