"""Forgetting trees that are over: their records and files; the history stays."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flowbridge.errors import DamagedRow
from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import Record
from flowbridge.runfiles import remove_files


class Pruning:
    """Prunes one ledger for one actor."""

    def __init__(self, ledger: Ledger, actor: str) -> None:
        self._ledger = ledger
        self._actor = actor

    def prunable(self, before: float) -> Sequence[Record]:
        """The roots that were started before a time (seconds since the epoch) and are over."""
        return [record for record in self._ledger.executions.list(Filter(before=before, limit=-1)) if _over(record)]

    def forget(self, tree: str) -> bool:
        """Forget a tree that is over and that nobody works on; gives whether that was so."""
        lease = self._ledger.leases.take(f"tree:{tree}", "a prune")
        if lease is None:
            return False
        try:
            records = self._ledger.executions.tree(tree)
            over = all(map(_over, records)) and not self._ledger.operations.open(tree)
            if over:
                with self._ledger.transaction():
                    self._ledger.executions.forget(tree)
                    self._ledger.operations.forget(tree)
                    # A look under way sees by this line that its tree is not to be written any more.
                    self._ledger.operations.note(tree, tree, "pruned", self._actor, time.time(), {})
                remove_files(self._ledger.path, [record.ref for record in records])
        except DamagedRow:
            return False  # what cannot be read is not known to be over
        finally:
            self._ledger.leases.give(lease)
        return over


def _over(record: Record) -> bool:
    return (record.status in TERMINAL and not record.asked) or record.gone
