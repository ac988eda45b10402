"""What is known of a verb whose ledger could not be written. Nothing is claimed that was not looked up (O3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flowbridge.errors import DamagedRow, LedgerError
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State


@contextmanager
def telling_what_is_known(ledger: Ledger, operation: Operation) -> Iterator[None]:
    """Around a verb: a `LedgerError` that leaves it also says whether the verb stands in the ledger.

    A row that is damaged is left as it is, whatever verb met it: its error names it and says enough.
    """
    try:
        yield
    except DamagedRow:
        raise
    except LedgerError as error:
        known = _known(ledger, operation, unsure=error.unsure)
        raise LedgerError(f"{error.message}; {known}", unsure=error.unsure) from error


def _known(ledger: Ledger, operation: Operation, *, unsure: bool) -> str:
    verb, recover = operation.verb, f"`flowbridge recover {operation.target}`"
    try:
        written = ledger.operations.known(operation.id)
    except LedgerError:
        written, unsure = None, True
    if written is None and unsure and ledger.operations.was_tried(operation.id):
        return (
            f"whether the {verb} is written down is not known: once the ledger is well, {recover} finishes it or says "
            f"that there is none"
        )
    if written is None or written.state is State.REJECTED:
        return f"the {verb} was not begun"
    if written.state is State.OPEN:
        return f"the {verb} is written down: once the ledger is well, {recover} finishes it"
    return f"the {verb} is written down, and ended: {written.outcome}"
