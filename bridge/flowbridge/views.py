"""Executions as plain data: what `-o json` prints. The shapes are documented and only grow. `treeviews` has trees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flowbridge.law.tables import ACTIVE, TERMINAL, possible
from flowbridge.model import Record, Trouble, Want


def moment(seconds: float) -> str | None:
    """A time as ISO 8601 in UTC, to the millisecond; None where there is none."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def execution_view(record: Record, parent_id: str | None = None) -> dict[str, Any]:
    """One record. `parent_id` is its parent's current record, which only a tree or a ledger knows."""
    held = record.want is Want.HOLD and record.status not in TERMINAL  # what has ended is held no more
    return {
        "id": record.id,
        "status": str(record.status),
        "workflow": record.workflow,
        "backend": record.ref.backend,
        "engine_id": record.ref.id,
        "engine_state": record.raw,
        "held": held,
        "held_by": (record.held_by or None) if held else None,
        "gone": record.gone,
        "hung": record.hung or None,
        "parent_id": parent_id,
        "item": record.item,
        "rerun_of": record.rerun_of or None,
        "superseded_by": record.superseded_by or None,
        "error": record.error or None,
        "trouble": trouble_view(record.trouble),
        "actor": record.actor,
        "created_at": moment(record.created),
        "observed_at": moment(record.looked),
        "possible": _possible(record),
    }


def trouble_view(trouble: Trouble | None) -> dict[str, Any] | None:
    """A call that is due for an execution and fails."""
    if trouble is None:
        return None
    return {"call": trouble.call, "reason": trouble.why, "since": moment(trouble.since), "tries": trouble.tries}


def _possible(record: Record) -> list[str]:
    if record.superseded_by:
        return []
    if record.gone:
        return ["re-run"]
    return [*possible(record.status), *(["recover"] if record.hung and record.status in ACTIVE else [])]
