"""Every table of the law. What is not listed is an error and changes nothing.

`FOLD` says which status is shown for what is wanted and what the engine shows (S3). `TRANSITIONS` says which status
may follow which, and why. `ALLOWED` says in which statuses a verb is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowbridge.model import EngineState, Status, TaskStatus, Want

_S, _E, _W = Status, EngineState, Want

ACTIVE = frozenset({_S.REQUESTED, _S.RUNNING, _S.PAUSING, _S.RESUMING, _S.CANCELING})
TERMINAL = frozenset({_S.CANCELED, _S.SUCCEEDED, _S.ERRORED})
ENDED = frozenset({_E.CANCELED, _E.SUCCEEDED, _E.ERRORED})
TASK_OVER = frozenset({TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.CANCELED, TaskStatus.SKIPPED})
TASK_ACTIVE = frozenset({TaskStatus.RUNNING, TaskStatus.PAUSING, TaskStatus.CANCELING})

#: want -> the engine's state -> (status with no active task, status with an active one).
FOLD: Mapping[Want, Mapping[EngineState, tuple[Status, Status]]] = {
    _W.RUN: {
        _E.ABSENT: (_S.REQUESTED, _S.REQUESTED),
        _E.REQUESTED: (_S.REQUESTED, _S.REQUESTED),
        _E.RUNNING: (_S.RUNNING, _S.RUNNING),
        _E.PAUSED: (_S.RESUMING, _S.RESUMING),
        _E.CANCELED: (_S.CANCELED, _S.CANCELING),
        _E.SUCCEEDED: (_S.SUCCEEDED, _S.RUNNING),
        _E.ERRORED: (_S.ERRORED, _S.RUNNING),
        _E.ABANDONED: (_S.ABANDONED, _S.ABANDONED),
    },
    _W.HOLD: {
        _E.ABSENT: (_S.PAUSED, _S.PAUSED),
        _E.REQUESTED: (_S.PAUSING, _S.PAUSING),
        _E.RUNNING: (_S.PAUSING, _S.PAUSING),
        _E.PAUSED: (_S.PAUSED, _S.PAUSING),
        _E.CANCELED: (_S.CANCELED, _S.CANCELING),
        _E.SUCCEEDED: (_S.SUCCEEDED, _S.RUNNING),
        _E.ERRORED: (_S.ERRORED, _S.RUNNING),
        _E.ABANDONED: (_S.ABANDONED, _S.ABANDONED),
    },
    _W.CANCEL: {
        _E.ABSENT: (_S.CANCELED, _S.CANCELED),
        _E.REQUESTED: (_S.CANCELING, _S.CANCELING),
        _E.RUNNING: (_S.CANCELING, _S.CANCELING),
        _E.PAUSED: (_S.CANCELING, _S.CANCELING),
        _E.CANCELED: (_S.CANCELED, _S.CANCELING),
        _E.SUCCEEDED: (_S.SUCCEEDED, _S.RUNNING),
        _E.ERRORED: (_S.ERRORED, _S.RUNNING),
        _E.ABANDONED: (_S.CANCELING, _S.CANCELING),
    },
}

#: The rules whose refusal can be overridden (O8): going ahead does harm on an engine that breaks them by itself.
ACCEPTABLE = ("R4", "X6")

#: What is said of an abandoned execution.
DIED = "its runner died"

_STARTS = "the engine starts it"
_PAUSE = "pause (P4, P6, P7)"
_HELD = "no task is active (P4, S5)"
_CANCEL = "cancel (C1, C3)"
_CANCELED = "no task is active (C4, C5)"
_ENDS = "the engine ends it"
_DIED = f"{DIED} (S6)"
_RESUME = "resume (R1, R2)"
_GOES_ON = "the engine goes on (R5)"
_OUTSIDE = "changed outside (O12)"
_AGAIN = "resumed and held again between two looks (O12, P7)"
_ABOVE = "a resume from above (R2)"
_LATE = "the engine says ended, a task is active (S3)"
_RECOVER = "recover (S6)"
_REOPENED = "re-run or skip, and what came before the next look (X2, K1, O12)"

#: status -> the statuses that may follow -> why.
TRANSITIONS: Mapping[Status, Mapping[Status, str]] = {
    _S.REQUESTED: {
        _S.RUNNING: _STARTS,
        _S.PAUSING: _PAUSE,
        _S.PAUSED: _PAUSE,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCELED,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
        _S.ABANDONED: _DIED,
    },
    _S.RUNNING: {
        _S.PAUSING: _PAUSE,
        _S.PAUSED: _PAUSE,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCELED,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
        _S.ABANDONED: _DIED,
    },
    _S.PAUSING: {
        _S.PAUSED: _HELD,
        _S.RESUMING: _ABOVE,
        _S.REQUESTED: _ABOVE,
        _S.RUNNING: _LATE,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCELED,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
        _S.ABANDONED: _DIED,
    },
    _S.PAUSED: {
        _S.RESUMING: _RESUME,
        _S.REQUESTED: _RESUME,
        _S.RUNNING: _GOES_ON,
        _S.PAUSING: _AGAIN,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCELED,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
        _S.ABANDONED: _DIED,
    },
    _S.RESUMING: {
        _S.RUNNING: _GOES_ON,
        _S.PAUSING: _PAUSE,
        _S.PAUSED: _PAUSE,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCELED,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
        _S.ABANDONED: _DIED,
    },
    _S.CANCELING: {
        _S.CANCELED: _CANCELED,
        _S.RUNNING: _LATE,
        _S.SUCCEEDED: _ENDS,
        _S.ERRORED: _ENDS,
    },
    _S.ABANDONED: {
        _S.RUNNING: _RECOVER,
        _S.PAUSING: _RECOVER,
        _S.PAUSED: _RECOVER,
        _S.REQUESTED: _RECOVER,
        _S.RESUMING: _RECOVER,
        _S.CANCELING: _CANCEL,
        _S.CANCELED: _CANCEL,
        _S.SUCCEEDED: _RECOVER,
        _S.ERRORED: _RECOVER,
    },
    _S.CANCELED: {
        _S.RUNNING: _OUTSIDE,
        _S.CANCELING: _OUTSIDE,
        _S.SUCCEEDED: _OUTSIDE,
        _S.ERRORED: _OUTSIDE,
    },
    _S.SUCCEEDED: {_S.RUNNING: _OUTSIDE},
    _S.ERRORED: {
        _S.RUNNING: _REOPENED,
        _S.PAUSING: _REOPENED,
        _S.PAUSED: _REOPENED,
        _S.CANCELING: _REOPENED,
        _S.CANCELED: _REOPENED,
        _S.SUCCEEDED: _REOPENED,
        _S.ABANDONED: _REOPENED,
    },
}

#: verb as the user knows it -> (the rule, the statuses in which it is accepted).
ALLOWED: Mapping[str, tuple[str, frozenset[Status]]] = {
    "pause": ("P1", frozenset({_S.RUNNING})),
    "resume": ("R1", frozenset({_S.PAUSED})),
    "cancel": ("C1", frozenset(Status) - TERMINAL),
    "re-run": ("X1", TERMINAL | {_S.ABANDONED}),
    "re-run --tasks": ("X3", frozenset({_S.ERRORED})),
    "skip": ("K1", frozenset({_S.ERRORED})),
    "recover": ("S6", frozenset({_S.ABANDONED})),
}

#: verb -> the status that it would lead to, so asking for it again is `already` (O7).
ALREADY: Mapping[str, frozenset[Status]] = {
    "pause": frozenset({_S.PAUSED, _S.PAUSING}),
    "resume": frozenset({_S.RUNNING, _S.RESUMING}),
    "cancel": frozenset({_S.CANCELED}),
}


def possible(status: Status) -> tuple[str, ...]:
    """The verbs that are accepted in a status, in the order of the table: the advice behind every refusal."""
    return tuple(verb for verb, (_, statuses) in ALLOWED.items() if status in statuses)
