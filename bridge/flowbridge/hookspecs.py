"""Every hook, in the order in which an operation meets them. Names read: prefix, moment, subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from flowbridge.backend import Definition, Target
    from flowbridge.catalog import CatalogEntry
    from flowbridge.config import Config
    from flowbridge.law.decide import Plan
    from flowbridge.ledger.operations import Operation
    from flowbridge.model import Record

hookspec = pluggy.HookspecMarker("flowbridge")
hookimpl = pluggy.HookimplMarker("flowbridge")


@dataclass(frozen=True, slots=True)
class Change:
    """What is known of one change of status besides the execution.

    `at` is when it was seen, in seconds since the epoch. `actor` is who made it, `engine` where nobody asked for it.
    `operation` is the verb that it came with, None where it came later or by itself; its `id`, `verb` and `reason` say
    which and why. `engine_state` is the engine's own word, as it was then. `parent` is the id of the parent's current
    record, empty for a root.
    """

    at: float
    actor: str
    operation: Operation | None
    engine_state: str
    parent: str


@hookspec
def flowbridge_before_operation(operation: Operation, plan: Plan) -> str | None:
    """Before anything is written or sent: give a reason to veto the operation, or None to let it pass.

    A hook that raises is a veto. Not asked for what follows from an operation that was accepted already.
    """


@hookspec
def flowbridge_after_operation(operation: Operation) -> None:
    """After an operation has ended; `operation.state` and `operation.outcome` say how."""


@hookspec
def flowbridge_status_changed(execution: Record, old: str, new: str, number: int, change: Change) -> None:
    """After a status changed. Told at least once; `number` is the same when it is told again.

    `execution` is the record as it stands when the hook is called, which may be later than the change.
    """


@hookspec
def flowbridge_task_ended(execution: Record, task: str, status: str, notify: Mapping[str, Any], number: int) -> None:
    """After a task has ended whose definition says whom to tell of it; `notify` is that, in the engine's own words.

    Told at least once; `number` is the same when it is told again.
    """


@hookspec(firstresult=True)
def flowbridge_resolve(ref: str, config: Config) -> Target | Definition | None:
    """What a name that a user gave stands for, or None where this catalog does not know it.

    `InvalidInput` and `NotFound` reach the user: the name is this catalog's, and what stands there is wrong.
    """


@hookspec
def flowbridge_catalog(ref: str, config: Config) -> Iterable[CatalogEntry] | None:
    """What can be started by this name, or everything where the name is empty.

    A file that is broken is an entry with a `problem`. `NotFound` reaches the user, as for `flowbridge_resolve`.
    """
