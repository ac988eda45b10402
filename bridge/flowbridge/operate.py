"""Carrying out a verb on one tree: check, write down, act, look again (O1 to O6).

The order is always the same: finish what earlier operations left open, look afresh, check by the law, write what is
wanted together with the operation, then act and look until the engines show it. After a crash the next command finds
the operation open and goes on from a look.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from flowbridge.carry import Carrier, Progress
from flowbridge.errors import CallerError, FlowbridgeError, Rejected, Unsupported
from flowbridge.instances import Instances
from flowbridge.law.decide import Action, Line, Plan, decide
from flowbridge.law.fold import settle
from flowbridge.law.tables import TERMINAL
from flowbridge.law.verbs import Effect, apply, require
from flowbridge.ledger.leases import Lease
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State
from flowbridge.model import Node, Record, Snapshot, Status, Verb, Want
from flowbridge.plugins import Hooks
from flowbridge.sync import Pass, Sync
from flowbridge.views import tree_view

_VERBS = {Action.PAUSE: Verb.PAUSE, Action.RESUME: Verb.RESUME, Action.CANCEL: Verb.CANCEL}

#: Gives a verb's effect on a fresh snapshot, or raises `Rejected`.
Check = Callable[[Snapshot, int], Effect]

_NEEDS_EVERY_ENGINE = frozenset({Verb.RESUME, Verb.RERUN, Verb.SKIP})


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for a verb, why, and how long to wait for the engines, in seconds.

    `expect` is the fingerprint of a plan that was shown and confirmed (O9); None carries out whatever is planned.
    """

    verb: Verb
    actor: str
    reason: str = ""
    timeout: float = 30.0
    expect: frozenset[tuple[str, str]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a verb.

    `execution` is the id to go on with: a re-run gives a new one. `done` tells that the engines show it; otherwise
    `not_done` maps executions to why, and `exit_code` is 5 (an engine is silent) or 6 (it did not do it). `running`
    lists the tasks that still run, `ended_first` the executions that ended before the verb reached them.
    """

    operation: str
    verb: str
    execution: str
    status: Status
    done: bool
    exit_code: int
    plan: Plan
    not_done: Mapping[str, str] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    ended_first: Mapping[str, str] = field(default_factory=dict)


class Operator:
    """The verbs on the trees of one ledger."""

    def __init__(self, ledger: Ledger, instances: Instances, sync: Sync, hooks: Callable[[], Hooks]) -> None:
        self._ledger = ledger
        self._instances = instances
        self._sync = sync
        self._hooks = hooks
        self._carrier = Carrier(ledger, instances, sync)

    def plan(self, execution: str, check: Check) -> Plan:
        """What a verb would do, from a fresh look; nothing is written or sent (O1). Raises `Rejected`."""
        found, place = self._look(execution)
        effect = check(found.snapshot, place)
        return self._planned(found.snapshot, effect)

    def operate(self, execution: str, ask: Ask, check: Check, also: Callable[[], object] = lambda: None) -> Outcome:
        """Carry out a verb. Raises `Rejected` with nothing changed, `Timeout` where the tree is in use.

        `also` writes down what belongs to the operation, in the same transaction.
        """
        record = self._ledger.executions.get(execution)
        operation = _operation(record, ask)
        if record.superseded_by:
            with self._kept(operation):
                require(Node(record, -1, record.seen), ask.verb)
        with self._tree(record.tree, ask):
            self._finish_open(record.tree, ask)
            found, place = self._look(execution)
            self._sync.write(found)
            with self._kept(operation):
                effect = self._checked(found, place, ask, check)
                plan = self._planned(found.snapshot, effect)
                self._admit(operation, plan, ask)
            by = sorted({line.by for line in plan.lines if line.by})
            operation = replace(operation, options={**operation.options, "by": by})
            snapshot, operation = self._begin(found, operation, effect, ask, also)
            progress = self._carrier.carry(operation, snapshot, found, time.monotonic() + ask.timeout)
            return self._finished(operation, progress, plan)

    @contextmanager
    def _kept(self, operation: Operation) -> Iterator[None]:
        """Keep what is rejected inside in the history (O6)."""
        try:
            yield
        except FlowbridgeError as error:
            self._reject(operation, error)
            raise

    def start(self, record: Record, request: Mapping[str, Any], ask: Ask) -> Outcome:
        """Start a new execution: its record, what it starts with and the operation are written in one transaction.

        Raises `Rejected` where a plugin vetoes; then nothing was written but that.
        """
        operation = _operation(record, ask)
        if reason := self._hooks().veto(operation, _starting(record)):
            error = Rejected(f"vetoed: {reason}", rule="O6", reason="vetoed", execution=record.id)
            self._reject(operation, error)
            raise error
        with self._tree(record.tree, ask):
            self.write_start(record, request, operation)
            return self.carry_start(record, operation, ask)

    def write_start(self, record: Record, request: Mapping[str, Any], operation: Operation) -> None:
        """Write down a start that nothing stands in the way of any more."""
        with self._ledger.transaction():
            self._ledger.executions.put([record])
            self._ledger.executions.put_request(record.id, request)
            self._write_down(operation)

    def carry_start(self, record: Record, operation: Operation, ask: Ask) -> Outcome:
        """Carry out a start that was written down."""
        found = self._sync.look(record.tree)
        progress = self._carrier.carry(operation, found.snapshot, found, time.monotonic() + ask.timeout)
        return self._finished(operation, progress, _starting(record))

    def again(
        self, execution: str, ask: Ask, check: Check, anew: Callable[[], tuple[Record, Mapping[str, Any]]]
    ) -> Outcome:
        """Run an execution again from the beginning (X1): the start of what `anew` gives is written with the re-run.

        `anew` is called once the check has passed. Gives the outcome of the start.
        """
        starts: list[tuple[Record, Mapping[str, Any], Operation]] = []
        to_start = replace(ask, verb=Verb.START, expect=None)

        def checked(snapshot: Snapshot, place: int) -> Effect:
            effect = check(snapshot, place)
            record, request = anew()
            starts.append((record, request, _operation(record, to_start)))
            return effect

        self.operate(execution, ask, checked, lambda: self.write_start(*starts[-1]))
        record, _, operation = starts[-1]
        with self._tree(record.tree, to_start):
            return self.carry_start(record, operation, to_start)

    def tend(self, tree: str, sent: set[tuple[str, str]]) -> Pass:
        """One look at a tree, written down, with what follows from holds and cancels carried out (P6, C3).

        Where another command holds the tree this only looks. `sent` remembers what was sent from one pass to the next.
        """
        mark = self._ledger.operations.last(tree)
        # Without the lease: an engine that hangs must not keep a cancel waiting for a look (O2).
        found = self._sync.look(tree)
        lease = self._ledger.leases.take(f"tree:{tree}", "a watch")
        if lease is None:
            return found
        try:
            # What was written meanwhile knows more than this look.
            if self._ledger.operations.last(tree) == mark:
                self._sync.write(found)
                self._carrier.tend(found, sent)
        finally:
            self._ledger.leases.give(lease)
        return found

    def finish(self, tree: str, actor: str, timeout: float) -> list[Operation]:
        """Finish what operations left open on a tree (O3); gives those operations as they now stand."""
        ask = Ask(Verb.RECOVER, actor, timeout=timeout)
        with self._tree(tree, ask):
            return self._finish_open(tree, ask)

    def _tree(self, tree: str, ask: Ask) -> AbstractContextManager[Lease]:
        """One operation at a time for each tree (O5)."""
        holder = f"{ask.verb} by {ask.actor}"
        return self._ledger.leases.held(f"tree:{tree}", holder, what=f"the tree {tree}", timeout=ask.timeout)

    def _write_down(self, operation: Operation) -> None:
        self._ledger.operations.put(operation)
        self._ledger.operations.note(
            operation.tree,
            operation.target,
            "operation",
            operation.actor,
            operation.at,
            _asked(operation),
            operation.id,
        )

    def _look(self, execution: str) -> tuple[Pass, int]:
        record = self._ledger.executions.get(execution)
        if record.superseded_by:
            require(Node(record, -1, record.seen), "any verb")
        found = self._sync.look(record.tree)
        return found, found.snapshot.place(execution)

    def _checked(self, found: Pass, place: int, ask: Ask, check: Check) -> Effect:
        effect = check(found.snapshot, place)
        if ask.verb in _NEEDS_EVERY_ENGINE:
            for touched in {*effect.wants, *effect.rerun, *effect.skip}:
                require(found.snapshot.nodes[touched], ask.verb)
        return effect

    def _planned(self, snapshot: Snapshot, effect: Effect) -> Plan:
        facts = self._sync.facts(snapshot)
        wanted = settle(apply(snapshot, effect, ""), facts).snapshot
        plan = decide(wanted, facts)
        lines = list(plan.lines)
        for place in effect.reopened:
            action = Action.RERUN if place in effect.rerun else Action.SKIP if place in effect.skip else Action.REOPEN
            by = "engine" if action is Action.REOPEN else "bridge"
            lines[place] = lines[place]._replace(action=action, by=by, reason=_names(snapshot, effect, place))
        statuses = [node.record.status for node in snapshot.nodes]
        lines = [line._replace(status=status) for line, status in zip(lines, statuses, strict=True)]
        return plan._replace(lines=tuple(lines))

    def _admit(self, operation: Operation, plan: Plan, ask: Ask) -> None:
        self._reject_unsupported(plan)
        if ask.expect is not None and fingerprint(plan) != ask.expect:
            raise Rejected(
                "the tree has changed since the plan was shown: another execution would be touched. Nothing was done; "
                "look at the new plan (O9).",
                rule="O9",
                reason="plan_changed",
                execution=operation.target,
            )
        if reason := self._hooks().veto(operation, plan):
            raise Rejected(f"vetoed: {reason}", rule="O6", reason="vetoed", execution=operation.target)

    def _reject_unsupported(self, plan: Plan) -> None:
        facts = self._instances.facts(step.ref.backend for step in plan.steps)
        for step in plan.steps:
            verb = _VERBS.get(step.action)
            if verb is not None and verb not in facts[step.ref.backend].verbs:
                raise Unsupported(
                    f"{verb} of {step.ref} is unsupported: the engine of {step.ref.backend} cannot do it (O10)."
                )

    def _begin(
        self, found: Pass, operation: Operation, effect: Effect, ask: Ask, also: Callable[[], object]
    ) -> tuple[Snapshot, Operation]:
        """Write what is wanted and the operation in one transaction, before the first call (O3)."""
        before = {found.snapshot.nodes[place].record.id: want for place, want in _wants(found.snapshot, effect).items()}
        wanted = apply(found.snapshot, effect, ask.actor)
        snapshot = self._reopened(wanted, effect)
        facts = self._sync.facts(snapshot)
        settled = settle(snapshot, facts)
        snapshot = settled.snapshot
        steps = _steps(snapshot, effect)
        reopened = [snapshot.nodes[place].record.id for place in effect.reopened]
        options = {**operation.options, "before": before, "reopened": reopened}
        operation = replace(operation, steps=steps, options=options)
        old = {node.record.id: node.record for node in found.snapshot.nodes}
        with self._ledger.transaction():
            if ask.verb is Verb.CANCEL:
                self._replace_open(operation)
            self._supersede(found, snapshot, effect)
            self._ledger.executions.put(
                node.record for node in snapshot.nodes if old.get(node.record.id) != node.record
            )
            self._write_down(operation)
            self._sync.note(replace(found, settled=settled, at=operation.at), ask.actor, operation=operation.id)
            also()
        return snapshot, operation

    def _reopened(self, snapshot: Snapshot, effect: Effect) -> Snapshot:
        nodes = list(snapshot.nodes)
        for place in effect.reopened:
            node = nodes[place]
            record = replace(
                node.record,
                id=str(uuid.uuid4()),
                rerun_of=node.record.id,
                want=Want.RUN,
                held_by="",
                resumed_at=None,
                created=time.time(),
            )
            nodes[place] = replace(node, record=record)
        return Snapshot(tuple(nodes))

    def _supersede(self, found: Pass, snapshot: Snapshot, effect: Effect) -> None:
        for place in effect.reopened:
            old = found.snapshot.nodes[place].record
            self._ledger.executions.put_frozen(old.id, tree_view(found.snapshot, place))
            self._ledger.executions.put([replace(old, superseded_by=snapshot.nodes[place].record.id)])
        self._ledger.executions.put_looks(snapshot.nodes[place] for place in effect.reopened)

    def _replace_open(self, cancel: Operation) -> None:
        for operation in self._ledger.operations.open(cancel.tree):
            if operation.verb in (Verb.PAUSE, Verb.RESUME):
                self._ledger.operations.end(operation, State.REPLACED, f"replaced by cancel {cancel.id}", cancel.at)

    def _finish_open(self, tree: str, ask: Ask) -> list[Operation]:
        ended = []
        for operation in self._ledger.operations.open(tree):
            if ask.verb is Verb.CANCEL and operation.verb in (Verb.PAUSE, Verb.RESUME, Verb.CANCEL):
                continue
            found = self._sync.look(tree)
            self._sync.write(found, reopening=bool(operation.steps))
            progress = self._carrier.carry(operation, found.snapshot, found, time.monotonic() + ask.timeout)
            ended.append(self._end(operation, progress))
        return ended

    def _reject(self, operation: Operation, error: FlowbridgeError) -> None:
        state = State.REJECTED if isinstance(error, CallerError) else State.FAILED
        with self._ledger.transaction():
            self._write_down(operation)
            rule = {"rule": error.rule, "accept": error.accept} if isinstance(error, Rejected) else {}
            self._ledger.operations.end(operation, state, error.message, time.time(), **rule)

    def _end(self, operation: Operation, progress: Progress) -> Operation:
        if progress.open or self._ledger.operations.get(operation.id).state is not State.OPEN:
            return operation
        state = State.FAILED if progress.not_done else State.DONE
        outcome = "; ".join(f"{id}: {why}" for id, why in progress.not_done.items()) or "done"
        with self._ledger.transaction():
            ended = self._ledger.operations.end(operation, state, outcome, time.time())
            if operation.verb == Verb.START and state is State.FAILED:
                # Its engine refused it, so there never was such an execution.
                self._ledger.executions.forget(operation.tree)
        return ended

    def _finished(self, operation: Operation, progress: Progress, plan: Plan) -> Outcome:
        self._end(operation, progress)
        snapshot = progress.found.snapshot
        node = snapshot.nodes[_target(snapshot, operation.target)]
        return Outcome(
            operation=operation.id,
            verb=operation.verb,
            execution=node.record.id,
            status=node.record.status,
            done=not progress.not_done,
            exit_code=progress.exit_code,
            plan=plan,
            not_done=progress.not_done,
            running=running_tasks(snapshot),
            ended_first=_ended_first(snapshot, plan, operation.verb),
        )


def fingerprint(plan: Plan) -> frozenset[tuple[str, str]]:
    """Which executions a plan touches, and how. Two plans with the same one are the same to a user (O9)."""
    return frozenset((line.record, str(line.action)) for line in plan.lines if line.by)


def running_tasks(snapshot: Snapshot) -> tuple[str, ...]:
    """The tasks whose actions still run, each with its execution's workflow."""
    return tuple(
        _running(node, task.name, task.running) for node in snapshot.nodes for task in node.tasks if task.active
    )


def _running(node: Node, name: str, actions: tuple[str, ...]) -> str:
    detail = f" ({', '.join(actions)})" if actions else ""
    return f"{node.record.workflow or node.record.id}.{name}{detail}"


def _operation(record: Record, ask: Ask) -> Operation:
    return Operation(
        id=str(uuid.uuid4()),
        tree=record.tree,
        verb=str(ask.verb),
        target=record.id,
        actor=ask.actor,
        at=time.time(),
        reason=ask.reason,
        options=dict(ask.options),
    )


def _starting(record: Record) -> Plan:
    return Plan((), (Line(record.id, record.ref, record.workflow, record.status, Action.START, "bridge", ""),))


def _asked(operation: Operation) -> dict[str, Any]:
    options = {key: value for key, value in operation.options.items() if key not in ("before", "reopened") and value}
    return {"verb": operation.verb, "reason": operation.reason, **options}


def _wants(snapshot: Snapshot, effect: Effect) -> dict[int, Want]:
    return {place: snapshot.nodes[place].record.want for place in effect.wants}


def _steps(snapshot: Snapshot, effect: Effect) -> tuple[dict[str, Any], ...]:
    """The calls that happen once, deepest execution first, each with the mark of what was seen before."""
    steps = []
    for place in sorted({*effect.rerun, *effect.skip}, reverse=True):
        node = snapshot.nodes[place]
        rerun = effect.rerun.get(place)
        tasks = [list(task) for task in rerun] if rerun else [[id, True] for id in effect.skip[place]]
        ids = {task[0] for task in tasks}
        mark = {task.id: task.starts for task in node.tasks if task.id in ids}
        action = Action.RERUN if rerun else Action.SKIP
        steps.append({"action": str(action), "record": node.record.id, "tasks": tasks, "mark": mark})
    return tuple(steps)


def _names(snapshot: Snapshot, effect: Effect, place: int) -> str:
    ids = {task.task for task in effect.rerun.get(place, ())} | set(effect.skip.get(place, ()))
    names = ", ".join(task.name for task in snapshot.nodes[place].tasks if task.id in ids)
    return f"tasks {names}" if names else "its engine re-opens it with the task below (X2)"


def _target(snapshot: Snapshot, execution: str) -> int:
    """The place of the record that a verb named, or of the one that took over from it."""
    for place, node in enumerate(snapshot.nodes):
        if execution in (node.record.id, node.record.rerun_of):
            return place
    return 0


def _ended_first(snapshot: Snapshot, plan: Plan, verb: str) -> dict[str, str]:
    touched: dict[str, Line] = {line.record: line for line in plan.lines if line.by}
    wanted = {Verb.PAUSE: Status.PAUSED, Verb.CANCEL: Status.CANCELED}.get(Verb(verb))
    return {
        node.record.id: str(node.record.status)
        for node in snapshot.nodes
        if wanted and node.record.id in touched and node.record.status in TERMINAL - {wanted}
    }
