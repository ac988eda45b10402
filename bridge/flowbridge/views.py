"""Executions as plain data: what `-o json` prints. The shapes are documented and only grow. `treeviews` has trees."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowbridge.law.tables import ACTIVE, TERMINAL, possible
from flowbridge.model import Node, Record, Trouble, Want

if TYPE_CHECKING:
    from flowbridge.ledger.executions import Executions


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


def without_recover(possible: list[str], node: Node) -> list[str]:
    """What is possible for a node, without the `recover` that would not end what hangs there."""
    return [verb for verb in possible if node.endable or not node.hung or verb != "recover"]


def take_back_endings(found: Iterable[tuple[Record, dict[str, Any]]], executions: Executions) -> None:
    """Take from what is possible, in views of single records, each `recover` that would not end what hangs, by its
    tasks as they were last seen."""
    hung = [(record, view) for record, view in found if record.hung]
    looks = executions.looks([record.id for record, _ in hung]) if hung else {}
    for record, view in hung:
        tasks, _ = looks.get(record.id, ((), ()))
        view["possible"] = without_recover(
            view["possible"], Node(record, -1, record.seen, tasks=tasks, hung=record.hung)
        )


def take_back_lost(views: Iterable[dict[str, Any]], executions: Executions) -> None:
    """Take the re-run from what is possible for what is gone, and was started by somebody else: its input went with it,
    for it was never written down (S7)."""
    gone = [view for view in views if view["gone"]]
    known = executions.with_request([view["id"] for view in gone]) if gone else frozenset[str]()
    for view in gone:
        view["possible"] = view["possible"] if view["id"] in known else []


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
