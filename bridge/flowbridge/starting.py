"""Starting executions: written down first, started once, a re-run from the beginning too (X1, O3)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from flowbridge.backend import Backend, Definition
from flowbridge.carry import Progress
from flowbridge.checks import RerunRequest
from flowbridge.deadline import GRACE_SECONDS, left
from flowbridge.errors import (
    EngineRefused,
    FlowbridgeError,
    Interrupted,
    InvalidInput,
    LedgerError,
    NotFound,
    Timeout,
    Unavailable,
)
from flowbridge.instances import Instances
from flowbridge.law.decide import Plan
from flowbridge.law.verbs import Effect
from flowbridge.ledger.executions import Filter
from flowbridge.ledger.ledger import Ledger
from flowbridge.ledger.operations import Operation, State
from flowbridge.localbackend import LocalBackend
from flowbridge.model import EngineState, Record, Ref, Snapshot, Verb
from flowbridge.operate import Check, Operator
from flowbridge.originals import request_above
from flowbridge.outcome import Ask, Outcome, operation_of
from flowbridge.sending import start_request
from flowbridge.targets import Targets

_REFUSALS: Mapping[int, type[FlowbridgeError]] = {kind.exit_code: kind for kind in (InvalidInput, NotFound)}


class _Start(NamedTuple):
    """A start that is to be carried out: its record, what it starts with, and whether both are written down already."""

    record: Record
    request: Mapping[str, Any]
    operation: Operation
    is_written: bool = False


class Starter:
    """Starts executions for one actor."""

    def __init__(self, ledger: Ledger, instances: Instances, targets: Targets, operator: Operator, actor: str) -> None:
        self._ledger = ledger
        self._instances = instances
        self._targets = targets
        self._operator = operator
        self._actor = actor

    def start(
        self, backend: str, request: Mapping[str, Any], reason: str, then: Callable[[Record], object] = lambda _: None
    ) -> Record:
        """Start what a request says, and then do `then` with the new record, which it gives.

        A start that its engine refused leaves no record. Raises `Interrupted` where Ctrl-C came after it was written.
        """
        record = self._record(backend, request)
        try:
            started = self._started(record, request, reason)
            then(started)
        except KeyboardInterrupt:
            if self._may_be_there(record):
                raise Interrupted(record.id) from None
            raise
        return started

    def _started(self, record: Record, request: Mapping[str, Any], reason: str) -> Record:
        ask = Ask(Verb.START, self._actor, reason, options={"workflow": record.workflow})
        if (seconds := left()) is not None:  # who waits for less, hears sooner that the engine does not show it
            ask = replace(ask, timeout=min(ask.timeout, max(0.0, seconds - GRACE_SECONDS)))
        outcome = self._operator.start(record, request, ask)
        self._raise_unless_done(record, outcome)
        return self._ledger.executions.get(record.id)

    def _may_be_there(self, record: Record) -> bool:
        try:
            self._ledger.executions.get(record.id)
        except NotFound:
            return False
        except LedgerError:
            return True
        return True

    def again(self, record: Record, asked: RerunRequest, ask: Ask, check: Check) -> Outcome:
        """Start a run again from the beginning, with the same workflow and input but for what is overridden (X1).

        Gives the outcome of the start, under the new id. What the very same re-run has written down before, and what
        nobody has seen started since, is gone on with: it is not started twice (O3).
        """
        starts: list[_Start] = []
        to_start = replace(ask, verb=Verb.START, expect=None)

        def checked(snapshot: Snapshot, place: int) -> Effect:
            effect = check(snapshot, place)
            new, request = self._anew(record, asked)
            begun = self._begun(record, request)
            if begun is None:
                self._check_start(new, request)
            starts.append(begun or _Start(new, request, operation_of(new, to_start)))
            return effect

        def write() -> None:
            new, request, operation, is_written = starts[-1]
            if not is_written:
                self._operator.write_start(new, request, operation)

        def started(operation: Operation, _progress: Progress, _plan: Plan) -> Outcome:
            outcome = self._operator.carry_written_start(starts[-1].record, starts[-1].operation, to_start)
            self._end_as_started(operation, outcome)
            return outcome

        outcome = self._operator.operate(record.id, ask, checked, write, started)
        self._raise_unless_done(starts[-1].record, outcome)
        return replace(outcome, verb=ask.verb)

    def _begun(self, record: Record, request: Mapping[str, Any]) -> _Start | None:
        """The start of a re-run of an execution, with the same input, that was written down and is still open."""
        for new in self._ledger.executions.list(Filter(unfinished=Verb.START, limit=-1)):
            if new.rerun_of != record.id or new.looked or not self._is_same(new, request):
                continue
            for operation in self._ledger.operations.open(new.tree):
                if operation.verb == Verb.START:
                    return _Start(new, request, operation, is_written=True)
        return None

    def _is_same(self, begun: Record, request: Mapping[str, Any]) -> bool:
        """Whether a start that was written down is with the same input: a secret is sealed otherwise each time."""
        written = self._ledger.executions.request(begun.id)
        return written == request or self._ledger.vault.open(written) == self._ledger.vault.open(request)

    def _end_as_started(self, operation: Operation, start: Outcome) -> None:
        """A re-run from the beginning ends as its start does, in the history of what it was asked for."""
        if self._ledger.operations.get(operation.id).state is not State.OPEN:
            return  # the start took so long that another command has gone on with what it found open
        state, outcome = State.DONE, f"started as {start.execution}"
        if not start.done:
            state, outcome = State.FAILED, f"the start of {start.execution}: {'; '.join(start.not_done.values())}"
        self._ledger.operations.end(operation, state, outcome, time.time())

    def check_again(self, record: Record, asked: RerunRequest, check: Check) -> Check:
        """The check of such a re-run that is only planned: it raises what its start would raise, as far as is known."""

        def checked(snapshot: Snapshot, place: int) -> Effect:
            effect = check(snapshot, place)
            if self._check_start(*self._anew(record, asked)) or not asked.input:
                return effect
            unknown = f"{record.ref.backend} looks at the input only when it is started, and may refuse it then"
            return replace(effect, warnings=(*effect.warnings, unknown))

        return checked

    def _anew(self, record: Record, asked: RerunRequest) -> tuple[Record, dict[str, Any]]:
        """The record of a re-run from the beginning, and what it starts with."""
        request = self._ledger.executions.request(record.id) or self._reconstructed(record)
        request = self._targets.overridden(request, asked.input)
        if not isinstance(self._instances.get(record.ref.backend), LocalBackend):
            # A server keeps its workflows by name: sending the text again would undo a newer one for everybody.
            request = {key: value for key, value in request.items() if key not in ("definition", "source")}
        return self._record(record.ref.backend, request, rerun_of=record.id), request

    def _check_start(self, record: Record, request: Mapping[str, Any]) -> bool:
        """Raise what the engine tells against a start before it is made; gives whether it can tell."""
        backend = self._instances.get(record.ref.backend)
        plain = self._ledger.vault.open(request["input"]) if not backend.opens_sealed else request["input"]
        return backend.check_start(start_request(record.ref.id, {**request, "input": plain}, self._ledger.id))

    def _record(self, backend: str, request: Mapping[str, Any], rerun_of: str = "") -> Record:
        id = str(uuid.uuid4())
        return Record(
            id=id,
            tree=id,
            ref=Ref(backend, id),
            workflow=request["workflow"],
            seen=EngineState.ABSENT,
            rerun_of=rerun_of,
            actor=self._actor,
            created=time.time(),
        )

    def _reconstructed(self, record: Record) -> dict[str, Any]:
        """What an execution that somebody else started was started with, as its engine tells it."""
        backend = self._instances.get(record.ref.backend)
        try:
            read = backend.read(record.ref.id, [])
        except NotFound as error:
            raise NotFound(
                f"{error.message}, and the ledger does not know its input either: start it with `flowbridge run`"
            ) from error
        input = dict(read.input if read.given is None else read.given)
        return {**self._text_and_secrets(record, backend), "workflow": record.workflow, "input": input}

    def _text_and_secrets(self, record: Record, backend: Backend) -> dict[str, Any]:
        """Where the workflow of an execution stands: in a text that came from above, or under a name of a catalog."""
        above = request_above(record, self._ledger)
        kept = {"env": above["env"]} if "env" in above else {}
        if "definition" in above:
            definition = Definition(above["definition"], above["source"])
            if record.workflow in backend.validate(definition).workflows:
                return {**kept, "definition": definition.text, "source": definition.source}
        found = self._targets.catalog(record.workflow) if isinstance(backend, LocalBackend) else None
        return kept if found is None else {**kept, "secret": sorted(found.secret), "text": sorted(found.text)}

    def _raise_unless_done(self, record: Record, outcome: Outcome) -> None:
        if any(one.looked for one in self._ledger.executions.tree(record.tree)):
            if record.id in outcome.not_done:  # it is there, and nobody drives it
                raise Unavailable(outcome.not_done[record.id])
            return  # it was seen; what else was to be done in its tree is left to whoever looks next
        why = "; ".join(outcome.not_done.values()).rstrip(".")
        if outcome.exit_code == Unavailable.exit_code and self._ledger.executions.tree(record.tree):
            written = (
                f"the start is written down: `flowbridge recover {record.id}` finishes it, and starts nothing twice"
            )
            raise Unavailable(f"{why}; {written}")
        if outcome.exit_code == Timeout.exit_code:
            raise Timeout(f"{why}; nothing was started")
        if outcome.exit_code == Unavailable.exit_code:
            raise Unavailable(f"{why}; nothing was started", unsent=True)
        if outcome.not_done:
            raise _REFUSALS.get(outcome.exit_code, EngineRefused)("; ".join(outcome.not_done.values()))
