"""Starting executions: written down first, started once, a re-run from the beginning too (X1, O3)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from flowbridge.checks import RerunRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, InvalidInput, NotFound, Unavailable
from flowbridge.instances import Instances
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import EngineState, Record, Ref, Verb
from flowbridge.operate import Ask, Operator

_REFUSALS: Mapping[int, type[FlowbridgeError]] = {kind.exit_code: kind for kind in (InvalidInput, NotFound)}


class Starter:
    """Starts executions for one actor."""

    def __init__(self, ledger: Ledger, instances: Instances, operator: Operator, actor: str) -> None:
        self._ledger = ledger
        self._instances = instances
        self._operator = operator
        self._actor = actor

    def start(self, backend: str, request: Mapping[str, Any], reason: str, rerun_of: str = "") -> Record:
        """Start what a request says; gives the new record. A start that its engine refused leaves no record."""
        id = str(uuid.uuid4())
        record = Record(
            id=id,
            tree=id,
            ref=Ref(backend, id),
            workflow=request["workflow"],
            seen=EngineState.ABSENT,
            rerun_of=rerun_of,
            actor=self._actor,
            created=time.time(),
        )
        ask = Ask(Verb.START, self._actor, reason, options={"workflow": request["workflow"]})
        outcome = self._operator.start(record, request, ask)
        if outcome.exit_code == Unavailable.exit_code:
            why = "; ".join(outcome.not_done.values())
            raise Unavailable(f"{why}; whether it was started is not known: `flowbridge recover {id}` finishes it")
        if outcome.not_done:
            raise _REFUSALS.get(outcome.exit_code, EngineRefused)("; ".join(outcome.not_done.values()))
        return self._ledger.executions.get(id)

    def again(self, record: Record, request: RerunRequest, reason: str) -> Record:
        """Start a run again from the beginning, with the same workflow and input but for what is overridden (X1)."""
        started = self._ledger.executions.request(record.id) or self._reconstructed(record)
        started["input"] = {**started.get("input", {}), **request.input}
        return self.start(record.ref.backend, started, reason, rerun_of=record.id)

    def _reconstructed(self, record: Record) -> dict[str, Any]:
        """What an execution that somebody else started was started with, as its engine tells it."""
        root = next((one for one in self._ledger.executions.tree(record.tree) if one.parent is None), record)
        above = self._ledger.executions.request(root.id) or {}
        read = self._instances.get(record.ref.backend).read(record.ref.id, [])
        kept: dict[str, Any] = {key: above[key] for key in ("definition", "source", "env") if key in above}
        return {**kept, "workflow": record.workflow, "input": dict(read.input)}
