"""Workflows whose every action is a gate, and what the live tests do with their runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flowbridge.backend import StartRequest
from flowbridge.model import EngineState, ExecutionLook, TaskLook, TaskStatus
from flowbridge_mistral.backend import MistralBackend
from live.gates import Gates

WORKBOOK = """
version: '2.0'
name: live
actions:
  gate:
    input: [target, item: null]
    base: std.async_noop
workflows:
  main:
    input: [x: 1]
    output: {y: <% $.x %>}
    tasks:
      g:
        action: gate
        input: {target: g}
        publish: {p: <% task().result %>}
  items:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        action: gate
        input: {target: <% $.i %>, item: <% $.i %>}
  limited:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        concurrency: 1
        action: gate
        input: {target: <% $.i %>, item: <% $.i %>}
  many:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        workflow: child x=<% $.i %>
  two_at_once:
    tasks:
      t:
        with-items: i in [0, 1, 2]
        concurrency: 2
        workflow: child x=<% $.i %>
  child:
    input: [x]
    tasks:
      c:
        action: gate target=<% $.x %>
  nested:
    tasks:
      n:
        workflow: many
  joined:
    tasks:
      a:
        action: gate
        input: {target: a}
        on-success: [j]
      b:
        action: gate
        input: {target: b}
        on-success: [j]
      j:
        join: all
        action: gate
        input: {target: j}
  late:
    tasks:
      a:
        action: gate
        input: {target: a}
        on-success: [j]
      d:
        wait-before: 600
        action: std.noop
        on-success: [j]
      j:
        join: all
        action: std.noop
  delayed:
    tasks:
      d:
        wait-before: 600
        action: std.noop
  held:
    tasks:
      h:
        pause-before: true
        action: std.noop
  fails:
    tasks:
      f:
        action: gate
        input: {target: f}
        on-success: [after]
        on-skip: [after]
      after:
        action: gate
        input: {target: after}
"""

Value = TypeVar("Value")


def until(look: Callable[[], Value], seconds: float = 30.0) -> Value:
    """The first true value of `look`: a real engine tells nobody when it is done."""
    deadline = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < deadline, f"not so within {seconds} s; last seen: {value!r}"
        time.sleep(0.05)
    return value


class Lab:
    """Runs of the workbook above, or of another, and their gates."""

    def __init__(self, backend: MistralBackend, book: str = "live") -> None:
        self.backend = backend
        self.book = book
        self._gates = Gates(backend)

    def start(self, workflow: str, **input: Any) -> str:
        id = str(uuid.uuid4())
        self.backend.start(StartRequest(id, f"{self.book}.{workflow}", input))
        return id

    def tree(self, id: str) -> tuple[ExecutionLook, ...]:
        return self.backend.observe([id])[id]

    def root(self, id: str) -> ExecutionLook:
        return self.tree(id)[0]

    def task(self, id: str, name: str) -> TaskLook:
        return next(task for look in self.tree(id) for task in look.tasks if task.name == name)

    def gates(self, id: str, *targets: str) -> Mapping[str, tuple[str, str]]:
        """The waiting gates by target, as (execution, key), once these are all there."""

        def waiting() -> Mapping[str, tuple[str, str]]:
            found = {gate.target: (gate.execution, gate.key) for gate in self._gates.of(self.tree(id))}
            return found if set(targets) <= set(found) else {}

        return until(waiting)

    def end(self, id: str, target: str, status: TaskStatus = TaskStatus.SUCCEEDED, result: Any = None) -> None:
        _, key = self.gates(id, target)[target]
        self.end_gate(key, status, {"of": target} if result is None else result)

    def end_gate(self, key: str, status: TaskStatus, result: Any) -> None:
        self._gates.end(key, status, result)

    def reaches(self, id: str, state: EngineState) -> ExecutionLook:
        return until(lambda: look if (look := self.root(id)).state is state else None)  # type: ignore[return-value]

    def errored_items(self, *outcomes: TaskStatus) -> tuple[str, TaskLook]:
        id = self.start("items")
        for place, outcome in enumerate(outcomes):
            self.end(id, str(place), outcome)
        self.reaches(id, EngineState.ERRORED)
        return id, self.task(id, "t")
