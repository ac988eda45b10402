"""What a backend's author writes, and what the rules do with it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flowbridge.backend import Backend, Definition
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Capabilities
from flowbridge.conformance.shapes import Shape
from flowbridge.errors import Rejected
from flowbridge.looks import Look
from flowbridge.model import ExecutionLook, Record, Ref, Status, TaskLook, TaskStatus, WaitingChild

_Found = TypeVar("_Found")
_PAUSE_SECONDS = 0.02


class Harness(ABC):
    """A backend under test: a bridge that knows it, and its shapes in its own language.

    `patience` is how many seconds the engine may take for anything.
    """

    patience: float = 20.0

    def __init__(self, bridge: Bridge, instance: str) -> None:
        self.bridge = bridge
        self.instance = instance

    @abstractmethod
    def definition(self, shape: Shape) -> Definition | str:
        """A shape as `Bridge.run` takes it: a definition, or the name of a workflow that is deployed already."""

    @property
    def backend(self) -> Backend:
        """The backend under test."""
        return self.bridge.instances.get(self.instance)

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        """The gates of one execution that wait now. An engine that hosts no children overrides this and `open`."""
        return look.waiting

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        """Release one gate with an outcome."""
        self.backend.report(ref.id, gate.key, status, result)


class Lab:
    """The harness as the rules use it: start shapes, release gates, wait for what must become true."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.bridge = harness.bridge
        self.facts: Capabilities = harness.backend.capabilities
        self.started: list[str] = []

    def start(self, shape: Shape, **input: Any) -> str:
        """Start a shape and wait until it runs; gives the record's id."""
        record = self.begin(shape, **input)
        self.reaches(record.id, Status.RUNNING)
        return record.id

    def begin(self, shape: Shape, **input: Any) -> Record:
        """Start a shape and wait for nothing."""
        record = self.bridge.run(self.harness.definition(shape), input, backend=self.harness.instance)
        self.started.append(record.id)
        return record

    def until(self, found: Callable[[], _Found | None], what: str) -> _Found:
        """The first true answer. Fails, naming what was waited for, when the harness's patience is over."""
        deadline = time.monotonic() + self.harness.patience
        while not (answer := found()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {self.harness.patience:g} s: {what}")
            time.sleep(_PAUSE_SECONDS)
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
            f"{id} to be {' or '.join(statuses)}, not {self.status(id)}",
        )

    def child(self, id: str, *path: str) -> Record:
        """The record of a descendant, by the tasks on the way to it: `left`, or `t[2]` for an item. Waits for it."""
        return self.until(lambda: self._child(id, path), f"a child {'.'.join(path)} of {id}")

    def children(self, id: str) -> dict[str, Record]:
        """Every record below, by its own id."""
        look = self.look(id)
        return {node.record.id: node.record for node in look.snapshot.nodes if node.record.id != look.record.id}

    def _child(self, id: str, path: tuple[str, ...]) -> Record | None:
        look = self.look(id)
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

    def task(self, id: str, name: str) -> TaskLook | None:
        """A task of an execution as it stands, None where it is not there."""
        look = self.look(id)
        tasks = [task for task in look.snapshot.nodes[look.place].tasks if task.name == name]
        return tasks[-1] if tasks else None

    def gate(self, id: str, task: str, item: int | None = None) -> WaitingChild:
        """A gate that waits. Waits for it to come up."""
        return self.until(lambda: self.gate_now(id, task, item), f"the gate {task} of {id}")

    def gate_now(self, id: str, task: str, item: int | None = None) -> WaitingChild | None:
        """A gate where it waits now."""
        own = self._own(id)
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
        ref = self.bridge.find(id).ref
        status = TaskStatus.SUCCEEDED if ok else TaskStatus.ERRORED
        self.harness.open(ref, gate, status, {"of": task} if result is None else result)
        self.until(lambda: self._closed(id, gate.key), f"the gate {task} of {id} to be taken")

    def release_to_the_end(self, id: str, task: str) -> Look:
        """Release a gate, however often the engine puts it up, until the execution has succeeded.

        For the tail of a test that is about something else: an engine may start a task twice when a resume meets a
        late word from a child that had ended under the hold, a race that cannot be closed from outside.
        """

        def over() -> Look | None:
            gate = self.gate_now(id, task)
            if gate is not None:
                self.harness.open(self.bridge.find(id).ref, gate, TaskStatus.SUCCEEDED, {"of": task})
            look = self.look(id)
            return look if look.record.status is Status.SUCCEEDED else None

        return self.until(over, f"{id} to be succeeded")

    def _closed(self, id: str, key: str) -> bool:
        own = self._own(id)
        return own is not None and all(gate.key != key for gate in self.harness.gates(own))

    def _own(self, id: str) -> ExecutionLook | None:
        ref = self.bridge.find(id).ref
        looks = next(iter(self.harness.backend.observe([ref.id]).values()), ())
        return next((look for look in looks if look.ref == ref), None)

    def refused(self, act: Callable[[], object], rule: str) -> Rejected:
        """The rejection by a rule. Fails where the verb goes through, or another rule rejects it."""
        try:
            act()
        except Rejected as error:
            assert error.rule == rule, f"rejected by {error.rule}, not by {rule}: {error.message}"
            return error
        raise AssertionError(f"went through, and {rule} should have rejected it")

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

    def finish(self) -> None:
        """Cancel what a test left running, so that the next one is not disturbed."""
        for id in self.started:
            try:
                self.bridge.cancel(id)
            except Rejected:
                continue
