"""Why a runner died: written down by the runner itself, told wherever its run is shown as abandoned (S6)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from flowbridge.errors import FlowbridgeError
from flowbridge.law.tables import DIED
from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Executions
from flowbridge.ledger.leases import Leases, run_lease
from flowbridge.ledger.operations import Operations
from flowbridge.ledger.rows import Rows
from flowbridge.model import Ref
from flowbridge.plugins import one_line
from flowbridge.vault import SEALED, SHOWN, Vault, is_sealed

#: The kind of such a line of the history.
KIND = "runner_died"

_LONGEST = 300


def write_down(database: Database, vault: Vault, root: Ref, error: Exception) -> None:
    """Say in the history that the runner of a run, this process, dies of an error. Does nothing where that fails."""
    with suppress(Exception):
        record = Executions(database).current(root)
        if record is not None:
            doc = {"runner": f"died: {_told(database, vault, root, error)}", "process": os.getpid()}
            Operations(database).note(record.tree, record.id, KIND, "runner", time.time(), doc)


def why(database: Database, root: Ref) -> str:
    """What the last runner of a run died of, in words; "" where it was killed, and so said nothing."""
    record, last = Executions(database).current(root), Leases(database).last(run_lease(root))
    entry = Operations(database).latest(record.tree, record.id, KIND) if record is not None else None
    # A later runner has another lease: what an earlier one died of is no reason for its end.
    if entry is None or last is None or entry.doc.get("process") != last.pid:
        return ""
    reason = str(entry.doc["runner"]).removeprefix("died: ")
    return f"{DIED}: {reason}; runners.log beside the ledger has more"


def _told(database: Database, vault: Vault, root: Ref, error: Exception) -> str:
    """An error in one line, with nothing in it that is sealed in the run."""
    kind = type(error).__name__
    try:
        text = error.message if isinstance(error, FlowbridgeError) else one_line(error)
        for secret in sorted(_secrets(database, vault, root), key=len, reverse=True):
            text = text.replace(secret, SHOWN)
    except Exception:  # noqa: BLE001  an error without a text, or a key that is gone: its kind says something too
        return kind
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _secrets(database: Database, vault: Vault, root: Ref) -> set[str]:
    rows = Rows(database).load(str(root)).values()
    opened = (vault.open(value) for row in rows if SEALED in row for value in _sealed(json.loads(row)))
    return {text for value in opened for text in _texts(value) if text}


def _sealed(value: Any) -> Iterator[Any]:
    if is_sealed(value):
        yield value
    else:
        for one in _parts(value):
            yield from _sealed(one)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        for one in _parts(value):
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
