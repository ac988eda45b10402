"""Making the calls of steps: at most a few in flight, and none before those above it have been made.

What a call needs of the ledger is read before it, and what came of it is written after it, by the thread that has the
ledger; between the two only engines are spoken to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, Self

from flowbridge.backend import Backend, Definition, StartRequest
from flowbridge.calls import at_once
from flowbridge.errors import EngineRefused, FlowbridgeError, InvalidInput, NotFound, Unavailable
from flowbridge.instances import Instances
from flowbridge.law.decide import Action, Step
from flowbridge.ledger.ledger import Ledger
from flowbridge.links import refused
from flowbridge.model import EngineState, Record, Snapshot, Status, TaskStatus

#: How many calls are made before whoever sends them looks after its lease again.
_CHUNK = 64

#: How long, at most, a call that was taken is not made again.
_REMEMBERED_SECONDS = 30.0

#: What an engine says that will not change by asking again.
REFUSALS = (EngineRefused, NotFound, InvalidInput)

Error = FlowbridgeError | None

#: What was deployed, by instance, with what came of it.
_Deployed = dict[tuple[str, Definition], Error]


class Sent(set[tuple[str, str]]):
    """The calls, by record and action, that whoever goes on looking made and that were taken, from pass to pass.

    Such a one is not made at each look while the engine has yet to show it. It is once more after a while: what an
    engine took and lost (it was put back to an older state, say) would otherwise be waited for as long as this process
    lives. None of these calls does anything a second time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._until = 0.0

    def lately(self) -> Self:
        """Itself; emptied every so often, so that what it holds was made lately."""
        if (now := time.monotonic()) >= self._until:
            self._until = now + _REMEMBERED_SECONDS
            self.clear()
        return self


class _Call(NamedTuple):
    """A call, whether others may be made meanwhile, and whether it is a local run's. `start` is, where the call starts
    something, the record of that as it was before."""

    make: Callable[[], object]
    together: bool
    local: bool
    start: Record | None = None


class Sender:
    """Sends the steps of one ledger's trees."""

    def __init__(self, ledger: Ledger, instances: Instances) -> None:
        self._ledger = ledger
        self._instances = instances

    def send(self, steps: Sequence[Step], snapshot: Snapshot) -> Iterator[tuple[Step, Error]]:
        """Send steps in their order, those of one depth of the tree together; gives what each call raised, or None.

        The caller may stop in between: nothing is sent before it is asked for.
        """
        depths = _depths(snapshot)
        for _, level in groupby(steps, lambda step: depths.get(step.record, 0)):
            waiting = list(level)
            for begin in range(0, len(waiting), _CHUNK):
                chunk = waiting[begin : begin + _CHUNK]
                yield from zip(chunk, self._send(chunk), strict=True)

    def _send(self, steps: Sequence[Step]) -> list[Error]:
        errors: list[Error] = [None] * len(steps)
        alone: list[tuple[int, _Call]] = []
        together: list[tuple[int, _Call]] = []
        deployed: _Deployed = {}
        for place, step in enumerate(steps):
            try:
                call = self._call(step, deployed)
            except FlowbridgeError as error:
                # What was never written down is not there later either. Any other trouble here is one of our own.
                is_lost = isinstance(error, EngineRefused) and step.action is Action.START
                record = self._ledger.executions.get(step.record) if is_lost else None
                errors[place] = self._not_started(record, error) if record else error
                continue
            (together if call.together else alone).append((place, call))
        self._announce([call.start for _, call in (*alone, *together) if call.start and not call.local])
        with self._instances.patience.announced([call.make for _, call in alone if call.local]):
            for place, call in alone:
                errors[place] = self._finished(call, _error(call.make))
        answers = at_once([partial(_error, call.make) for _, call in together])
        for (place, call), answer in zip(together, answers, strict=True):
            errors[place] = self._finished(call, answer)
        return errors

    def _announce(self, records: Sequence[Record]) -> None:
        """Write down that starts are about to be sent: who is killed meanwhile leaves some behind that may arrive,
        whatever is wanted by then (O3)."""
        if records:
            with self._ledger.transaction():
                self._ledger.executions.put(replace(record, asked=True) for record in records)

    def _finished(self, call: _Call, error: Error) -> Error:
        if call.start is None:
            return error
        if error is not None:
            return self._not_started(call.start, error)
        # What says yes may be slow to show it: only a look tells that it is there, but for what runs here.
        self._ledger.executions.put([replace(call.start, seen=EngineState.REQUESTED, asked=not call.local)])
        return None

    def _not_started(self, record: Record, error: FlowbridgeError) -> Error:
        """What is kept of a start that was not answered, or was with a no. `record` is as it was before the call.

        A linked child whose start is refused has errored. Nobody waits at a terminal: its task is told by a report. One
        whose start may have been taken earlier is not called refused for what is said of a later one.
        """
        if isinstance(error, Unavailable) and not error.unsent:
            return error  # it may have been taken, as was written down before
        if isinstance(error, REFUSALS) and record.key and not record.asked:
            self._ledger.executions.put([refused(record, error.message)])
            return None
        self._ledger.executions.put([record])
        return error

    def _call(self, step: Step, deployed: _Deployed) -> _Call:
        if step.action is Action.REPORT:
            return self._report(step)
        backend = self._instances.get(step.ref.backend)
        if step.action is Action.START:
            return self._start(backend, step, deployed)
        return _Call(lambda: _make(backend, step), backend.concurrent, self._instances.is_local(backend.name))

    def _start(self, backend: Backend, step: Step, deployed: _Deployed) -> _Call:
        """Start an execution. Children go beside one another, once what they are started from is deployed."""
        record = self._ledger.executions.get(step.record)
        request = self._request(backend, step)
        together = backend.concurrent and bool(record.key)
        make: Callable[[], object] = partial(backend.start, request)
        if together and request.definition is not None:
            key = backend.name, request.definition
            if key not in deployed:
                deployed[key] = _error(partial(backend.deploy, request.definition))
            make = partial(_start_deployed, backend, request, deployed[key])
        local = self._instances.is_local(backend.name)
        return _Call(make, together, local, record)

    def _request(self, backend: Backend, step: Step) -> StartRequest:
        request = self._ledger.executions.request(step.record)
        if request is None:
            raise EngineRefused(f"{step.ref}: what it was to be started with is not in the ledger")
        if not backend.opens_sealed:
            request["input"] = self._ledger.vault.open(request.get("input", {}))
        return start_request(step.ref.id, request, self._ledger.id)

    def _report(self, step: Step) -> _Call:
        """Tell the parent's engine how a child ended. Told twice, it changes nothing."""
        child = self._ledger.executions.get(step.record)
        parent = child.parent
        if parent is None:
            raise EngineRefused(f"{child.ref} has no parent to be told")
        engine, host = self._instances.get(child.ref.backend), self._instances.get(parent.backend)
        tell = partial(host.report, parent.id, child.key, _ended_as(child))
        if engine.concurrent and host.concurrent:
            return _Call(lambda: tell(_result(engine, child)), together=True, local=False)
        result = _result(engine, child)  # read here, one after the other
        return _Call(lambda: tell(result), host.concurrent, self._instances.is_local(host.name))


def start_request(id: str, request: Mapping[str, Any], owner: str = "") -> StartRequest:
    """A start as it was written down, by the ledger `owner`."""
    definition = request.get("definition")
    return StartRequest(
        id=id,
        workflow=request["workflow"],
        input=request.get("input", {}),
        env=request.get("env", {}),
        definition=Definition(definition, request.get("source", "definition")) if definition is not None else None,
        task_name=request.get("task_name", ""),
        owner=owner,
    )


def _start_deployed(backend: Backend, request: StartRequest, error: Error) -> None:
    """Start what was deployed before. Where that failed, no start was sent."""
    if isinstance(error, Unavailable):
        raise Unavailable(error.message, unsent=True) from error
    if error is not None:
        raise error
    backend.start(request._replace(definition=None))


def _make(backend: Backend, step: Step) -> None:
    id = step.ref.id
    if step.action is Action.PAUSE:
        backend.pause(id)
    elif step.action is Action.CANCEL:
        backend.cancel(id)
    elif step.action is Action.RESUME:
        backend.resume(id, step.revision)
    elif step.action is Action.RERUN:
        backend.rerun(id, step.tasks)
    elif step.action is Action.SKIP:
        backend.skip(id, [task.task for task in step.tasks])


def _error(make: Callable[[], object]) -> Error:
    try:
        make()
    except FlowbridgeError as error:
        return error
    return None


def _ended_as(child: Record) -> TaskStatus:
    """How a task ends whose child has ended so."""
    if child.taken_back:
        return TaskStatus.CANCELED
    return TaskStatus.ERRORED if child.gone else TaskStatus(child.status)


def _result(engine: Backend, child: Record) -> Any:
    """What the parent's task is given for a result: the output, or what went wrong and where to look."""
    told = {"execution": child.id, "workflow": child.workflow, "status": str(child.status)}
    if child.gone:
        return {**told, "error": f"{child.ref.backend} no longer has this execution, so its result is lost (S7)"}
    if child.taken_back:
        return {**told, "status": str(Status.CANCELED), "error": "a cancel took its re-run back"}
    if child.status is Status.SUCCEEDED:
        return engine.read(child.ref.id, []).output
    return {**told, "error": child.error or f"the execution was {child.status}"}


def _depths(snapshot: Snapshot) -> dict[str, int]:
    depths: list[int] = []
    for node in snapshot.nodes:
        depths.append(depths[node.parent] + 1 if node.parent >= 0 else 0)
    return {node.record.id: depth for node, depth in zip(snapshot.nodes, depths, strict=True)}
