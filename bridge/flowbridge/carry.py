"""Acting on a plan until the engines show it: send, look, decide again (O2, O4).

Every step is sent once for each operation. A resume is sent again only by a later operation, after a look has shown
that the engine never took it.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from flowbridge.errors import EngineRefused, FlowbridgeError, InvalidInput, NotFound, Timeout, Unavailable
from flowbridge.instances import Instances
from flowbridge.law.decide import Action, Plan, Step, decide, is_unfinished
from flowbridge.law.driving import follows, linked
from flowbridge.law.edges import not_shown, overtaken
from flowbridge.ledger.leases import Lease
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation
from flowbridge.model import EngineState, Node, Record, Snapshot, Verb, Want
from flowbridge.sending import REFUSALS, Sender
from flowbridge.sync import Pass, Sync
from flowbridge.troubles import TRIED_AGAIN, failed, no_longer_due, note, rests

#: What an engine does once, and may do again where it is asked again.
_ONCE = frozenset({Action.RERUN, Action.SKIP})

_FIRST_WAIT, _LONGEST_WAIT = 0.02, 1.0

#: The states of an execution that has ended, and the verbs that such a one can be faster than.
_OVER = frozenset({EngineState.SUCCEEDED, EngineState.ERRORED, EngineState.CANCELED})
_LEVEL = frozenset({Verb.PAUSE, Verb.RESUME, Verb.CANCEL})


class Due(NamedTuple):
    """The calls that are due, and the records with a failing call that is not due any more."""

    steps: list[Step]
    over: list[Record]


@dataclass(slots=True)
class Progress:
    """How far an operation came. `open` tells that it goes on later; `not_done` says what is missing, and why.

    `unsure` are the calls that may have been taken although the engine did not say so, with what came instead.
    """

    found: Pass
    is_new: bool = False
    looked: bool = False
    not_done: dict[str, str] = field(default_factory=dict)
    exit_code: int = 0
    open: bool = False
    sent: set[tuple[str, Action]] = field(default_factory=set)
    refused: dict[str, FlowbridgeError] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)


class Carrier:
    """Carries out what is wanted on one tree. The caller holds the tree's lease."""

    def __init__(self, ledger: Ledger, instances: Instances, sync: Sync) -> None:
        self._ledger = ledger
        self._sync = sync
        self._instances = instances
        self._sender = Sender(ledger, instances)

    def carry(
        self,
        operation: Operation,
        snapshot: Snapshot,
        found: Pass,
        deadline: float,
        lease: Lease,
        *,
        is_new: bool = False,
    ) -> Progress:
        """Act until nothing is left to do, an engine refuses, or `deadline` (monotonic seconds) passes.

        `snapshot` is the tree with what is now wanted; `found` the look it came from. `lease` is renewed meanwhile.
        `is_new` tells that nothing of the operation was ever sent before. Raises `Timeout` where the lease was lost.
        """
        progress = Progress(replace(found, settled=found.settled._replace(snapshot=snapshot)), is_new=is_new)
        wait = _FIRST_WAIT
        while steps := self._open_steps(operation, progress):
            fresh = [step for step in steps if (step.record, step.action) not in progress.sent]
            self._keep(operation, lease)
            progress.sent.update((step.record, step.action) for step in fresh)
            self._send(operation, fresh, progress, lease)
            if time.monotonic() >= deadline and progress.looked:
                break
            if not fresh:
                time.sleep(min(wait, max(0.0, deadline - time.monotonic())))
                wait = min(wait * 2, _LONGEST_WAIT)
            self._keep(operation, lease)
            concerned = {*(step.record for step in steps), *_not_as_wanted(progress.found.snapshot)}
            progress.found, progress.looked = self._sync.look(operation.tree, concerned), True
            reopening = bool(operation.steps)
            self._sync.write(progress.found, operation.actor, reopening=reopening, operation=operation.id)
        self._conclude(operation, progress)
        return progress

    def _send(self, operation: Operation, steps: Sequence[Step], progress: Progress, lease: Lease) -> None:
        """Make calls. Of those that happen once it is written down before that they are sent, and afterwards of which
        this was surely not so: what is taken back later is looked for only where it may arrive (O5)."""
        once = {(str(step.action), step.record) for step in steps if self._may_be_late(step)}
        if once:
            self._ledger.operations.note_sent(operation, once, 1)
        never: set[tuple[str, str]] = set()
        for step, error in self._sender.send(steps, progress.found.snapshot):
            self._note(step, error, progress)
            # Of several tasks some may have been asked for before the one that failed.
            if _never_arrives(error) and len(step.tasks) == 1:
                never.add((str(step.action), step.record))
            self._keep(operation, lease)
        if never & once:
            self._ledger.operations.note_sent(operation, never & once, -1)

    def _may_be_late(self, step: Step) -> bool:
        """Whether a call happens once, at an engine elsewhere."""
        return step.action in _ONCE and not self._instances.is_local(step.ref.backend)

    def due(self, found: Pass, sent: set[tuple[str, str]], *, standing: bool = False) -> Due:
        """What a look calls for without anybody asking, but for what is in `sent`: what follows from holds and cancels
        (P6), and the start and the report of children that another engine's task waits for.

        What the look does not call for any more leaves `sent`: if it ever does again, that is another matter. Where the
        look is `standing`, a call that has just failed is left for a later one.
        """
        snapshot = found.snapshot
        links = linked(snapshot)
        due = [step for step in self._decided(snapshot) if follows(step, links)]
        if any(step.action is Action.REPORT for step in due):
            due = self._without_reopening(snapshot, due)
        calls = [(step.record, str(step.action)) for step in due]
        records = {node.record.id: node.record for node in snapshot.nodes}
        sent -= {call for call in sent if call[0] in records}.difference(calls)
        over = no_longer_due(snapshot, calls)
        fresh = [step for step, call in zip(due, calls, strict=True) if call not in sent]
        if standing:
            fresh = [step for step in fresh if not rests(records[step.record], step.action, found.at)]
        return Due(fresh, over)

    def tend(self, found: Pass, sent: set[tuple[str, str]], *, standing: bool = False) -> Pass:
        """Make those calls. One that fails is left for a later pass, and the record says so (`Record.trouble`).

        Gives the pass with what came of them.
        """
        due = self.due(found, sent, standing=standing)
        changed = [self._noted(record.id, None) for record in due.over]
        failing = {(record.id, record.trouble.call) for record in found.troubled if record.trouble}
        if due.steps:
            self._ledger.operations.tended(found.snapshot.nodes[0].record.tree)
        for step, error in self._sender.send(due.steps, found.snapshot):
            if error is None:
                sent.add((step.record, str(step.action)))
            elif not isinstance(error, TRIED_AGAIN):
                raise error
            if error is not None or (step.record, str(step.action)) in failing:
                changed.append(self._noted(step.record, error, step.action))
        return found.with_records(changed)

    def _noted(self, id: str, error: FlowbridgeError | None, call: str = "") -> Record:
        """Write down that a call of a record failed, or, without an error, that none does any more."""
        at = time.time()
        before = self._ledger.executions.get(id)
        after = replace(before, trouble=None) if error is None else failed(before, str(call), error, at)
        with self._ledger.transaction():
            self._ledger.executions.put([after])
            note(self._ledger.operations, before, after, at)
        return after

    def _decided(self, snapshot: Snapshot) -> Sequence[Step]:
        return decide(snapshot, self._sync.facts(snapshot)).steps

    def _without_reopening(self, snapshot: Snapshot, due: list[Step]) -> list[Step]:
        """A child that is being run again shows its old end until its engine has taken that: it is not reported."""
        again = self._ledger.operations.reopening(snapshot.nodes[0].record.tree)
        return [step for step in due if step.action is not Action.REPORT or step.record not in again]

    def _open_steps(self, operation: Operation, progress: Progress) -> list[Step]:
        snapshot = progress.found.snapshot
        steps = [*not_shown(operation.steps, snapshot), *self._asked(operation, snapshot)]
        stopped = {*progress.refused, *progress.silent}
        stopped |= {node.record.id for node in snapshot.nodes if not node.reachable}
        return [step for step in steps if step.record not in stopped]

    def _asked(self, operation: Operation, snapshot: Snapshot) -> list[Step]:
        """What an operation itself is about. What other engines' tasks wait for follows when it is over."""
        held = operation.options.get("before", ())
        later = linked(snapshot).difference(held)
        steps = [step for step in self._decided(snapshot) if step.action is not Action.REPORT]
        return [step for step in steps if step.action is not Action.START or step.record not in later]

    def _note(self, step: Step, error: FlowbridgeError | None, progress: Progress) -> None:
        """What a call that was made says of how far the operation came."""
        if step.action is Action.START and isinstance(error, REFUSALS) and _was_asked(step, progress):
            # Nobody knows what became of the first try: what is there one day is not to be an orphan (O3).
            progress.silent[step.record] = f"{error.message.rstrip('.')}; an earlier try of its start may still arrive"
        elif isinstance(error, NotFound):
            # What is gone is told by the next look; a start that finds no workflow is told here.
            if step.action is Action.START:
                progress.refused[step.record] = error
        elif isinstance(error, Unavailable):
            if step.action is Action.START and error.unsent and progress.is_new:
                # It surely never arrived: it is not to be started behind the caller's back one day.
                progress.refused[step.record] = error
                return
            # A resume, a re-run or a skip may have been taken: only a look can tell (O4).
            may_be_taken = step.action in (Action.RESUME, Action.RERUN, Action.SKIP) and not error.unsent
            (progress.unsure if may_be_taken else progress.silent)[step.record] = error.message
        elif isinstance(error, EngineRefused | InvalidInput):
            progress.refused[step.record] = error
        elif error is not None:
            raise error

    def _conclude(self, operation: Operation, progress: Progress) -> None:
        self._drop_what_came_true(operation, progress)
        for record, error in progress.refused.items():
            progress.not_done[record] = error.message
            progress.exit_code = max(progress.exit_code, _code_of(error))
        if progress.refused:
            self._give_up(operation, progress)
        once = {step.record for step in not_shown(operation.steps, progress.found.snapshot)} - progress.refused.keys()
        once |= unheard(operation, progress.found.snapshot)
        for node in progress.found.snapshot.nodes:
            is_open = node.record.id in once or is_unfinished(node)
            if not node.reachable and is_open and node.record.id not in progress.refused:
                # What its call was answered says more than that nobody was there, or none was asked, for the look.
                answered = progress.unsure.get(node.record.id, progress.found.silent[node.record.ref.backend])
                progress.silent.setdefault(node.record.id, answered)
        for node in progress.found.snapshot.nodes:
            if node.state is EngineState.GONE and node.record.id in _touched(operation):
                progress.not_done[node.record.id] = f"is gone: {node.record.ref.backend} no longer has it (S7)"
                progress.exit_code = max(progress.exit_code, EngineRefused.exit_code)
        for record, why in overtaken(operation.steps, progress.found.snapshot).items():
            progress.not_done[record] = why
            progress.exit_code = max(progress.exit_code, EngineRefused.exit_code)
        for step in self._open_steps(operation, progress):
            progress.not_done[step.record], code = _not_seen(step, progress.unsure.get(step.record))
            progress.exit_code, progress.open = max(progress.exit_code, code), True
        for record, message in progress.silent.items():
            progress.not_done[record] = message
            progress.exit_code, progress.open = max(progress.exit_code, Unavailable.exit_code), True

    def _drop_what_came_true(self, operation: Operation, progress: Progress) -> None:
        """What the last look shows is done, whatever its call was answered; what had ended first was not refused.

        Where nobody drives it on, that is what the call was answered.
        """
        snapshot = progress.found.snapshot
        wanted = {step.record for step in (*not_shown(operation.steps, snapshot), *self._asked(operation, snapshot))}
        for node in snapshot.nodes:
            id = node.record.id
            if node.state is EngineState.ABANDONED:
                progress.silent |= {id: progress.unsure[id]} if id in progress.unsure else {}
            elif node.reachable and id not in wanted:
                progress.silent.pop(id, None)
            if node.reachable and node.state in _OVER and operation.verb in _LEVEL:
                progress.refused.pop(id, None)

    def _keep(self, operation: Operation, lease: Lease) -> None:
        """Go on holding the tree. Another command that took it goes on with the operation."""
        if not self._ledger.leases.keep(lease):
            raise Timeout(
                f"the tree {operation.tree} was taken over by another command while this one waited; the operation is "
                f"open, and `flowbridge recover {operation.target}` finishes it (O5)"
            )

    def _give_up(self, operation: Operation, progress: Progress) -> None:
        """What an engine refused is wanted no longer, nor what it would have done with it (`_with_what_follows`)."""
        before: Mapping[str, str] = operation.options.get("before", {})
        snapshot = progress.found.snapshot
        refused = _with_what_follows(snapshot, decide(snapshot, self._sync.facts(snapshot)), progress.refused)
        undone = [
            replace(node.record, want=Want(before[node.record.id]), resumed_at=None)
            for node in refused
            if node.record.id in before
        ]
        with self._ledger.transaction():
            self._ledger.executions.put(undone)
            told = {record: error.message for record, error in progress.refused.items()}
            self._ledger.operations.refuse(operation, told)
            if all(step["record"] in progress.refused for step in operation.steps):
                again: Sequence[str] = operation.options.get("reopened", ())
                reinstated = self._ledger.reinstate(again, operation, time.time())
                progress.not_done = {reinstated.get(id, id): why for id, why in progress.not_done.items()}
        if undone or operation.steps:
            progress.found = self._sync.look(operation.tree)
            self._sync.write(progress.found)


def unheard(operation: Operation, snapshot: Snapshot) -> frozenset[str]:
    """The executions of which nobody can tell whether what a cancel took back there has come: their engine is silent,
    and was when they were canceled (O2)."""
    unseen = operation.options.get("untold", ())
    return frozenset(node.record.id for node in snapshot.nodes if not node.reachable and node.record.id in unseen)


def _never_arrives(error: FlowbridgeError | None) -> bool:
    """Whether what a call came to tells that it is not on its way any more."""
    return isinstance(error, REFUSALS) or (isinstance(error, Unavailable) and error.unsent)


def _was_asked(step: Step, progress: Progress) -> bool:
    """Whether a start had been sent before, and may have been taken."""
    return any(node.record.id == step.record and node.record.asked for node in progress.found.snapshot.nodes)


def is_as_wanted(snapshot: Snapshot) -> bool:
    """Whether nothing is left to do of what is wanted, as far as it was seen."""
    return not any(map(is_unfinished, snapshot.nodes))


def _code_of(error: FlowbridgeError) -> int:
    """The exit code for what an engine refused; for what there was no time to ask it, that the time was over."""
    return Timeout.exit_code if isinstance(error, Unavailable) and error.unasked else error.exit_code


def _not_seen(step: Step, instead: str | None) -> tuple[str, int]:
    """What to say of a call that no look shows, and the exit code for it. `instead`: what came for an answer."""
    if instead is None:
        return f"{step.action} was accepted by {step.ref.backend}, but is not seen yet", EngineRefused.exit_code
    return f"{instead.rstrip('.')}; the {step.action} is not seen, and may still arrive", Unavailable.exit_code


def _not_as_wanted(snapshot: Snapshot) -> list[str]:
    """What is not, or may not be, as it is wanted: it is looked at again."""
    return [node.record.id for node in snapshot.nodes if not node.reachable or is_unfinished(node)]


def _touched(operation: Operation) -> Set[str]:
    return {*operation.options.get("before", ()), *(step["record"] for step in operation.steps)}


def _with_what_follows(snapshot: Snapshot, plan: Plan, refused: Container[str]) -> list[Node]:
    """The executions that refused a call, and those that their engine would have taken along with them."""
    found: dict[int, Node] = {}
    for place, (node, line) in enumerate(zip(snapshot.nodes, plan.lines, strict=True)):
        if node.record.id in refused or (line.by == "engine" and node.parent in found):
            found[place] = node
    return list(found.values())
