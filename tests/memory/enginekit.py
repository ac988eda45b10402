"""Drives one session of the reference engine by hand, on a virtual clock. Gates are `std.async_noop` tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import Any

from flowbridge.backend import Definition
from flowbridge.capabilities import Cascade
from flowbridge.local import Command
from flowbridge.model import ExecutionLook, ExecutionRead, TaskLook
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.clock import VirtualClock
from flowbridge_memory.session import MemorySession, open_session
from flowbridge_memory.world import MAX_TASKS

ROOT = "11111111-1111-4111-8111-111111111111"

HEAD = "version: '2.0'\n"
TREE = (
    HEAD
    + """
main:
  tasks:
    left: {workflow: sub, on-success: after}
    right: {workflow: sub}
    leaf: {action: std.async_noop, on-success: next}
    after: {action: std.noop}
    next: {action: std.noop}
sub:
  tasks:
    inner: {workflow: deep}
deep:
  tasks:
    gate: {action: std.async_noop, on-success: last}
    last: {action: std.noop}
""".lstrip("\n")
)
CHAIN = (
    HEAD
    + """
main:
  tasks:
    a: {action: std.async_noop, publish: {x: 1}, on-success: b}
    b: {action: std.noop}
""".lstrip("\n")
)


class Engine:
    """A session with its rows. Every call leaves the rows as a ledger would have them."""

    def __init__(
        self,
        *,
        actions: Mapping[str, Callable[..., Any]] | None = None,
        catalog: Mapping[str, str] | None = None,
        cascades: frozenset[Cascade] = frozenset(Cascade),
        workers: int = 2,
        max_tasks: int = MAX_TASKS,
    ) -> None:
        self.clock = VirtualClock()
        self.registry = ActionRegistry()
        for name, call in (actions or {}).items():
            self.registry.register(name, call)
        self.rows: dict[str, str] = {}
        self.written: list[dict[str, str | None]] = []
        self._catalog = {name: Definition(dedent(text), name) for name, text in (catalog or {}).items()}
        self._cascades, self._workers, self._max_tasks = cascades, workers, max_tasks
        self._ids = itertools.count(1)
        self.session = self._open()

    def _open(self) -> MemorySession:
        return open_session(
            "memory",
            self.rows,
            self._flush,
            actions=self.registry,
            clock=self.clock,
            catalog=self._catalog.get,
            cascades=self._cascades,
            workers=self._workers,
            max_tasks=self._max_tasks,
        )

    def _flush(self, changes: Mapping[str, str | None]) -> None:
        self.written.append(dict(changes))
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def do(self, name: str, execution: str = ROOT, **args: Any) -> None:
        """One verb, then everything that can be done without waiting."""
        self.session.apply(Command(f"c{next(self._ids)}", name, execution, args))
        self._flush(self.session.changes())
        self.go()

    def start(self, text: str, workflow: str = "", env: Mapping[str, Any] | None = None, **input: Any) -> Engine:
        """Start a definition."""
        args: dict[str, Any] = {
            "workflow": workflow,
            "input": input,
            "env": dict(env or {}),
            "definition": dedent(text),
        }
        self.do("start", source="flow.yaml", **args)
        return self

    def go(self) -> None:
        """All that can be done now. Time stands still."""
        self.session.advance(until=lambda: False)

    def finish(self) -> Engine:
        """Go on, moving time where nothing else is left, until nothing more happens."""
        for _ in range(10_000):
            self.go()
            if self.session.settled:
                return self
            before = self.clock.now()
            self.session.wait(5.0)
            if self.clock.now() == before + 5.0 and not self._timed():
                return self
        raise AssertionError("the engine does not come to rest")

    def _timed(self) -> bool:
        return self.session._world.next_due() is not None

    def pass_time(self, seconds: float) -> None:
        """Move time and do what became due."""
        self.clock.skip(seconds)
        self.go()

    def reload(self) -> None:
        """What another process would have after this one died."""
        self.session.close()
        self.session = self._open()

    def end(self, task: str, status: str = "succeeded", result: Any = None) -> None:
        """End the gate of this name (`task`, `task[1]`, `parent/task` ...) that waits first."""
        for key, call in self.session._world.waiting.items():
            place = "" if call.index is None else f"[{call.index}]"
            if f"{call.task.plan.name}{place}" == task or f"{self._above(call)}{call.task.plan.name}{place}" == task:
                self.do("report", call.task.run.id, key=key, status=status, result=result)
                return
        raise AssertionError(f"no gate {task} is waiting; there are {self.gates()}")

    def gates(self) -> list[str]:
        """The names of the waiting gates."""
        return [
            call.task.plan.name + ("" if call.index is None else f"[{call.index}]")
            for call in self.session._world.waiting.values()
        ]

    @staticmethod
    def _above(call: Any) -> str:
        parent = call.task.run.parent
        if parent is None:
            return ""
        place = "" if parent.index is None else f"[{parent.index}]"
        return f"{parent.task.plan.name}{place}/"

    def look(self, execution: str = ROOT) -> ExecutionLook:
        """One execution of the tree."""
        return next(look for look in self.session.look() if look.ref.id == execution)

    def task(self, name: str, execution: str = ROOT) -> TaskLook:
        """The newest task of a name."""
        return [task for task in self.look(execution).tasks if task.name == name][-1]

    def child(self, task: str, item: int | None = None, execution: str = ROOT) -> str:
        """The id of the newest child of a task."""
        found = [
            look.ref.id
            for look in self.session.look()
            if look.parent is not None
            and look.parent.id == execution
            and look.parent.task == self.task(task, execution).id
            and look.parent.item == item
        ]
        return found[-1]

    def read(self, execution: str = ROOT) -> ExecutionRead:
        """Input, output and results of one execution."""
        return self.session.read(execution)

    def result(self, name: str, execution: str = ROOT) -> Any:
        """The result of the newest task of a name."""
        return [task for task in self.read(execution).tasks if task.name == name][-1].result

    def states(self, execution: str = ROOT) -> dict[str, str]:
        """Every task of an execution with its status; the newest of a name counts."""
        return {task.name: task.status.value for task in self.look(execution).tasks}

    @property
    def state(self) -> str:
        """The root's state."""
        return self.look().state.value

    @property
    def output(self) -> Any:
        """The root's output."""
        return self.read().output

    @property
    def states_of_all(self) -> list[str]:
        """The state of every execution, in the order of the look."""
        return [look.state.value for look in self.session.look()]
