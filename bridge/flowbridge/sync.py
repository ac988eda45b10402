"""One pass over one tree: look at every engine, judge by the law, write it down.

The pass is level-triggered: whoever runs it, and however often, the result is the same. Acting is `operate`'s part.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from flowbridge.backend import Capabilities
from flowbridge.calls import at_once
from flowbridge.errors import EngineError, InvalidInput, NotFound
from flowbridge.instances import Instances
from flowbridge.law.arrivals import arrived, with_withdrawn
from flowbridge.law.driving import LATE_SECONDS, apart_from, done_with
from flowbridge.law.edges import held_again, run_again, without_idle_waits
from flowbridge.law.fold import ENGINE, Event, Kind, Settled, birth_want, settle
from flowbridge.law.tables import TASK_OVER
from flowbridge.ledger.codec import dumps
from flowbridge.ledger.executions import is_due
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation
from flowbridge.links import Bound, Links, is_refused
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    Node,
    ParentLink,
    Record,
    Ref,
    Snapshot,
    TaskLook,
    WaitingChild,
    Want,
)
from flowbridge.shown import observed
from flowbridge.troubles import note as note_trouble
from flowbridge.troubles import with_records

#: The kind of an entry of the history that observers are told as `flowbridge_task_ended`.
TASK_ENDED = "task_ended"

_NOBODY: frozenset[Ref] = frozenset()


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass found. `silent` maps each instance that did not show all that it has of the tree to what it said;
    `before` are the records that it began with, by id; `requests` is what children that were found now are to be
    started with, by record; `spared` are the records whose engines were not asked, because they are done with."""

    settled: Settled
    silent: Mapping[str, str]
    at: float
    before: Mapping[str, Record] = field(default_factory=dict, repr=False)
    requests: Mapping[str, Any] = field(default_factory=dict, repr=False)
    spared: Set[str] = frozenset()

    @property
    def snapshot(self) -> Snapshot:
        """The tree, its records brought up to the look."""
        return self.settled.snapshot

    @property
    def troubled(self) -> list[Record]:
        """The records that a call is due for which fails."""
        return [node.record for node in self.snapshot.nodes if node.record.trouble is not None]

    def with_records(self, records: Iterable[Record]) -> Pass:
        """The same pass with some records as they are now."""
        return replace(self, settled=self.settled._replace(snapshot=with_records(self.snapshot, records)))


class Sync:
    """Passes over the trees of one ledger."""

    def __init__(self, ledger: Ledger, instances: Instances, links: Links) -> None:
        self._ledger = ledger
        self._instances = instances
        self._links = links

    def facts(self, snapshot: Snapshot) -> dict[str, Capabilities]:
        """The capabilities of every instance in a tree."""
        return self._instances.facts(node.record.ref.backend for node in snapshot.nodes)

    def look(self, tree: str, concerned: Collection[str] | None = None) -> Pass:
        """Look at a tree and judge it; writes nothing.

        An engine that does not answer leaves its executions as they were last seen. So does, of a tree that was looked
        at as a whole just now, what only `concerned` records, by their ids, and what is above them are asked for.
        """
        known = self._known([tree])
        spared = _NOBODY if concerned is None else apart_from(known[tree], concerned)
        return self._looked_at(known, spared)[tree]

    def unseen(self, record: Record) -> Pass:
        """What a look at an execution that was never started would find, without asking."""
        return self._pass([record], _Asked(), time.time())

    def known(self, tree: str) -> Snapshot:
        """A tree as it was last seen, without asking."""
        records = self._ledger.executions.tree(tree)
        asked = _Asked(unseen={record.ref: "" for record in records})
        snapshot, _ = self._join(records, asked, 0.0)
        return snapshot

    def look_at(self, trees: Sequence[str], *, standing: bool = False) -> dict[str, Pass]:
        """Look at several trees, asking each engine once for all of them.

        A `standing` look is one of many, by somebody who goes on looking: it does not ask for linked children that are
        done with, nor at once again for what could not be told a moment ago.
        """
        known = self._known(trees)
        spared = frozenset(ref for records in known.values() for ref in self._spared(records)) if standing else _NOBODY
        return self._looked_at(known, spared, standing=standing)

    def _known(self, trees: Iterable[str]) -> dict[str, list[Record]]:
        known = {tree: self._ledger.executions.tree(tree) for tree in trees}
        for tree, records in known.items():
            if not records:
                raise NotFound(f"no tree {tree} in the ledger")
        return known

    def _looked_at(
        self, known: Mapping[str, Sequence[Record]], spared: Set[Ref], *, standing: bool = False
    ) -> dict[str, Pass]:
        asked = self._observe((record for records in known.values() for record in records), spared)
        at = time.time()
        return {tree: self._pass(records, asked, at, standing=standing) for tree, records in known.items()}

    def _spared(self, records: Sequence[Record]) -> Set[Ref]:
        """The executions of a tree that a standing look does not ask for."""
        if not any(record.key for record in records):
            return _NOBODY
        hosts = {record.parent for record in records if record.key}
        kept = self._ledger.executions.looks([record.id for record in records if record.ref in hosts])
        return done_with(records, {id: {each.key for each in waiting} for id, (_, waiting) in kept.items()})

    def _pass(self, records: Sequence[Record], asked: _Asked, at: float, *, standing: bool = False) -> Pass:
        mine = asked.of(records)
        snapshot, requests = self._join(records, mine, at, standing=standing)
        if any(record.awaited for record in records):
            snapshot = without_idle_waits(self._ledger.operations.once(records[0].tree), snapshot)
        before = {record.id: record for record in records}
        spared = frozenset(record.id for record in records if record.ref in mine.spared)
        return Pass(self._judged(snapshot), mine.silent, at, before, requests, spared)

    def _judged(self, snapshot: Snapshot) -> Settled:
        """The law's word on a look. What a re-run or skip of ours has re-opened only now, under a pause, is held."""
        settled = settle(snapshot, self.facts(snapshot))
        again = run_again(snapshot, settled.snapshot)
        if not again:
            return settled
        late = {snapshot.nodes[place].record.id for place in arrived(snapshot)}
        ours = late | (again & self._ledger.operations.reopening(_tree(snapshot)).keys())
        held = held_again(snapshot, settled.snapshot, ours)
        if held is settled.snapshot:
            return settled
        after = settle(held, self.facts(held))
        # What its engine resumed with ours, nobody outside did.
        kept = {node.record.id for node in held.nodes if node.record.want is Want.HOLD}
        events = (one for one in settled.events if one.kind is not Kind.RESUMED_OUTSIDE or one.record not in kept)
        return Settled(after.snapshot, (*events, *after.events))

    def is_quiet(self, found: Pass) -> bool:
        """Whether a pass found nothing new: at most that time has gone by."""
        nodes = found.snapshot.nodes
        if found.settled.events or any(_differs(found.before.get(node.record.id), node.record) for node in nodes):
            return False
        return self._ledger.executions.has_looks(_shown(nodes))

    def write_quiet(self, passes: Iterable[Pass]) -> None:
        """Write down when passes that found nothing new were made. Needs no lease: what changed since is left."""
        with self._ledger.if_possible(), self._ledger.database.at_once():
            self._ledger.executions.touch(
                (found.before[node.record.id], node.record) for found in passes for node in found.snapshot.nodes
            )

    def write(self, found: Pass, actor: str = ENGINE, *, reopening: bool = False, operation: str = "") -> None:
        """Write a pass down: records, the tasks last seen, and what happened, in one transaction.

        `reopening` tells that it is `actor` who re-opens executions that had ended, not somebody outside; `operation`
        is the one that `actor` carries out meanwhile.
        """
        known = {record.id: record for record in self._ledger.executions.tree(_tree(found.snapshot))}
        nodes = found.snapshot.nodes
        changed = [node.record for node in nodes if _is_news(known.get(node.record.id), node.record)]
        with self._ledger.transaction():
            self._ledger.executions.put(changed)
            for record in changed:
                note_trouble(self._ledger.operations, known.get(record.id), record, found.at)
                if record.id in found.requests and record.id not in known:
                    self._ledger.executions.put_request(record.id, found.requests[record.id])
            self._note_tasks(found)
            self._ledger.executions.put_looks(_shown(nodes))
            ours = {Kind.STATUS, Kind.REOPENED_OUTSIDE} if reopening else {Kind.STATUS}
            self.note(found, actor, ours=ours, operation=operation)

    def _note_tasks(self, found: Pass) -> None:
        """Put into the history the tasks that have ended since the last look and whose definition says whom to tell."""
        nodes = [node for node in _shown(found.snapshot.nodes) if any(task.notify for task in node.tasks)]
        kept = self._ledger.executions.looks([node.record.id for node in nodes])
        for node in nodes:
            known = {(task.id, task.starts, task.status) for task in kept.get(node.record.id, ((), ()))[0]}
            for task in node.tasks:
                if task.notify and task.status in TASK_OVER and (task.id, task.starts, task.status) not in known:
                    doc = {"task": task.name, "status": str(task.status), "notify": dict(task.notify)}
                    self._ledger.operations.note(node.record.tree, node.record.id, TASK_ENDED, ENGINE, found.at, doc)

    def note(self, found: Pass, actor: str, *, ours: Set[Kind] = frozenset({Kind.STATUS}), operation: str = "") -> None:
        """Put what happened into the history: by `actor` where its kind is one of `ours`, else by the engine.

        What an operation that was cut short has re-opened is that one's, whoever sees it (O12).
        """
        tree = _tree(found.snapshot)
        raw = {node.record.id: node.raw for node in found.snapshot.nodes} if found.settled.events else {}
        outside = any(event.kind is Kind.RESUMED_OUTSIDE for event in found.settled.events)
        along = self._ledger.operations.along(tree) if outside else frozenset()
        again = any(event.kind is Kind.REOPENED_OUTSIDE and event.kind not in ours for event in found.settled.events)
        late = self._ledger.operations.reopening(tree) if again else {}
        self._ledger.operations.note_many(
            (
                found.at,
                tree,
                event.record,
                *_author(event, actor, operation, ours, late),
                _event_doc(event, raw[event.record]),
            )
            for event in found.settled.events
            if not (event.kind is Kind.RESUMED_OUTSIDE and event.record in along)  # it was accepted (R4)
        )

    def _observe(self, records: Iterable[Record], spared: Set[Ref]) -> _Asked:
        """What the engines show of the native trees that are not spared, and why some were not shown.

        An engine elsewhere is asked once. One that runs here looks at each run by itself, so that one which cannot be
        used, or whose runner does not answer, hides no other.
        """
        wanted: dict[str, list[str]] = {}
        for record in records:
            is_root = record.parent is None or not record.native
            if is_root and not is_refused(record) and record.ref not in spared:
                wanted.setdefault(record.ref.backend, []).append(record.ref.id)
        asked = _Asked(spared=spared)
        elsewhere = [name for name in wanted if not self._instances.is_local(name)]
        answers = at_once([partial(self._ask, name, wanted[name]) for name in elsewhere])
        here = [self._ask(name, [id]) for name, ids in wanted.items() if name not in elsewhere for id in ids]
        for answer in (*answers, *here):
            asked.looks.update(answer.looks)
            asked.unseen.update(answer.unseen)
        return asked

    def _ask(self, name: str, ids: Sequence[str]) -> _Asked:
        """What one instance shows, or why it does not."""
        try:
            seen, wrong = observed(self._instances.get(name), ids)
        except (EngineError, InvalidInput) as error:
            seen, wrong = {}, dict.fromkeys(ids, error.message)
        return _Asked(
            {Ref(name, id): tree for id, tree in seen.items()}, {Ref(name, id): why for id, why in wrong.items()}
        )

    def _join(
        self, records: Sequence[Record], asked: _Asked, at: float, *, standing: bool = False
    ) -> tuple[Snapshot, Mapping[str, Any]]:
        known = {record.ref: record for record in records}
        looks, silent = asked.executions(), asked.silent
        kept = self._ledger.executions.looks(
            [record.id for record in records if record.ref.backend in silent or record.ref not in looks]
        )
        for ref, look in looks.items():
            if ref not in known and look.parent is not None:  # a root is known, and stands before what is below it
                known[ref] = _born(look, look.parent, known, at)
        bound = self._links.bind(known, looks, at, standing=standing)
        mine = {ref: _with_what_is_ours(look, self._links, bound) for ref, look in looks.items()}
        return Snapshot(tuple(_in_order(known, mine, asked, kept, at))), bound.requests


@dataclass(frozen=True, slots=True)
class _Asked:
    """Native trees by their roots, why others were not shown, and the executions that were not asked for."""

    looks: dict[Ref, tuple[ExecutionLook, ...]] = field(default_factory=dict)
    unseen: dict[Ref, str] = field(default_factory=dict)
    spared: Set[Ref] = frozenset()

    def of(self, records: Iterable[Record]) -> _Asked:
        """What of it is about one tree."""
        refs = {record.ref for record in records}
        looks = {ref: self.looks[ref] for ref in refs if ref in self.looks}
        unseen = {ref: self.unseen[ref] for ref in refs if ref in self.unseen}
        return _Asked(looks, unseen, self.spared & refs)

    @property
    def silent(self) -> dict[str, str]:
        """The instances that did not show something, each with why."""
        return {ref.backend: why for ref, why in self.unseen.items()}

    def executions(self) -> dict[Ref, ExecutionLook]:
        """Every execution that was shown."""
        return {look.ref: look for tree in self.looks.values() for look in tree}


_Kept = Mapping[str, tuple[tuple[TaskLook, ...], tuple[WaitingChild, ...]]]


def _in_order(
    known: Mapping[Ref, Record],
    looks: Mapping[Ref, ExecutionLook],
    asked: _Asked,
    kept: _Kept,
    at: float,
) -> Iterable[Node]:
    """Nodes with parents before children, siblings in the order in which they were found."""
    silent = asked.silent
    below: dict[Ref | None, deque[Record]] = {}
    for record in known.values():
        below.setdefault(record.parent, deque()).append(record)
    waiting = deque((record, -1) for record in below.get(None, ()))
    place = 0
    while waiting:
        record, parent = waiting.popleft()
        look = looks.get(record.ref)
        if look:
            yield _seen(record, parent, look, at)
        elif record.ref in asked.spared:
            yield _kept_as_it_was(record, parent, kept)
        else:
            yield _unseen(record, parent, kept, silent=record.ref.backend in silent)
        waiting.extend((child, place) for child in below.get(record.ref, ()))
        place += 1


def _seen(record: Record, parent: int, look: ExecutionLook, at: float) -> Node:
    return Node(
        record=_looked(record, look, at),
        parent=parent,
        state=look.state,
        revision=look.revision,
        raw=look.raw,
        tasks=look.tasks,
        waiting=look.waiting,
        error=look.error,
        unknown=look.unknown,
        hung=look.hung,
    )


def _with_what_is_ours(look: ExecutionLook, links: Links, bound: Bound) -> ExecutionLook:
    """A look with the links of this ledger.

    What a task waits for on behalf of another ledger is an action like any other: it runs until that one ends it. So
    does a link whose child is not there yet (S2).
    """
    if not look.waiting:
        return look
    busy = {
        waiting.task
        for waiting in look.waiting
        if not links.is_ours(waiting) or (look.ref, waiting.key) not in bound.links
    }
    tasks = tuple(replace(task, active=True) if task.id in busy else task for task in look.tasks)
    return replace(look, tasks=tasks, waiting=tuple(filter(links.is_ours, look.waiting)))


def _kept_as_it_was(record: Record, parent: int, kept: _Kept) -> Node:
    """One that is done with, as it was last seen."""
    tasks, waiting = kept.get(record.id, ((), ()))
    state = EngineState.GONE if record.gone else record.seen
    return Node(record, parent, state, record.revision, record.raw, tasks, waiting, record.error)


def _unseen(record: Record, parent: int, kept: _Kept, *, silent: bool) -> Node:
    tasks, waiting = kept.get(record.id, ((), ()))
    if is_refused(record):
        return Node(record, parent, record.seen, error=record.error)
    # What was started but never seen at its engine is not there yet, or its start never arrived (O3).
    missing = EngineState.GONE if record.looked else EngineState.ABSENT
    state = record.seen if silent else missing
    return Node(
        record=record,
        parent=parent,
        state=state,
        revision=record.revision,
        raw=record.raw,
        tasks=tasks,
        waiting=waiting,
        error=record.error,
        reachable=not silent,
    )


def _looked(record: Record, look: ExecutionLook, at: float) -> Record:
    """A record with the time of the look, and the names that only the engine knows."""
    name = look.workflow or record.workflow
    looked = replace(record, looked=at, workflow=name, gone=False, asked=False, hung=look.hung)
    if not record.withdrawn:
        return looked
    return with_withdrawn(looked, [call for call in record.withdrawn if call.at > at - LATE_SECONDS])


def _born(look: ExecutionLook, link: ParentLink, known: Mapping[Ref, Record], at: float) -> Record:
    """The record of an execution that was not known: it is wanted as its parent is (P6)."""
    parent = Ref(look.ref.backend, link.id)
    above = known[parent]
    return Record(
        # The same id whoever finds it first: a look that may not write shows it too.
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{above.tree} {look.ref}")),
        tree=above.tree,
        ref=look.ref,
        workflow=look.workflow,
        parent=parent,
        parent_task=link.task,
        item=link.item,
        want=birth_want(above),
        actor=above.actor,
        created=at,
    )


def _shown(nodes: Iterable[Node]) -> list[Node]:
    """The executions that their engines showed."""
    return [node for node in nodes if node.reachable and not node.record.gone]


def _is_news(before: Record | None, after: Record) -> bool:
    """Whether a record is to be written."""
    return before is None or _differs(before, after) or is_due(before, after.looked)


def _differs(before: Record | None, after: Record) -> bool:
    """Whether more than the time of the look has changed."""
    return before is None or replace(before, looked=after.looked) != after


def _tree(snapshot: Snapshot) -> str:
    return snapshot.nodes[0].record.tree


def _author(
    event: Event, actor: str, operation: str, ours: Set[Kind], late: Mapping[str, Operation]
) -> tuple[str, str, str]:
    """By which operation something happened, if any, who made it happen, and what to call it."""
    if event.kind in ours:
        return operation, actor, str(Kind.STATUS)
    if event.kind is Kind.REOPENED_OUTSIDE and event.record in late:
        return late[event.record].id, late[event.record].actor, str(Kind.STATUS)
    return "", ENGINE, str(event.kind)


def _event_doc(event: Event, raw: str) -> str:
    return dumps({"old": event.old, "new": event.new, "engine_state": raw})
