"""Which executions a verb is carried out on: those that were named, or what a filter finds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flowbridge.bridge import Bridge
from flowbridge.errors import InvalidInput
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.executions import GONE, Filter
from flowbridge.model import Record, Verb
from flowbridge_cli.output import note, tell_damaged

#: The verbs that go on, over a filter, with what one of the same left open.
_GONE_ON_WITH = frozenset({Verb.PAUSE, Verb.RESUME, Verb.CANCEL})


@dataclass(frozen=True, slots=True)
class Selection:
    """Ids, or a filter; `yes` acts on a filter without asking."""

    ids: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    backend: str | None = None
    workflow: str | None = None
    older_than: float | None = None
    yes: bool = False

    @property
    def filtered(self) -> bool:
        """Whether a filter was given."""
        return bool(self.status or self.backend or self.workflow or self.older_than is not None)


class Found(NamedTuple):
    """The executions to act on; `unfinished` are those on which the same verb was open before anybody looked, `silent`
    those whose engine did not answer: they come last, so that no other waits for it."""

    ids: Sequence[str]
    unfinished: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()


def choose(bridge: Bridge, verb: Verb, chosen: Selection) -> Found:
    """What was chosen. Raises `InvalidInput` for a choice that is none, `NotFound` for what there is not."""
    if chosen.ids and chosen.filtered:
        raise InvalidInput("give ids or a filter, not both")
    if chosen.ids:
        return Found(_named(bridge, verb, chosen.ids))
    if not chosen.filtered:
        raise InvalidInput("name an execution, or choose by --status, --backend, --workflow or --older-than")
    return _filtered(bridge, verb, chosen)


def _named(bridge: Bridge, verb: Verb, given: Sequence[str]) -> Sequence[str]:
    ids = tuple(dict.fromkeys(given))
    if verb in (Verb.RERUN, Verb.SKIP):  # a slip of the pen is found before something is run that was not meant
        for id in ids:
            if ":" not in id:
                bridge.find(id)
    return ids


def _filtered(bridge: Bridge, verb: Verb, chosen: Selection) -> Found:
    filter = Filter(chosen.status, chosen.backend, chosen.workflow, before=chosen.older_than, limit=-1)
    # Whatever its status is by now: the look below may be what does the rest of it, and the verb says so.
    again = bridge.list(filter._replace(status=(), unfinished=verb), look=False) if verb in _GONE_ON_WITH else ()
    began = time.time()
    seen = bridge.list(filter)
    records = {record.id: record for record in (*seen, *again)}.values()
    if chosen.backend and not records:
        bridge.instances.require(chosen.backend)
    _tell_gone(bridge, verb, filter)
    tell_damaged(bridge.ledger.executions)
    found = [record for record in records if not record.gone or verb is Verb.RERUN]
    if not found:
        note("nothing matches; nothing was done")
    silent = {record.ref.backend for record in seen if _is_unseen(record, began)}
    last = [record.id for record in found if record.ref.backend in silent]
    first = [record.id for record in found if record.ref.backend not in silent]
    return Found((*first, *last), frozenset(record.id for record in again), frozenset(last))


def _is_unseen(record: Record, since: float) -> bool:
    """Whether a list since then asked for a record in vain. It does not ask for what has ended."""
    return record.looked < since and record.status not in TERMINAL and not record.gone


def _tell_gone(bridge: Bridge, verb: Verb, filter: Filter) -> None:
    """Say what a filter leaves out because its engine no longer has it (S7)."""
    gone = bridge.list(filter._replace(status=(GONE,)), look=False)
    left = [record for record in gone if not filter.status or record.status in filter.status]
    if verb is Verb.RERUN:
        left = [record for record in left if filter.status and record.status not in TERMINAL]
    if left:
        note(f"left out, gone from its engine (S7): {', '.join(record.id for record in left)}")
