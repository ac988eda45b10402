"""A list of executions, as fresh as few requests can make it. Apart from the facade, so that it costs little."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial

from flowbridge.calls import apart, at_once
from flowbridge.deadline import within
from flowbridge.errors import EngineError, InvalidInput, LedgerError, Unavailable
from flowbridge.instances import Instances
from flowbridge.law.tables import ACTIVE, TERMINAL
from flowbridge.ledger.executions import Executions, Filter, is_due
from flowbridge.model import Record, Ref, Status

_UNENDED = tuple(status for status in Status if status not in TERMINAL)

#: What stays as it is while the engine's word does: for anything else tasks and children count (S3).
_STEADY = frozenset({Status.RUNNING, Status.PAUSED})


def listed(
    executions: Executions,
    instances: Instances,
    filter: Filter,
    closely: Callable[[Sequence[str]], Mapping[str, Record]],
    is_driven: Callable[[Ref], bool],
    patience: float | None = None,
) -> Sequence[Record]:
    """Records by a filter, newest first, after a look at those that have not ended.

    Where no children are listed, a root that its engine still calls what it did is not looked at more closely, but
    where a local run below it is to move and has no runner (S6). `closely` looks at whole trees, and gives the records
    that their engines showed; `is_driven` tells whether a local run has a runner that lives. What a look found is
    shown also where it cannot be written down. An engine that does not answer is given up after `patience` seconds; the
    others have as long for the closer look.
    """
    began = time.time()
    reach = filter.limit if filter.limit < 0 else filter.offset + filter.limit
    unended = executions.list(filter._replace(status=_UNENDED, offset=0, limit=reach))
    unended = [record for record in unended if not record.gone]
    silent: set[str] = set()  # an engine that did not answer is not asked once more
    with within(patience):
        steady = _unchanged(executions, instances, unended, silent, is_driven) if filter.roots else set()
    rest = list(dict.fromkeys(one.tree for one in unended if one.tree not in steady and one.ref.backend not in silent))
    with within(patience):
        seen = (
            apart(closely, rest, lambda tree, error: executions.damaged.update({tree: error.message})) if rest else {}
        )
    return [_fresh(record, seen.get(record.id), steady, began) for record in executions.list(filter)]


def _fresh(record: Record, seen: Record | None, steady: Set[str], began: float) -> Record:
    if seen is None and record.tree not in steady:
        return record
    newest = seen if seen is not None and seen.looked > record.looked else record
    return replace(newest, looked=max(newest.looked, began))


def _unchanged(
    executions: Executions,
    instances: Instances,
    roots: Iterable[Record],
    silent: set[str],
    is_driven: Callable[[Ref], bool],
) -> set[str]:
    """The trees, by roots that run or are paused, whose engines say at a glance that this is still so.

    `silent` gets the instances that did not answer.
    Only the status of the root is vouched for. The time of the look is written down.
    """
    asked: dict[str, list[Record]] = {}
    for record in roots:
        if record.status in _STEADY and not record.hung:
            asked.setdefault(record.ref.backend, []).append(record)
    glances = _glances(instances, {name: [one.ref.id for one in records] for name, records in asked.items()})
    silent.update(name for name, words in glances.items() if words is None)
    same = [
        one for name, records in asked.items() for one in records if (glances[name] or {}).get(one.ref.id) == one.raw
    ]
    stranded = _stranded(executions, instances, [one.tree for one in same], is_driven)
    same = [one for one in same if one.tree not in stranded]
    at = time.time()
    with suppress(LedgerError):  # what cannot be written down was seen all the same
        executions.touch((record, replace(record, looked=at)) for record in same if is_due(record, at))
    return {record.tree for record in same}


def _stranded(
    executions: Executions, instances: Instances, trees: Sequence[str], is_driven: Callable[[Ref], bool]
) -> set[str]:
    """Those of these trees in which a run that lives here was last seen to move, and has no runner: it may be dead."""
    moving = executions.linked(trees, [str(status) for status in ACTIVE])
    return {tree for tree, ref in moving if instances.is_local(ref.backend) and not is_driven(ref)}


def _glances(instances: Instances, wanted: Mapping[str, Sequence[str]]) -> Mapping[str, Mapping[str, str] | None]:
    """What each instance says of its executions; None for one that did not answer. Engines elsewhere are asked
    beside one another, so that none waits for one that is down."""
    elsewhere = [name for name in wanted if not instances.is_local(name)]
    words = at_once([partial(_glance, instances, name, wanted[name]) for name in elsewhere])
    here = {name: _glance(instances, name, ids) for name, ids in wanted.items() if name not in elsewhere}
    return {**dict(zip(elsewhere, words, strict=True)), **here}


def _glance(instances: Instances, name: str, ids: Sequence[str]) -> Mapping[str, str] | None:
    try:
        return instances.get(name).glance(ids)
    except Unavailable:
        return None
    except (EngineError, InvalidInput):
        return {}  # the closer look tells why
