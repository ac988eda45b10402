"""Carrying out a verb on one tree: check, write down, act, look again (O1 to O6).

The order is always the same: finish what earlier operations left open, look afresh, check by the law, write what is
wanted together with the operation, then act and look until the engines show it. After a crash the next command finds
the operation open and goes on from a look.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from flowbridge.carry import Carrier, Progress
from flowbridge.ending import end
from flowbridge.errors import CallerError, FlowbridgeError, LedgerError, NotFound, Rejected, Unavailable, Unsupported
from flowbridge.instances import Instances
from flowbridge.law.decide import Action, Plan
from flowbridge.law.edges import once_steps, reopened
from flowbridge.law.fold import settle
from flowbridge.law.verbs import Effect, apply, require
from flowbridge.ledger.leases import Lease
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State, reopening
from flowbridge.model import Node, Record, Snapshot, Verb
from flowbridge.opened import (
    TakenBack,
    asked_again,
    finished_by,
    give_way,
    gone_on_with,
    may_be_paused_late,
    require_nothing_late,
    require_nothing_under_way,
    starts_work,
    taken_back,
    with_taken_back,
    with_what_is_open,
)
from flowbridge.outcome import (
    Ask,
    Outcome,
    abandoned,
    ended_first,
    operation_of,
    place_of_target,
    running_tasks,
    touched,
)
from flowbridge.planning import fingerprint, joins_ahead, not_reported, planned, start_plan
from flowbridge.plugins import Hooks
from flowbridge.sync import Pass, Sync
from flowbridge.treeviews import tree_view
from flowbridge.unwritten import telling_what_is_known

_VERBS = {Action.PAUSE: Verb.PAUSE, Action.RESUME: Verb.RESUME, Action.CANCEL: Verb.CANCEL}

#: Gives a verb's effect on a fresh snapshot, or raises `Rejected`.
Check = Callable[[Snapshot, int], Effect]

#: Ends an operation that was carried out, and gives its outcome.
Finished = Callable[[Operation, Progress, Plan], Outcome]

_NEEDS_EVERY_ENGINE = frozenset({Verb.RESUME, Verb.RERUN, Verb.SKIP})

_REFRESH_SECONDS = 30.0

_INTERNAL = frozenset({"before", "reopened", "refused", "taken_back", "untold"})


class Alone(NamedTuple):
    """What may be done with a tree that nobody else works on: `look` and write down; `tend` it, which is to do what
    follows from such a look too; `finish` what was left open."""

    look: Callable[[], Pass]
    tend: Callable[[], Pass]
    finish: Callable[[], Sequence[Operation]]


class Operator:
    """The verbs on the trees of one ledger."""

    def __init__(
        self, ledger: Ledger, instances: Instances, sync: Sync, carrier: Carrier, hooks: Callable[[], Hooks]
    ) -> None:
        self._ledger = ledger
        self._instances = instances
        self._sync = sync
        self._carrier = carrier
        self._hooks = hooks

    def plan(self, execution: str, verb: Verb, check: Check) -> Plan:
        """What a verb would do, from a fresh look; nothing is written or sent (O1). Raises what the verb would."""
        found, place = self._look(execution)
        record = found.snapshot.nodes[place].record
        operations = self._ledger.operations.open(record.tree)
        open_ = gone_on_with(operations, record, verb)
        if open_ is not None and verb is not Verb.CANCEL:
            taken, effect = TakenBack(found), Effect()  # what it wants is written down already
        else:
            with _telling_what_is_open(operations if verb is not Verb.CANCEL else (), found):
                taken, effect = self._accepted(found, place, verb, check)
        return self._planned(taken, effect, verb)._replace(goes_on=f"{verb} by {open_.actor}" if open_ else "")

    def operate(
        self,
        execution: str,
        ask: Ask,
        check: Check,
        also: Callable[[], object] = lambda: None,
        finished: Finished | None = None,
    ) -> Outcome:
        """Carry out a verb. Raises `Rejected` with nothing changed, `Timeout` where the tree is in use.

        `also` writes down what belongs to the operation, in the same transaction; `finished` ends the operation once
        it is carried out, where more than that belongs to it.
        """
        record = self._ledger.executions.get(execution)
        operation = operation_of(record, ask)
        if record.superseded_by:
            with self._kept(operation, ask):
                require(Node(record, -1, record.seen), ask.verb)
        with telling_what_is_known(self._ledger, operation), ExitStack() as lease, self._instances.patience.one_wait():
            with self._kept(operation, ask):
                held = lease.enter_context(self._tree(record.tree, ask))
            open_ = self._ledger.operations.open(record.tree)
            again = asked_again(open_, record, ask)
            with self._kept(operation, ask):
                self._check_first(execution, ask, check, () if again else open_)
            for ended, progress in self._finish_open(record.tree, ask, held):
                if ended.id == again and (ended.state is State.DONE or _stays_open(ended, progress)):
                    return self._went_on(operation, ended, progress)
            found, place = self._look(execution)
            self._sync.write(found)
            with self._kept(operation, ask):
                require_nothing_under_way(self._ledger.operations.open(record.tree), found.snapshot, ask)
                taken, effect = self._accepted(found, place, ask.verb, check)
                plan = self._planned(taken, effect, ask.verb)
                self._admit(operation, plan, ask)
            by = sorted({line.by for line in plan.lines if line.by})
            target = taken.found.snapshot.nodes[place].record.id
            operation = replace(operation, target=target, options={**operation.options, "by": by})
            snapshot, operation = self._begin(taken, operation, effect, ask, also)
            progress = self._carrier.carry(operation, snapshot, taken.found, ask.deadline, held)
            return (finished or self._finished)(operation, progress, plan)

    def _check_first(self, execution: str, ask: Ask, check: Check, open_: Sequence[Operation]) -> None:
        """What the law rejects is rejected before anything that is open, and starts work, is gone on with (O2)."""
        if ask.verb is Verb.CANCEL or not starts_work(open_):
            return
        found, place = self._look(execution)
        require_nothing_under_way(open_, found.snapshot, ask)
        with _telling_what_is_open(open_, found):
            _checked(found, place, ask.verb, check)

    def _accepted(self, found: Pass, place: int, verb: Verb, check: Check) -> tuple[TakenBack, Effect]:
        """What a verb comes to on a look, and what a cancel takes back first. Raises what the law says against it."""
        if verb is not Verb.CANCEL:
            effect = _checked(found, place, verb, check)
            require_nothing_late(found.snapshot, effect, verb)
            return TakenBack(found), effect
        open_ = self._ledger.operations.open(found.snapshot.nodes[0].record.tree)
        taken = taken_back(found, place, open_, self._ledger, self._sync.facts(found.snapshot))
        try:
            return taken, _checked(taken.found, place, verb, check)
        except Rejected:
            # It had ended before the re-run, and has again; or something below it is still to be canceled.
            if not taken.operations and not gone_on_with(open_, taken.found.snapshot.nodes[place].record, verb):
                raise
        return taken, Effect()

    def _planned(self, taken: TakenBack, effect: Effect, verb: Verb) -> Plan:
        snapshot = taken.found.snapshot
        facts = self._sync.facts(snapshot)
        plan = planned(snapshot, effect, facts, joins_ahead(self._instances, snapshot, facts, verb))
        open_ = self._ledger.operations.open(snapshot.nodes[0].record.tree)
        late = may_be_paused_late(verb, open_, snapshot)
        plan = not_reported(plan, reopening(open_))
        return with_taken_back(plan._replace(warnings=(*plan.warnings, *late)), taken)

    def _went_on(self, asked: Operation, open_: Operation, progress: Progress) -> Outcome:
        """The outcome of a verb that asked for what was open already: it is done now, or stays open."""
        left = "; ".join(f"{id}: {why}" for id, why in progress.not_done.items())
        came = f"that stays open: {left}" if left else "it is done"
        with self._ledger.transaction():
            self._write_down(asked)
            why = f"went on with the {open_.verb} that {open_.actor} had left open, and {came}"
            self._ledger.operations.end(asked, State.FAILED if left else State.DONE, why, time.time())
        plan = self._planned(TakenBack(progress.found), Effect(), Verb(asked.verb))
        return self._outcome(replace(open_, id=asked.id), progress, plan)

    @contextmanager
    def _kept(self, operation: Operation, ask: Ask) -> Iterator[None]:
        """Keep what is rejected inside in the history (O6)."""
        try:
            yield
        except LedgerError:
            raise  # what cannot be written cannot be kept
        except FlowbridgeError as error:
            self._reject(operation, error, ask)
            raise

    def start(self, record: Record, request: Mapping[str, Any], ask: Ask) -> Outcome:
        """Start a new execution: its record, what it starts with and the operation are written in one transaction.

        Raises `Rejected` where a plugin vetoes; then nothing was written but that.
        """
        operation = operation_of(record, ask)
        with telling_what_is_known(self._ledger, operation):
            if reason := self._hooks().veto(operation, start_plan(record)):
                error = Rejected(f"vetoed: {reason}", rule="O6", reason="vetoed", execution=record.id)
                self._reject(operation, error, ask)
                raise error
            with self._tree(record.tree, ask) as lease, self._instances.patience.one_wait():
                self.write_start(record, request, operation)
                return self.carry_start(record, operation, ask, lease, is_new=True)

    def write_start(self, record: Record, request: Mapping[str, Any], operation: Operation) -> None:
        """Write down a start that nothing stands in the way of any more."""
        with self._ledger.transaction():
            self._ledger.executions.put([record])
            self._ledger.executions.put_request(record.id, request)
            self._write_down(operation)

    def carry_start(
        self, record: Record, operation: Operation, ask: Ask, lease: Lease, *, is_new: bool = False
    ) -> Outcome:
        """Carry out a start that was written down. `is_new`: nobody else can have seen it yet."""
        found = self._sync.unseen(record) if is_new else self._sync.look(record.tree)
        progress = self._carrier.carry(operation, found.snapshot, found, ask.deadline, lease, is_new=is_new)
        return self._finished(operation, progress, start_plan(record))

    def carry_written_start(self, record: Record, operation: Operation, ask: Ask) -> Outcome:
        """Carry out a start that was written down with something else."""
        with self._tree(record.tree, ask) as lease:
            return self.carry_start(record, operation, ask, lease)

    @contextmanager
    def recovering(self, tree: str, actor: str, timeout: float) -> Iterator[Alone]:
        """Have a tree to oneself, to recover it. Raises `Timeout` where another command holds it (O5)."""
        ask = Ask(Verb.RECOVER, actor, timeout=timeout)
        with self._tree(tree, ask) as lease, self._instances.patience.one_wait():
            yield Alone(
                look=lambda: self._looked(tree),
                tend=lambda: self._carrier.tend(self._looked(tree), set()),
                finish=lambda: [one for one, _ in self._finish_open(tree, ask, lease)],
            )

    def refresh(self, tree: str, actor: str) -> Pass:
        """A look at a tree that is surely written down. Raises `Timeout` where another command holds the tree."""
        with self.recovering(tree, actor, _REFRESH_SECONDS) as alone:
            return alone.look()

    def _looked(self, tree: str) -> Pass:
        found = self._sync.look(tree)
        self._sync.write(found)
        return found

    def _tree(self, tree: str, ask: Ask) -> AbstractContextManager[Lease]:
        """One operation at a time for each tree (O5)."""
        holder = f"{ask.verb} by {ask.actor}"
        return self._ledger.leases.held(f"tree:{tree}", holder, what=f"the tree {tree}", timeout=ask.left)

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
        try:
            return found, found.snapshot.place(execution)
        except KeyError:
            # Somebody re-ran it, or the tree was pruned, between the two questions.
            record = self._ledger.executions.get(execution)
            require(Node(record, -1, record.seen), "any verb")
            raise NotFound(f"execution {execution} is no longer in its tree") from None

    def _admit(self, operation: Operation, plan: Plan, ask: Ask) -> None:
        self._reject_unsupported(plan)
        if ask.expect is not None and not fingerprint(plan) <= ask.expect:
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
        self, taken: TakenBack, operation: Operation, effect: Effect, ask: Ask, also: Callable[[], object]
    ) -> tuple[Snapshot, Operation]:
        """Write what is wanted and the operation in one transaction, before the first call (O3)."""
        found = taken.found
        old = {node.record.id: node.record for node in found.snapshot.nodes}
        before = {id: old[id].want for id in (found.snapshot.nodes[place].record.id for place in effect.wants)}
        older = gone_on_with(self._ledger.operations.open(operation.tree), old[operation.target], ask.verb)
        if older is not None:  # what that one reached too late is told by this one (O4)
            before = {**older.options.get("before", {}), **before}
        wanted = apply(found.snapshot, effect, ask.actor)
        snapshot = reopened(wanted, effect, lambda: str(uuid.uuid4()), time.time())
        facts = self._sync.facts(snapshot)
        settled = settle(snapshot, facts)
        snapshot = settled.snapshot
        steps = once_steps(snapshot, effect)
        new = [snapshot.nodes[place].record.id for place in effect.reopened]
        along = [snapshot.nodes[place].record.id for place in effect.along]
        untold = [found.snapshot.nodes[place].record.id for place in taken.unseen]
        if ask.verb is Verb.CANCEL:  # it takes over what other cancels could not tell
            for open_ in self._ledger.operations.open(operation.tree):
                untold += open_.options.get("untold", ()) if open_.verb == Verb.CANCEL else ()
        options = {**operation.options, "before": before, "reopened": new, "along": along, "untold": untold}
        operation = replace(operation, steps=steps, options=options)
        with self._ledger.transaction():
            if ask.verb is Verb.CANCEL:
                give_way(self._ledger, taken, found.snapshot, operation)
            self._supersede(found, snapshot, effect)
            self._ledger.executions.put(
                node.record for node in snapshot.nodes if old.get(node.record.id) != node.record
            )
            self._write_down(operation)
            self._sync.note(replace(found, settled=settled, at=operation.at), ask.actor, operation=operation.id)
            also()
        return snapshot, operation

    def _supersede(self, found: Pass, snapshot: Snapshot, effect: Effect) -> None:
        old = [found.snapshot.nodes[place] for place in effect.reopened]
        within: dict[int, str] = {}  # a view holds those of the re-opened below it, so it is kept once for all of them
        for place, node in zip(effect.reopened, old, strict=True):
            within[place] = within.get(node.parent, "") or node.record.id
            if within[place] == node.record.id:
                self._ledger.executions.put_frozen(node.record.id, tree_view(found.snapshot, place))
            else:
                self._ledger.executions.put_frozen_within(node.record.id, within[place])
        self._ledger.executions.put(
            replace(node.record, superseded_by=snapshot.nodes[place].record.id)
            for place, node in zip(effect.reopened, old, strict=True)
        )
        self._ledger.executions.put_looks(snapshot.nodes[place] for place in effect.reopened)
        for place, node in zip(effect.reopened, old, strict=True):
            self._ledger.executions.hand_on_request(node.record.id, snapshot.nodes[place].record.id)

    def _finish_open(self, tree: str, ask: Ask, lease: Lease) -> list[tuple[Operation, Progress]]:
        ended: list[tuple[Operation, Progress]] = []
        found: Pass | None = None  # one look will do until a call is made
        for operation in self._ledger.operations.open(tree):
            found = found or self._sync.look(tree)
            if finished_by(ask.verb, operation, found.snapshot):
                self._sync.write(found)
                progress = self._carrier.carry(operation, found.snapshot, found, ask.deadline, lease)
                ended.append((end(self._ledger, operation, progress), progress))
                found = None
        return ended

    def _reject(self, operation: Operation, error: FlowbridgeError, ask: Ask) -> None:
        state = State.REJECTED if isinstance(error, CallerError) else State.FAILED
        if ask.already_ok and isinstance(error, Rejected) and error.reason == "already":
            state = State.ALREADY
        with self._ledger.transaction():
            self._write_down(operation)
            rule = {"rule": error.rule, "accept": error.accept} if isinstance(error, Rejected) else {}
            self._ledger.operations.end(operation, state, error.message, time.time(), **rule)

    def _finished(self, operation: Operation, progress: Progress, plan: Plan) -> Outcome:
        end(self._ledger, operation, progress)
        if progress.looked:
            self._carrier.tend(progress.found, {(record, str(action)) for record, action in progress.sent})
        return self._outcome(operation, progress, plan)

    def _outcome(self, operation: Operation, progress: Progress, plan: Plan) -> Outcome:
        snapshot = progress.found.snapshot
        node = snapshot.nodes[place_of_target(snapshot, operation.target)]
        return Outcome(
            operation=operation.id,
            verb=operation.verb,
            execution=node.record.id,
            status=node.record.status,
            done=not progress.not_done,
            exit_code=progress.exit_code,
            plan=plan,
            not_done=progress.not_done,
            running=running_tasks(snapshot, Verb(operation.verb)),
            abandoned=abandoned(snapshot, Verb(operation.verb)),
            ended_first=ended_first(snapshot, {*touched(plan), *operation.options.get("before", ())}, operation.verb),
        )


def _checked(found: Pass, place: int, verb: Verb, check: Check) -> Effect:
    """A verb's effect. An engine that it needs and that is silent is told in that engine's own words (O2)."""
    try:
        effect = check(found.snapshot, place)
        if verb in _NEEDS_EVERY_ENGINE:
            for touched in {*effect.wants, *effect.rerun, *effect.skip}:
                require(found.snapshot.nodes[touched], verb)
    except Unavailable as error:
        if error.instance not in found.silent:
            raise
        name = error.instance
        raise Unavailable(f"{error.message} {name}: {found.silent[name]}", instance=name) from None
    return effect


@contextmanager
def _telling_what_is_open(operations: Sequence[Operation], found: Pass) -> Iterator[None]:
    """Say in a refusal what is open and starts work, which may be why."""
    try:
        yield
    except (Rejected, Unavailable) as error:
        if not starts_work(operations):
            raise
        raise with_what_is_open(error, operations, found.snapshot) from None


def _stays_open(operation: Operation, progress: Progress) -> bool:
    """Whether a pause or a resume was gone on with, and an engine still does not show it."""
    return operation.state is State.OPEN and bool(progress.not_done) and operation.verb in (Verb.PAUSE, Verb.RESUME)


def _asked(operation: Operation) -> dict[str, Any]:
    options = {key: value for key, value in operation.options.items() if key not in _INTERNAL and value}
    return {"verb": operation.verb, "reason": operation.reason, **options}
