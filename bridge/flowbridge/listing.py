"""A list of executions, as fresh as few requests can make it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from flowbridge.law.tables import TERMINAL
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import Record, Status
from flowbridge.operate import Operator
from flowbridge.sync import Sync

_UNENDED = tuple(status for status in Status if status not in TERMINAL)


def listed(ledger: Ledger, sync: Sync, operator: Operator, filter: Filter) -> Sequence[Record]:
    """Records by a filter, newest first, after a look at those that have not ended.

    Where no children are listed, a root that its engine still calls what it did is not looked at more closely.
    """
    began = time.time()
    reach = filter.limit if filter.limit < 0 else filter.offset + filter.limit
    unended = ledger.executions.list(replace(filter, status=_UNENDED, offset=0, limit=reach))
    unended = [record for record in unended if not record.gone]
    steady = sync.unchanged(unended) if filter.roots else set()
    passes = operator.tend_all(list(dict.fromkeys(one.tree for one in unended if one.tree not in steady)), set())
    nodes = [node for found in passes.values() for node in found.snapshot.nodes]
    seen = {node.record.id for node in nodes if node.reachable}
    found = ledger.executions.list(filter)
    if ledger.unwritten:
        fresh = {node.record.id: node.record for node in nodes}
        found = [fresh.get(record.id, record) for record in found]
    return [
        replace(record, looked=max(record.looked, began)) if record.id in seen or record.tree in steady else record
        for record in found
    ]
