"""What a verb finds open on its tree: what it goes on with, what it leaves, and what a cancel takes back (O3, O5).

Whoever looks carries on with pauses and cancels, and ends whatever is seen to be done; an operation that starts work is
gone on with only by a verb that the law accepts as things stand, or by `recover`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from flowbridge.errors import Rejected, Timeout, Unavailable
from flowbridge.law.arrivals import in_the_way, with_withdrawn
from flowbridge.law.decide import Action, Plan, late_call
from flowbridge.law.fold import Facts, settle
from flowbridge.law.verbs import Effect, describe
from flowbridge.law.withdrawal import pending, withdrawal
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State
from flowbridge.model import EngineState, Node, Record, Snapshot, Verb
from flowbridge.outcome import Ask, place_of_target
from flowbridge.sync import Pass

_STARTS_WORK = frozenset({Verb.START, Verb.RESUME, Verb.RERUN, Verb.SKIP})
_AGAIN = frozenset({Verb.RERUN, Verb.SKIP})

#: What a cancel ends if it was left open: pauses and resumes give way (O5), an older cancel is taken over.
_TAKEN_OVER = frozenset({Verb.PAUSE, Verb.RESUME, Verb.CANCEL})


class TakenBack(NamedTuple):
    """What a cancel takes back of open re-runs and skips.

    `found` is the look with the earlier records in their places again, `places` are those places; `operations` are
    the open ones as they are to be written, without the calls that are not made; `records` those that go; `late` are
    the ids of those operations of which a call may still arrive, `unseen` the places where it may, and whose engine
    could not be asked.
    """

    found: Pass
    operations: tuple[Operation, ...] = ()
    places: tuple[int, ...] = ()
    records: tuple[str, ...] = ()
    late: Set[str] = frozenset()
    unseen: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def starts_work(operations: Sequence[Operation]) -> list[Operation]:
    """Those of open operations that would start something."""
    return [operation for operation in operations if operation.verb in _STARTS_WORK]


def asked_again(operations: Sequence[Operation], record: Record, ask: Ask) -> str:
    """The open operation that asks for the very same, by its id: the verb goes on with it. "" where there is none."""
    if ask.verb is Verb.CANCEL or (ask.verb is Verb.RERUN and not ask.options.get("tasks")):
        return ""
    for operation in operations:
        target = operation.target in (record.id, record.rerun_of) or record.id in operation.options.get("reopened", ())
        same = all(operation.options.get(key) == ask.options.get(key) for key in ("tasks", "no_reset"))
        if operation.verb == ask.verb and target and same:
            return operation.id
    return ""


def gone_on_with(operations: Sequence[Operation], record: Record, verb: Verb) -> Operation | None:
    """The open pause, resume or cancel of an execution that the same verb goes on with; None where there is none."""
    same = (one for one in operations if one.verb == verb and one.target == record.id)
    return next(same, None) if verb in _TAKEN_OVER else None


def with_what_is_open(
    error: Rejected | Unavailable, operations: Sequence[Operation], snapshot: Snapshot
) -> Rejected | Unavailable:
    """A refusal that also says what is open, which may be why."""
    open_ = starts_work(operations)[0]
    node = _now_target(open_, snapshot)
    message = (
        f"{error.message.rstrip('.')}. The {open_.verb} of {describe(node)} by {open_.actor} is still open: "
        f"`flowbridge recover {node.record.id}` goes on with it (O3)."
    )
    if isinstance(error, Unavailable):
        return Unavailable(message, unsent=error.unsent, unasked=error.unasked, instance=error.instance)
    return Rejected(
        message,
        rule=error.rule,
        reason=error.reason,
        execution=error.execution,
        accept=error.accept,
        rows=error.rows,
    )


def require_nothing_under_way(operations: Sequence[Operation], snapshot: Snapshot, ask: Ask) -> None:
    """A re-run waits for one of tasks that is under way: both calls might run a task twice (O5)."""
    if ask.verb not in _AGAIN:
        return
    for operation in operations:
        if pending(operation.steps, snapshot):
            node = _now_target(operation, snapshot)
            raise Timeout(
                f"the {operation.verb} of {describe(node)} by {operation.actor} is not seen at its engine yet, and may "
                f"still arrive; nothing was done. `flowbridge recover {node.record.id}` goes on with it (O5)."
            )


def require_nothing_late(snapshot: Snapshot, effect: Effect, verb: Verb) -> None:
    """Nor is a task run again, or skipped, while a call that a cancel took back may re-open the same (O5)."""
    for place in in_the_way(snapshot, effect.reopened, effect.whole):
        node = snapshot.nodes[place]
        call = late_call(node.record).removeprefix("its ")
        raise Timeout(
            f"the {call} in {describe(node)}, which a cancel took back, may still arrive, and could not be told from "
            f"this {verb}; nothing was done. `flowbridge recover {node.record.id}` looks once more, and waits no "
            f"longer (O5)."
        )


def may_be_paused_late(verb: Verb, operations: Sequence[Operation], snapshot: Snapshot) -> list[str]:
    """What a pause says of re-runs and skips that are open, and that no look shows: they may arrive under it."""
    open_ = [operation for operation in operations if verb is Verb.PAUSE and pending(operation.steps, snapshot)]
    return [
        f"the {operation.verb} of {describe(_now_target(operation, snapshot))} by {operation.actor} is not seen at its "
        f"engine yet, and may still arrive: it is paused then by whoever looks, an agent too (P6)"
        for operation in open_
    ]


def _now_target(operation: Operation, snapshot: Snapshot) -> Node:
    """What an operation named, by the record that stands for it now: a re-run has given it a new id (X2)."""
    return snapshot.nodes[place_of_target(snapshot, operation.target)]


def finished_by(verb: Verb, operation: Operation, snapshot: Snapshot) -> bool:
    """Whether a verb goes on with an open operation before it begins.

    A cancel makes no call of another one. A re-run or skip whose call may be on its way is gone on with by the same
    one, asked for again, and by `recover`: each time its engine is asked once more.
    """
    if operation.verb in _AGAIN and verb not in (*_AGAIN, Verb.RECOVER):
        return not pending(operation.steps, snapshot)
    return verb is not Verb.CANCEL


def taken_back(found: Pass, place: int, operations: Sequence[Operation], ledger: Ledger, facts: Facts) -> TakenBack:
    """What a cancel of the execution at a place takes back. Writes nothing."""
    nodes = list(found.snapshot.nodes)
    changed: list[Operation] = []
    places: list[int] = []
    records: list[str] = []
    late: list[str] = []
    unseen: list[int] = []
    now = time.time()
    for operation in operations:
        reopened = operation.options.get("reopened", ())
        gone = withdrawal(operation.steps, reopened, found.snapshot, place, now)
        if gone is None:
            continue
        for at in gone.awaited:
            nodes[at] = replace(nodes[at], record=replace(nodes[at].record, awaited=False))
        for at in gone.places:
            records.append(nodes[at].record.id)
            old = ledger.executions.get(nodes[at].record.rerun_of)
            nodes[at] = replace(nodes[at], record=_reinstated(old, nodes[at].record))
        for at, calls in gone.sent.items():
            record = nodes[at].record
            nodes[at] = replace(nodes[at], record=with_withdrawn(record, (*record.withdrawn, *calls)))
        late += [operation.id] if gone.sent else []
        unseen += [at for at in gone.sent if not nodes[at].reachable]
        places += gone.places
        left = [id for id in reopened if id not in records]
        changed.append(replace(operation, steps=gone.steps, options={**operation.options, "reopened": left}))
    if not changed:
        return TakenBack(found)
    settled = settle(Snapshot(tuple(nodes)), facts)
    warnings = tuple(
        f"the {one.verb} of {one.target} is taken back: no look showed that its engine took it (O5)" for one in changed
    )
    return TakenBack(
        found=replace(found, settled=settled),
        operations=tuple(changed),
        places=tuple(places),
        records=tuple(records),
        late=frozenset(late),
        unseen=tuple(unseen),
        warnings=warnings,
    )


def _reinstated(old: Record, new: Record) -> Record:
    """The earlier record in its place again. What its parent's task has come to wait for, or will, is it (X7)."""
    waited = bool(new.key) and (new.awaited or new.key != old.key)
    old = replace(old, superseded_by="", looked=new.looked, taken_back=waited)
    return replace(old, key=new.key, parent_task=new.parent_task, awaited=new.awaited) if waited else old


def with_taken_back(plan: Plan, taken: TakenBack) -> Plan:
    """A cancel's plan, with what it takes back."""
    lines = list(plan.lines)
    for place in taken.places:
        why = "its re-run or skip, which its engine was not seen to take, is taken back (O5)"
        lines[place] = lines[place]._replace(action=Action.CANCEL, by="bridge", reason=why)
    return plan._replace(lines=tuple(lines), warnings=(*plan.warnings, *taken.warnings))


def give_way(ledger: Ledger, taken: TakenBack, snapshot: Snapshot, cancel: Operation) -> None:
    """Write down, with a cancel, what becomes of the operations that were open before it."""
    ended = f"replaced by cancel {cancel.id}"
    taken_over = f"taken over by cancel {cancel.id}"
    root = snapshot.nodes[0]
    for operation in taken.operations:
        if operation.steps:
            ledger.operations.put(replace(operation, options={**operation.options, "taken_back": cancel.id}))
        else:
            what = "what still arrives is canceled" if operation.id in taken.late else "nothing runs again"
            why = f"taken back by cancel {cancel.id}: its engine was not seen to take it, and {what}"
            ledger.operations.end(operation, State.REPLACED, why, cancel.at)
    for operation in ledger.operations.open(cancel.tree):
        if operation.verb == Verb.CANCEL:
            ledger.operations.end(operation, State.TAKEN_OVER, taken_over, cancel.at)
        elif operation.verb in _TAKEN_OVER:
            ledger.operations.end(operation, State.REPLACED, ended, cancel.at)
        elif operation.verb == Verb.START and root.state is EngineState.ABSENT:
            sent = "it was seen nowhere, and what still arrives is canceled"
            never = sent if root.record.asked else "nothing was started"
            ledger.operations.end(operation, State.REPLACED, f"{ended}: {never}", cancel.at)
        elif operation.verb == Verb.START and root.reachable:
            ledger.operations.end(operation, State.DONE, "done", cancel.at)
    ledger.reinstate(taken.records, cancel, cancel.at)
    back = {*taken.places}
    ledger.executions.put(node.record for at, node in enumerate(snapshot.nodes) if at in back or node.record.withdrawn)
