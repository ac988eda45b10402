"""The harness as the rules use it: start shapes, release gates, carry out verbs, wait for what must become true."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import pytest

from flowbridge.backend import Definition
from flowbridge.capabilities import Capabilities, Cascade, PartialRerun, ResumeUp
from flowbridge.checks import RerunRequest
from flowbridge.conformance.harness import Harness
from flowbridge.conformance.shapes import Shape
from flowbridge.errors import FlowbridgeError, NotFound, Rejected, Unsupported
from flowbridge.looks import Look
from flowbridge.model import EngineState, ExecutionLook, Record, Ref, Status, TaskLook, TaskStatus, Verb, WaitingChild
from flowbridge.outcome import Outcome

_Found = TypeVar("_Found")
_FIRST_POLL, _LONGEST_POLL = 0.002, 0.05

#: How a reason begins that takes nothing from a rule.
NOT_ASKED = "does not apply: "

#: What an engine does that makes the bridge refuse, by the fact that says so.
_WHY: Mapping[str, str] = {
    ResumeUp.LAST_PAUSED: "the engine resumes the parent too where nothing else under it is paused",
    ResumeUp.ALWAYS: "the engine resumes the parent too",
    PartialRerun.NO: "the engine runs items again that had succeeded",
    PartialRerun.LAST_FAILED: "the engine runs items again that had succeeded, unless the last one failed or they run "
    "one at a time",
}


@dataclass(slots=True)
class Notes:
    """What one test saw of how its rule is kept.

    `calls` is the most calls that one verb took; `why` says what was refused, and what the engine does all the same.
    """

    calls: int = 0
    why: list[str] = field(default_factory=list)


class Lab:
    """One test's view of the harness."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.bridge = harness.bridge
        self.facts: Capabilities = harness.facts
        self.started: list[str] = []
        self.notes = Notes()

    # Starting

    def start(self, shape: Shape, **input: Any) -> str:
        """Start a shape and wait until it runs; gives the record's id."""
        record = self.begin(shape, **input)
        self.reaches(record.id, Status.RUNNING)
        return record.id

    def begin(self, shape: Shape, **input: Any) -> Record:
        """Start a shape and wait for nothing."""
        definition, instance = self.definition(shape), self.harness.instance
        record = self.bridge.run(definition, input, backend=instance, timeout=self.harness.patience)
        self.started.append(record.id)
        return record

    def definition(self, shape: Shape) -> Definition | str:
        """A shape as the harness says it; where it cannot, the rule is not possible."""
        try:
            return self.harness.definition(shape)
        except Unsupported as error:
            not_possible(error.message)

    def needs(self, *verbs: Verb) -> None:
        """Where the engine lacks one of the verbs, the rule is not possible."""
        for verb in verbs:
            if verb not in self.facts.verbs:
                not_possible(f"the engine has no {verb}")

    # Verbs

    def pause(self, id: str, **how: Any) -> Outcome:
        """Pause, as `Bridge.pause`."""
        return self._do(Verb.PAUSE, id, **how)

    def pause_settled(self, id: str, *children: str, gate: str = "c") -> Look:
        """Pause a tree whose children each run one gate, and let it settle; gives a look at it then."""
        for child in children:
            self.gate(child, gate)
        self.pause(id)
        for child in children:
            self.release(child, gate)
        for child in children:
            self.reaches(child, Status.PAUSED)
        return self.reaches(id, Status.PAUSED)

    def resume(self, id: str, **how: Any) -> Outcome:
        """Resume, as `Bridge.resume`."""
        return self._do(Verb.RESUME, id, **how)

    def resume_alone(self, id: str) -> Outcome:
        """Resume a branch whose peers are paused; where the engine always goes up, that is not possible (R4)."""
        if self.facts.resume_up is ResumeUp.ALWAYS:
            self.refused(lambda: self.resume(id), "R4")
            not_possible(_WHY[ResumeUp.ALWAYS])
        return self.resume(id)

    def cancel(self, id: str, **how: Any) -> Outcome:
        """Cancel, as `Bridge.cancel`."""
        return self._do(Verb.CANCEL, id, **how)

    def rerun(self, id: str, request: RerunRequest | None = None, **how: Any) -> Outcome:
        """Re-run, as `Bridge.rerun`."""
        outcome = self._do(Verb.RERUN, id, request=request, **how)
        self.started.append(outcome.execution)
        return outcome

    def skip(self, id: str, *tasks: str, **how: Any) -> Outcome:
        """Skip, as `Bridge.skip`."""
        return self._do(Verb.SKIP, id, request=RerunRequest(tasks), **how)

    def _do(self, verb: Verb, id: str, **how: Any) -> Outcome:
        """Carry out a verb. Where the engine has no such verb the rule is not possible there.

        That an engine has a verb which it does not declare is found by a rule of its own (O10).
        """
        how.setdefault("timeout", self.harness.patience)
        try:
            outcome = self.bridge.operate(verb, id, **how)
        except Unsupported as error:
            if verb not in self.facts.verbs:
                not_possible(f"the engine has no {verb}")
            if Cascade.RERUN_UP not in self.facts.cascades and "(X8)" in error.message:
                not_possible("the engine does not re-open what stands above")
            raise
        except Rejected as error:
            if error.accept is not None:
                self.notes.why.append(_refusal(error.accept, self.facts))
            raise
        self.notes.calls = max(self.notes.calls, sum(line.by == "bridge" for line in outcome.plan.lines))
        return outcome

    def refused(self, act: Callable[[], object], rule: str) -> Rejected:
        """The rejection by a rule. Fails where the verb goes through, or another rule rejects it."""
        try:
            act()
        except Rejected as error:
            assert error.rule == rule, f"rejected by {error.rule}, not by {rule}: {error.message}"
            return error
        raise AssertionError(f"went through, and {rule} should have rejected it")

    # Waiting and looking

    def until(self, found: Callable[[], _Found | None], what: str | Callable[[], str]) -> _Found:
        """The first true answer. Fails, naming what was waited for, when the harness's patience is over."""
        deadline = time.monotonic() + self.harness.patience
        wait = _FIRST_POLL
        while not (answer := found()):
            if time.monotonic() > deadline:
                told = what if isinstance(what, str) else what()
                raise AssertionError(f"not within {self.harness.patience:g} s: {told}")
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_POLL)
        return answer

    def look(self, id: str) -> Look:
        """A fresh look."""
        return self.bridge.get(id)

    def status(self, id: str) -> Status:
        """A fresh status."""
        return self.look(id).record.status

    def reaches(self, id: str, *statuses: Status) -> Look:
        """Wait for one of some statuses."""
        return self.until(
            lambda: look if (look := self.look(id)).record.status in statuses else None,
            lambda: f"{id} to be {' or '.join(statuses)}, not {self._shown(id)}",
        )

    def _shown(self, id: str) -> str:
        """A status, and why it cannot be told where it cannot."""
        look = self.look(id)
        return ": ".join((look.record.status, *look.silent.values()))

    def child(self, id: str, *path: str) -> Record:
        """The record of a descendant, by the tasks on the way to it: `left`, or `t[2]` for an item. Waits for it."""
        return self.until(lambda: self._written(_child(self.look(id), path)), f"a child {'.'.join(path)} of {id}")

    def _written(self, record: Record | None) -> Record | None:
        """A record that others find too: a look that another one overtook is shown, and not written down."""
        if record is not None:
            with suppress(NotFound):
                self.bridge.find(record.id)
                return record
        return None

    def children(self, id: str) -> dict[str, Record]:
        """Every record below, by its own id."""
        look = self.look(id)
        return {node.record.id: node.record for node in look.snapshot.nodes if node.record.id != look.record.id}

    def task(self, id: str, name: str) -> TaskLook | None:
        """A task of an execution as it stands, None where it is not there."""
        look = self.look(id)
        tasks = [task for task in look.snapshot.nodes[look.place].tasks if task.name == name]
        return tasks[-1] if tasks else None

    def starts(self, id: str) -> dict[str, int]:
        """How often each task has begun."""
        look = self.look(id)
        return {task.name: task.starts for task in look.snapshot.nodes[look.place].tasks}

    def result(self, id: str, task: str) -> Any:
        """What the engine keeps as the result of a task."""
        return next(read.result for read in self.bridge.read(id).tasks if read.name == task)

    def fingerprint(self, id: str) -> Mapping[str, object]:
        """What must be the same before and after a rejection: every execution's state and every task's."""
        snapshot = self.look(id).snapshot
        return {
            node.record.id: (
                node.state,
                node.record.status,
                [(task.id, task.status, task.starts) for task in node.tasks],
            )
            for node in snapshot.nodes
        }

    # Gates

    def gate(self, id: str, task: str, item: int | None = None) -> WaitingChild:
        """A gate that waits. Waits for it to come up."""
        return self.until(lambda: self.gate_now(id, task, item), f"the gate {task} of {id}")

    def gate_now(self, id: str, task: str, item: int | None = None) -> WaitingChild | None:
        """A gate where it waits now."""
        own = self.own(id)
        if own is None:
            return None
        ids = {one.id for one in own.tasks if one.name == task}
        for gate in self.harness.gates(own):
            if gate.task in ids and item in (None, gate.item):
                return gate
        return None

    def release(self, id: str, task: str, *, ok: bool = True, item: int | None = None, result: Any = None) -> None:
        """Release a gate with an outcome and wait until the engine has taken it."""
        gate = self.gate(id, task, item)
        status = TaskStatus.SUCCEEDED if ok else TaskStatus.ERRORED
        self.harness.open(self.ref(id), gate, status, {"of": task} if result is None else result)
        self.until(lambda: self._closed(id, gate.key), f"the gate {task} of {id} to be taken")

    def release_to_the_end(self, id: str, task: str) -> Look:
        """Release a gate, however often the engine puts it up, until the execution has succeeded.

        For the tail of a test that is about something else: an engine may start a task twice when a resume meets a
        late word from a child that had ended under the hold, a race that cannot be closed from outside.
        """

        def over() -> Look | None:
            gate = self.gate_now(id, task)
            if gate is not None:
                self.harness.open(self.ref(id), gate, TaskStatus.SUCCEEDED, {"of": task})
            look = self.look(id)
            return look if look.record.status is Status.SUCCEEDED else None

        return self.until(over, f"{id} to be succeeded")

    def _closed(self, id: str, key: str) -> bool:
        own = self.own(id)
        return own is not None and all(gate.key != key for gate in self.harness.gates(own))

    # The engine without the bridge

    def ref(self, id: str) -> Ref:
        """Where a record's execution is."""
        return self.bridge.find(id).ref

    def own(self, id: str) -> ExecutionLook | None:
        """An execution as its backend shows it, before the law judges it."""
        ref = self.ref(id)
        looks = next(iter(self.bridge.instances.get(ref.backend).observe([ref.id]).values()), ())
        return next((look for look in looks if look.ref == ref), None)

    def state(self, id: str) -> EngineState | None:
        """The engine's own state of an execution, None where it is not there."""
        own = self.own(id)
        return own.state if own else None

    def engine_reaches(self, id: str, state: EngineState) -> None:
        """Wait for a state of the engine's own."""
        self.until(
            lambda: self.state(id) is state, lambda: f"the engine to show {id} {state}, not {self.state(id) or 'gone'}"
        )

    def noticed(self, id: str, kind: str) -> None:
        """Wait until the history tells what somebody else did at the engine: another look may be at writing it."""
        self.until(
            lambda: any(one.kind == kind and one.actor == "engine" for one in self.bridge.history(id)),
            lambda: f"{kind} by the engine in the history of {id}, not {[one.kind for one in self.bridge.history(id)]}",
        )

    def meanwhile(self, shape: Shape) -> None:
        """Have the engine start other work, so that whatever it had still to do for an execution is done too."""
        other = self.start(shape)
        self.gate(other, shape.flows[0].steps[0].name)

    def finish(self) -> None:
        """Cancel what a test left running, so that the next one is not disturbed."""
        for id in self.started:
            try:
                self.bridge.cancel(id, timeout=self.harness.patience)
            except FlowbridgeError:
                continue


def not_possible(reason: str) -> NoReturn:
    """The rule asks for what this engine does not have."""
    pytest.skip(reason)


def not_asked(reason: str) -> NoReturn:
    """The test is about what another kind of engine does: nothing is missing here."""
    pytest.skip(f"{NOT_ASKED}{reason}")


def _refusal(rule: str, facts: Capabilities) -> str:
    fact: str = facts.resume_up if rule == "R4" else facts.partial_rerun
    return f"refused without --accept {rule}: {_WHY.get(fact, fact)}"


def _child(look: Look, path: tuple[str, ...]) -> Record | None:
    place = look.place
    for word in path:
        name, _, rest = word.partition("[")
        item = int(rest[:-1]) if rest else None
        tasks = {task.id for task in look.snapshot.nodes[place].tasks if task.name == name}
        below = [
            at
            for at, node in enumerate(look.snapshot.nodes)
            if node.parent == place and node.record.parent_task in tasks and item in (None, node.record.item)
        ]
        if not below:
            return None
        place = below[-1]
    return look.snapshot.nodes[place].record
