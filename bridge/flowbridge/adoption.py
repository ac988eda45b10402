"""Taking in executions that somebody else started."""

from __future__ import annotations

import time
import uuid

from flowbridge.errors import InvalidInput, NotFound
from flowbridge.instances import Instances
from flowbridge.law.fold import birth_want
from flowbridge.ledger.ledger import Ledger
from flowbridge.model import ExecutionLook, Record, Ref
from flowbridge.operate import Operator
from flowbridge.tending import Tender


class Adoption:
    """Gives executions that an engine has, and the ledger does not know, their records."""

    def __init__(self, ledger: Ledger, instances: Instances, operator: Operator, tender: Tender, actor: str) -> None:
        self._ledger = ledger
        self._instances = instances
        self._operator = operator
        self._tender = tender
        self._actor = actor

    def adopt(self, ref: Ref) -> Record:
        """The record of an execution, made with those of its whole native tree where there is none.

        Raises `NotFound` where the engine has no such execution, `InvalidInput` where none is named.
        """
        if not ref.id:
            raise InvalidInput(f"'{ref.backend}:' names no execution of {ref.backend}; write {ref.backend}:ENGINE-ID")
        known = self._ledger.executions.current(ref)
        if known is not None:
            return known
        looks = next(iter(self._instances.get(ref.backend).observe([ref.id]).values()), ())
        if not looks:
            raise NotFound(f"{ref.backend} has no execution {ref.id}")
        record = self._taken_in(looks[0])
        if looks[0].ref == ref:
            self._tender.tend(record.tree, set())
        else:
            # A child must be in the ledger before it is named: to take its root instead would widen a verb (O10).
            self._operator.refresh(record.tree, self._actor)
        adopted = self._ledger.executions.current(ref)
        if adopted is None:
            raise NotFound(f"{ref.backend} did not show execution {ref.id} a second time; try again")
        return adopted

    def _taken_in(self, root: ExecutionLook) -> Record:
        """The record of a root, made where there is none: one, whoever asks at the same time."""
        with self._ledger.transaction():
            known = self._ledger.executions.current(root.ref)
            if known is not None:
                return known
            record = Record(
                id=str(uuid.uuid4()),
                tree=str(uuid.uuid4()),
                ref=root.ref,
                workflow=root.workflow,
                want=birth_want(None),
                actor=self._actor,
                created=time.time(),
            )
            self._ledger.executions.put([record])
        return record
