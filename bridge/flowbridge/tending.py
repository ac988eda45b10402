"""Looking after trees: each look is written down, and what follows from it is done by whoever looks (O3, O13, P6)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from flowbridge.carry import Carrier, Progress, is_as_wanted, unheard
from flowbridge.ending import end
from flowbridge.errors import DamagedRow
from flowbridge.instances import Instances
from flowbridge.law.edges import not_shown
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation
from flowbridge.model import EngineState, Snapshot, Verb
from flowbridge.outcome import place_of_target
from flowbridge.sync import Pass, Sync

#: Who holds a tree while a look at it is written down and what follows from it is done.
LOOKING = "a look at it"

_Mark = tuple[int, int] | None


class Tender:
    """Looks after the trees of one ledger. It needs no lease beforehand, and waits for nobody who has one."""

    def __init__(self, ledger: Ledger, instances: Instances, sync: Sync, carrier: Carrier) -> None:
        self._ledger = ledger
        self._instances = instances
        self._sync = sync
        self._carrier = carrier

    def tend(self, tree: str, sent: set[tuple[str, str]], *, standing: bool = False) -> Pass:
        """One look at a tree, written down, with what follows from holds and cancels carried out (P6, C3).

        `sent` holds what was sent before, by record and action; give the same one from one pass to the next.
        `standing` is a look of somebody who goes on looking: it leaves alone what is done with, and for a while what
        failed (`Sync.look_at`, `Carrier.due`).
        """
        return self.tend_all([tree], sent, standing=standing)[tree]

    def tend_all(self, trees: Sequence[str], sent: set[tuple[str, str]], *, standing: bool = False) -> dict[str, Pass]:
        """The same for several trees, with each engine asked once for all of them."""
        # Without a lease: an engine that hangs must not keep a cancel waiting for a look (O2).
        with self._instances.patience.one_wait(), self._ledger.database.hurried():
            passes, overtaken = self._tend_all(trees, sent, standing=standing)
            if overtaken and not standing:
                # What is shown is to be known to whoever is told of it: one more look, at what is written down by now.
                passes |= self._tend_all(overtaken, sent, standing=False)[0]
        return passes

    def _mark(self, tree: str) -> _Mark:
        """What tells later whether a look that begins now may be acted upon; None where somebody acts at this moment.

        In this order: who begins to act in between moves the mark.
        """
        mark = self._ledger.operations.mark(tree)
        return None if self._ledger.leases.holder(f"tree:{tree}") else mark

    def _tend_all(
        self, trees: Sequence[str], sent: set[tuple[str, str]], *, standing: bool
    ) -> tuple[dict[str, Pass], list[str]]:
        """One look at several trees, and those of them at which another was faster: nothing of theirs was written."""
        marks = {tree: self._mark(tree) for tree in trees}
        passes = self._sync.look_at(trees, standing=standing)
        quiet, overtaken = [], []
        for tree, found in list(passes.items()):
            due = self._carrier.due(found, sent, standing=standing)
            to_end = marks[tree] is not None and self._done_and_open(found)
            if self._sync.is_quiet(found) and not any(due) and not to_end:
                quiet.append(found)
                continue
            with self._ledger.if_possible():
                tended = self._tended(marks[tree], found, sent, standing=standing)
                passes[tree] = tended or found
                overtaken += [] if tended else [tree]
        self._sync.write_quiet(quiet)
        return passes, overtaken

    def _tended(self, mark: _Mark, found: Pass, sent: set[tuple[str, str]], *, standing: bool) -> Pass | None:
        """A look written down, with what follows from it carried out; None where another was faster."""
        tree = found.snapshot.nodes[0].record.tree
        lease = self._ledger.leases.take(f"tree:{tree}", LOOKING)
        if lease is None:
            return None
        try:
            # What was written meanwhile, or is done on another look, knows more than this one.
            if mark is None or self._ledger.operations.mark(tree) != mark:
                return None
            self._sync.write(found)
            tended = self._carrier.tend(found, sent, standing=standing)
            for operation in self._done_and_open(tended):
                # There is no call to make: this only tells what came of it.
                progress = Progress(tended)
                if operation.verb != Verb.START:
                    progress = self._carrier.carry(operation, tended.snapshot, tended, time.monotonic(), lease)
                end(self._ledger, operation, progress)
            return tended
        finally:
            self._ledger.leases.give(lease)

    def _done_and_open(self, found: Pass) -> Sequence[Operation]:
        """The operations that a look shows to be done, and that nobody has ended yet: an engine was silent, or whoever
        made their last call was killed (O2, O3). Nothing is left to do for them, so that ending them starts nothing."""
        snapshot = found.snapshot
        as_wanted = is_as_wanted(snapshot)
        with suppress(DamagedRow):  # whoever asks for that operation is told
            return [
                operation
                for operation in self._ledger.operations.open(snapshot.nodes[0].record.tree)
                if _is_done(operation, snapshot, as_wanted=as_wanted)
            ]
        return ()


def _is_done(operation: Operation, snapshot: Snapshot, *, as_wanted: bool) -> bool:
    if unheard(operation, snapshot):
        return False
    if operation.verb == Verb.START:
        return _has_started(operation, snapshot)
    return as_wanted and not not_shown(operation.steps, snapshot)


def _has_started(operation: Operation, snapshot: Snapshot) -> bool:
    """Whether what a start has started is there: whatever else of its tree is not as it is wanted (a child that cannot
    be started yet, say) is no matter of that."""
    node = snapshot.nodes[place_of_target(snapshot, operation.target)]
    return node.reachable and node.state is not EngineState.ABSENT
