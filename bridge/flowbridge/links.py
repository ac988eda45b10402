"""Links between engines: which child each waiting action of a host is for, and what that child is started with.

A host's task waits for an execution elsewhere (`WaitingChild`). The child's record is made, or found, from what the
ledger knows and a look showed; nothing is sent here. Its id is derived from the waiting action, so whoever finds it
first makes the same one, and a re-run of the task, which waits anew, starts a new child.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from flowbridge.errors import FlowbridgeError, LedgerError, Unavailable
from flowbridge.law.fold import birth_want
from flowbridge.model import EngineState, ExecutionLook, Record, Ref, WaitingChild, Want
from flowbridge.troubles import LINK, failed, rests


class Start(NamedTuple):
    """Where and with what a name that somebody gave is to be started, but for its input."""

    backend: str
    request: Mapping[str, Any]


class Bound(NamedTuple):
    """The links of a look: what new children are to be started with, by record; and which waiting actions, by host and
    key, have a child."""

    requests: Mapping[str, Any]
    links: Container[tuple[Ref | None, str]]


#: Finds what a link's target stands for, by the instance that hosts the link; raises `FlowbridgeError` where it stands
#: for nothing.
Resolve = Callable[[str, WaitingChild], Start]


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one ledger. `owner` is the ledger's id; `resolve` finds what a target stands for."""

    owner: str
    resolve: Resolve

    def is_ours(self, waiting: WaitingChild) -> bool:
        """Whether this ledger is to start what a task waits for."""
        return waiting.owner in ("", self.owner)

    def bind(
        self, known: dict[Ref, Record], looks: Mapping[Ref, ExecutionLook], at: float, *, standing: bool = False
    ) -> Bound:
        """Give each waiting action its child: the one it has, the one it was awaited for (X7), or a new one.

        Changes `known`. Where an engine or a ledger that has to be asked for it does not answer, a later pass asks
        again, and the host's record says what stands in the way; one that is `standing` asks a little later each time.
        """
        hosts = [look for look in looks.values() if look.ref in known and (look.waiting or known[look.ref].trouble)]
        found = _Found(known, looks)
        for host in hosts:
            unknown = [each for each in host.waiting if self.is_ours(each) and not found.has(host.ref, each.key)]
            if not (standing and unknown and rests(known[host.ref], LINK, at)):
                known[host.ref] = self._bound(host, known[host.ref], unknown, found, at)
        found.drop_unheard()
        return Bound(found.requests, found.by_key.keys())

    def _bound(
        self, host: ExecutionLook, record: Record, unknown: Iterable[WaitingChild], found: _Found, at: float
    ) -> Record:
        """The record of a host once its waiting actions have their children: with what stands in the way of one."""
        trouble: FlowbridgeError | None = None
        for waiting in unknown:
            try:
                found.put(found.awaited(host, waiting) or self._born(record, waiting, at, found))
            except (Unavailable, LedgerError) as error:
                trouble = error
        if record.trouble and record.trouble.call != LINK:
            return record  # a record tells of one at a time; were it to change at each look, the history would fill
        if trouble is not None:
            return failed(record, LINK, trouble, at)
        return replace(record, trouble=None) if record.trouble else record

    def _born(self, parent: Record, waiting: WaitingChild, at: float, found: _Found) -> Record:
        """The record of a new child: wanted as its parent is (P6). One that stands for nothing has errored already."""
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.owner} {parent.ref} {waiting.key}"))
        record = Record(
            id=id,
            tree=parent.tree,
            ref=Ref(parent.ref.backend, id),
            workflow=waiting.target,
            parent=parent.ref,
            parent_task=waiting.task,
            item=waiting.item,
            native=False,
            key=waiting.key,
            want=birth_want(parent),
            seen=EngineState.ABSENT,
            actor=parent.actor,
            created=at,
        )
        try:
            start = self.resolve(parent.ref.backend, waiting)
        except (Unavailable, LedgerError):
            raise
        except FlowbridgeError as error:
            return refused(record, f"{waiting.target or 'a link without a target'}: {error.message}")
        found.requests[id] = start.request
        return replace(record, ref=Ref(start.backend, id))


@dataclass(slots=True)
class _Found:
    """What is known of the links of one tree while a look is gone through."""

    known: dict[Ref, Record]
    looks: Mapping[Ref, ExecutionLook]
    requests: dict[str, Any] = field(default_factory=dict)
    by_key: dict[tuple[Ref | None, str], Record] = field(default_factory=dict)
    _awaited: dict[tuple[Ref, int | None], list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.known.values():
            if record.awaited and record.parent is not None:
                self._awaited.setdefault((record.parent, record.item), []).append(record)
            elif record.key:
                self.by_key[record.parent, record.key] = record

    def has(self, host: Ref, key: str) -> bool:
        return (host, key) in self.by_key

    def awaited(self, host: ExecutionLook, waiting: WaitingChild) -> Record | None:
        """The child that the waiting action of a task that is run again is for: of the same task and item (X7).

        An engine may give a task that runs again another id; its name is the same.
        """
        here = self._awaited.get((host.ref, waiting.item), [])
        match = next((one for one in here if one.parent_task == waiting.task), None)
        if match is None and here:
            names = {task.id: task.name for task in host.tasks}
            name = names.get(waiting.task)
            match = next((one for one in here if name and names.get(one.parent_task) == name), None)
        if match is None:
            return None
        here.remove(match)
        return replace(match, key=waiting.key, parent_task=waiting.task, awaited=False)

    def put(self, record: Record) -> None:
        self.known[record.ref] = self.by_key[record.parent, record.key] = record

    def drop_unheard(self) -> None:
        """A child that was not started, and that nothing waits for any more, is not wanted (its task has ended)."""
        waiting = {look.ref: frozenset(each.key for each in look.waiting) for look in self.looks.values()}
        for record in list(self.by_key.values()):
            never = record.seen is EngineState.ABSENT and not record.looked and record.ref not in self.looks
            if never and record.parent in waiting and record.key not in waiting[record.parent]:
                self.known[record.ref] = replace(record, want=Want.CANCEL)


def refused(record: Record, why: str) -> Record:
    """The record of a child that cannot be started: it has errored, and is not tried again."""
    return replace(record, seen=EngineState.ERRORED, error=why, trouble=None)


def is_refused(record: Record) -> bool:
    """Whether a child's start was refused, so that no engine has it."""
    return bool(record.key) and record.seen is EngineState.ERRORED and not record.looked
