"""The text that an execution runs, as whoever started it gave it: never what was made of it for its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowbridge.backend import Backend, Definition
from flowbridge.errors import InvalidInput, NotFound
from flowbridge.instances import Instances
from flowbridge.ledger.ledger import Ledger
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Record


def original(record: Record, ledger: Ledger, instances: Instances) -> Definition:
    """The text an execution was started from; of one that came without a text, what its engine has.

    A sub-workflow on a server may stand in the text of the execution above it. Raises `NotFound` where nobody keeps a
    text.
    """
    request = ledger.executions.request(record.id)
    if request is not None and "definition" in request:
        return Definition(request["definition"], request["source"])
    backend = instances.get(record.ref.backend)
    found = None if request is not None or isinstance(backend, LocalBackend) else _above(record, ledger, backend)
    found = found or backend.definition(record.ref.id, record.workflow)
    if found is None:
        raise NotFound(f"{record.ref.backend} keeps no definition of {record.workflow or record.id}")
    return found


def request_above(record: Record, ledger: Ledger) -> Mapping[str, Any]:
    """What the nearest execution above, on the same engine, was started with; nothing where nobody knows that."""
    by_ref = {one.ref: one for one in ledger.executions.tree(record.tree)}
    above = by_ref.get(record.parent) if record.parent else None
    while above is not None and above.ref.backend == record.ref.backend:
        request = ledger.executions.request(above.id)
        if request is not None:
            return request
        above = by_ref.get(above.parent) if above.parent else None
    return {}


def _above(record: Record, ledger: Ledger, backend: Backend) -> Definition | None:
    above = request_above(record, ledger)
    if "definition" not in above:
        return None
    definition = Definition(above["definition"], above["source"])
    try:
        return definition if record.workflow in backend.validate(definition).workflows else None
    except InvalidInput:  # what it names may have changed since
        return None
