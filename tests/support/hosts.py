"""A scriptable engine whose tasks wait for executions elsewhere, and end as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowbridge.backend import StartRequest
from flowbridge.capabilities import PartialRerun
from flowbridge.model import EngineState, ExecutionLook, TaskLook, TaskRerun, TaskStatus, WaitingChild
from support.fakes import FakeEngine, Live

_ENDED = {
    TaskStatus.SUCCEEDED: EngineState.SUCCEEDED,
    TaskStatus.ERRORED: EngineState.ERRORED,
    TaskStatus.CANCELED: EngineState.CANCELED,
}


_BAD = (TaskStatus.CANCELED, TaskStatus.ERRORED)


@dataclass
class Waits:
    """One task that waits: for one execution, or for one of each item. `told` are the ends by item."""

    target: str
    items: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    round: int = 0
    open: dict[int | None, str] = field(default_factory=dict)
    told: dict[int | None, tuple[TaskStatus, Any]] = field(default_factory=dict)


class HostEngine(FakeEngine):
    """A `FakeEngine` that hosts children. `reports` are all reports that it took, in their order."""

    def __init__(self, name: str = "host", **facts: Any) -> None:
        super().__init__(name, hosts_children=True, **facts)
        self.waits: dict[tuple[str, str], Waits] = {}
        self.reports: list[tuple[int | None, TaskStatus, Any]] = []
        self.renames = False
        self.taken: list[tuple[str, int | None]] = []
        self._links_to = ""

    def has_links_to(self, target: str) -> None:
        """From now on whatever is started here waits in a task `u`."""
        self._links_to = target

    def _start(self, request: StartRequest) -> None:
        is_new = request.id not in self.has
        super()._start(request)
        if is_new and self._links_to:
            self.has[request.id].tasks.clear()
            self.host(request.id, self._links_to, task="u")

    def host(self, id: str, target: str, *, task: str = "t", items: int | None = None, **more: Any) -> Live:
        """An execution whose task waits."""
        live = self.has[id] if id in self.has else self.add(id)
        look = TaskLook(f"{id}.{task}", task, TaskStatus.RUNNING, starts=items or 1, items=items)
        live.tasks.append(look)
        self._wait(id, look.id, Waits(target, items, **more), items)
        return live

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        def told() -> None:
            for (of, task), waits in list(self.waits.items()):
                for item, open_ in list(waits.open.items()):
                    if of == id and open_ == key:
                        self.reports.append((item, status, result))
                        self.taken.append((key, item))
                        del waits.open[item]
                        waits.told[item] = status, result
                        self._end(of, task, waits)

        self._call("report", id, told)

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        super().rerun(id, tasks)
        if "rerun" in self.ignores:
            return
        for task, reset in tasks:
            waits = self.waits.pop((id, task), None)
            if waits is None:
                continue
            failed = [item for item, (status, _) in waits.told.items() if status is not TaskStatus.SUCCEEDED]
            again = failed if waits.items is not None and not reset else None
            assert reset or self.capabilities.partial_rerun is PartialRerun.YES, "a partial re-run that would hang"
            new = f"{task}'" if self.renames else task
            live = self.has[id]
            look = next(one for one in live.tasks if one.id == task)
            live.tasks = [replace(one, active=False) if one.id == task else one for one in live.tasks]
            if self.renames:  # another run of the task stands beside the one that is over
                live.tasks = [replace(one, status=TaskStatus.SKIPPED) if one.id == task else one for one in live.tasks]
                live.tasks.append(replace(look, id=new, active=False))
            self._wait(id, new, waits, waits.items, again)

    def _wait(
        self, id: str, task: str, waits: Waits, items: int | None, again: Iterable[int | None] | None = None
    ) -> None:
        waits.round += 1
        for item in again if again is not None else [None] if items is None else range(items):
            waits.open[item] = f"{task}/{item}/{waits.round}"
            waits.told.pop(item, None)
        self.waits[id, task] = waits

    def _end(self, id: str, task: str, waits: Waits) -> None:
        live = self.has[id]
        if waits.open:
            return
        statuses = [status for status, _ in waits.told.values()]
        worst = next((one for one in _BAD if one in statuses), None)
        status = worst or TaskStatus.SUCCEEDED
        live.tasks = [replace(one, status=status) if one.id == task else one for one in live.tasks]
        if all(one.status in (*_ENDED, TaskStatus.SKIPPED) for one in live.tasks) and live.state is EngineState.RUNNING:
            live.go(_ENDED[next((one.status for one in live.tasks if one.status in _BAD), status)])

    def _look(self, live: Live) -> ExecutionLook:
        waiting = [
            WaitingChild(key, task, item, waits.target, {**waits.input, "item": item}, waits.owner)
            for (of, task), waits in self.waits.items()
            if of == live.id
            for item, key in waits.open.items()
        ]
        return replace(super()._look(live), waiting=tuple(waiting))
