"""An engine that a test drives by hand: what it has, how it answers, and every request that reached it.

It is no local engine: it stands for a server somewhere else, which can be down, refuse, accept and do nothing, answer
late, lose an answer on the way back, and forget executions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from flowbridge.backend import Backend, Capabilities, Cascade, Definition, Deployed, Health, Listed, StartRequest
from flowbridge.errors import EngineRefused, FlowbridgeError, NotFound, Unavailable
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    ExecutionRead,
    ParentLink,
    Ref,
    TaskLook,
    TaskRerun,
    TaskStatus,
    Verb,
)

NATIVE = frozenset({Cascade.PAUSE_DOWN, Cascade.RESUME_DOWN, Cascade.CANCEL_DOWN, Cascade.RERUN_UP})
_OPEN = frozenset({EngineState.REQUESTED, EngineState.RUNNING, EngineState.PAUSED})


@dataclass
class Live:
    """One execution as the engine has it. A test changes it as it likes."""

    id: str
    workflow: str = "flow"
    state: EngineState = EngineState.RUNNING
    parent: ParentLink | None = None
    tasks: list[TaskLook] = field(default_factory=list)
    read: ExecutionRead = field(default_factory=ExecutionRead)
    changes: int = 0
    hung: str = ""

    def go(self, state: EngineState) -> None:
        """Change state; the revision tells of it."""
        self.state = state
        self.changes += 1

    def set(self, name: str, **changes: Any) -> None:
        """Change a task by name."""
        self.tasks = [replace(task, **changes) if task.name == name else task for task in self.tasks]


class FakeEngine(Backend):
    """A scriptable engine.

    `down`: nothing reaches it. `silent`: names of calls that do not reach it. `refuses`: calls and the error they
    raise. `ignores`: calls that are accepted and do nothing. `lost`: calls that are done, but whose answer does not
    come back. `dropped`: calls whose request is lost on the way, which the caller cannot tell from `lost`. `late`:
    the number of looks before a verb is seen. `requests`: the names and ids of all calls that reached it.
    `joins`: the joins behind the tasks of its workflows. `glances`: it can tell the states of many executions at
    once. `before`: is called with the name of each call, before it.
    """

    type = "fake"

    def __init__(self, name: str = "fake", *, cascades: frozenset[Cascade] = NATIVE, **facts: Any) -> None:
        super().__init__(name, {})
        self._facts = Capabilities(verbs=facts.pop("verbs", frozenset(Verb)), cascades=cascades, **facts)
        self.has: dict[str, Live] = {}
        self.workflows = {"flow"}
        self.glances = False
        self.joins: dict[str, dict[str, list[str]]] = {}
        self.down = False
        self.silent: set[str] = set()
        self.refuses: dict[str, FlowbridgeError] = {}
        self.ignores: set[str] = set()
        self.lost: set[str] = set()
        self.dropped: set[str] = set()
        self.late = 0
        self.requests: list[tuple[str, str]] = []
        self.started: list[StartRequest] = []
        self.before: Callable[[str], object] = lambda name: None
        self._delayed: list[tuple[int, Callable[[], object]]] = []

    # What a test does

    def add(
        self, id: str, *tasks: TaskLook, parent: str = "", task: str = "sub", item: int | None = None, **fields: Any
    ) -> Live:
        """An execution that is there, under `parent`'s task `task`."""
        link = ParentLink(parent, f"{parent}.{task}", item) if parent else None
        self.has[id] = Live(id, parent=link, tasks=list(tasks), **fields)
        return self.has[id]

    def forget(self, id: str) -> None:
        """Expire a tree, as engines do."""
        for live in self._below(id):
            del self.has[live.id]

    def sent(self) -> list[tuple[str, str]]:
        """The requests that were more than a question."""
        return [
            (name, id)
            for name, id in self.requests
            if name not in ("observe", "read", "check", "validate", "joins_behind")
        ]

    def count(self) -> Counter[str]:
        """How often each call reached the engine."""
        return Counter(name for name, _ in self.requests)

    # What the bridge does

    @property
    def capabilities(self) -> Capabilities:
        return self._facts

    def validate(self, definition: Definition) -> Deployed:
        self._reach("validate", definition.source)
        return Deployed((definition.text.strip(),))

    def deploy(self, definition: Definition) -> Deployed:
        self._reach("deploy", definition.source)
        self.workflows.add(definition.text.strip())
        return Deployed((definition.text.strip(),))

    def start(self, request: StartRequest) -> Ref:
        self._call("start", request.id, lambda: self._start(request))
        self.started.append(request)
        return Ref(self.name, request.id)

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        self._reach("observe", ",".join(ids))
        due = [effect for left, effect in self._delayed if left == 0]
        self._delayed = [(left - 1, effect) for left, effect in self._delayed if left > 0]
        for effect in due:
            effect()
        return {id: tuple(self._look(live) for live in self._below(self._root(id))) for id in ids if id in self.has}

    def glance(self, ids: Sequence[str]) -> Mapping[str, str]:
        if not self.glances:
            return {}
        self._reach("glance", ",".join(ids))
        return {id: self.has[id].state.upper() for id in ids if id in self.has}

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        self._reach("read", id)
        return self._live(id).read

    def pause(self, id: str) -> None:
        self._verb("pause", id, Cascade.PAUSE_DOWN, {EngineState.RUNNING}, EngineState.PAUSED)

    def resume(self, id: str, revision: str) -> None:
        self._verb("resume", id, Cascade.RESUME_DOWN, {EngineState.PAUSED}, EngineState.RUNNING)

    def cancel(self, id: str) -> None:
        self._verb("cancel", id, Cascade.CANCEL_DOWN, _OPEN, EngineState.CANCELED)

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        again = {"status": TaskStatus.RUNNING, "active": True}
        self._call("rerun", id, lambda: self._reopen(id, {task.task for task in tasks}, again))

    def joins_behind(self, workflows: Collection[str]) -> Mapping[str, Mapping[str, Collection[str]]]:
        self._reach("joins_behind", ",".join(workflows))
        return {name: joins for name, joins in self.joins.items() if name in workflows}

    def end_hung(self, id: str) -> None:
        def end() -> None:
            self.has[id].hung = ""
            self.has[id].go(EngineState.SUCCEEDED)

        self._call("end_hung", id, end)

    def skip(self, id: str, tasks: Sequence[str]) -> None:
        self._call("skip", id, lambda: self._reopen(id, set(tasks), {"status": TaskStatus.SKIPPED}))

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        self._reach("list", "")
        roots = [live for live in self.has.values() if live.parent is None]
        return [Listed(Ref(self.name, live.id), live.workflow, live.state.upper()) for live in roots[:limit]]

    def check(self) -> Health:
        self._reach("check", "")
        return Health("1")

    # How it is done

    def _reach(self, name: str, id: str) -> None:
        self.before(name)
        if self.down or name in self.silent:
            raise Unavailable(f"{self.name} does not answer", unsent=True)
        if name in self.dropped:
            raise Unavailable(f"{self.name} did not answer in time")
        self.requests.append((name, id))
        if name in self.refuses:
            raise self.refuses[name]

    def _call(self, name: str, id: str, effect: Callable[[], object]) -> None:
        self._reach(name, id)
        if name not in self.ignores:
            if self.late:
                self._delayed.append((self.late, effect))
            else:
                effect()
        if name in self.lost:
            raise Unavailable(f"{self.name} did not answer in time")

    def _verb(self, name: str, id: str, cascade: Cascade, before: Set[EngineState], after: EngineState) -> None:
        def effect() -> None:
            for live in self._below(id) if cascade in self._facts.cascades else [self._live(id)]:
                if live.state in before:
                    live.go(after)

        self._live(id)
        self._call(name, id, effect)

    def _start(self, request: StartRequest) -> None:
        if request.workflow not in self.workflows:
            raise NotFound(f"{self.name} has no workflow {request.workflow!r}")
        if request.id not in self.has:
            task = TaskLook(f"{request.id}.work", "work", TaskStatus.RUNNING, active=True, starts=1)
            self.add(request.id, task, workflow=request.workflow, read=ExecutionRead(input=request.input))

    def _reopen(self, id: str, tasks: Set[str], change: Mapping[str, Any]) -> None:
        live = self._live(id)
        for task in live.tasks:
            if task.id in tasks:
                if task.status is not TaskStatus.ERRORED:
                    raise EngineRefused(f"{task.name} is {task.status}")
                live.set(task.name, starts=task.starts + ("active" in change), **change)
        live.go(EngineState.RUNNING)
        while live.parent is not None and Cascade.RERUN_UP in self._facts.cascades:
            link, live = live.parent, self._live(live.parent.id)
            live.tasks = [replace(one, status=TaskStatus.RUNNING) if one.id == link.task else one for one in live.tasks]
            live.go(EngineState.RUNNING)

    def _live(self, id: str) -> Live:
        if id not in self.has:
            raise NotFound(f"{self.name} has no execution {id}")
        return self.has[id]

    def _root(self, id: str) -> str:
        while (link := self.has[id].parent) is not None:
            id = link.id
        return id

    def _below(self, id: str) -> list[Live]:
        """An execution and its descendants, parents first."""
        found = [self._live(id)]
        for above in found:
            found += [live for live in self.has.values() if live.parent is not None and live.parent.id == above.id]
        return found

    def _look(self, live: Live) -> ExecutionLook:
        return ExecutionLook(
            ref=Ref(self.name, live.id),
            state=live.state,
            raw=live.state.upper(),
            revision=str(live.changes),
            workflow=live.workflow,
            parent=live.parent,
            tasks=tuple(live.tasks),
            hung=live.hung,
        )


def task(name: str, status: TaskStatus = TaskStatus.RUNNING, *, of: str = "e0", **fields: Any) -> TaskLook:
    """A task of the execution `of`; one that runs is active."""
    fields.setdefault("active", status is TaskStatus.RUNNING)
    fields.setdefault("starts", 1)
    return TaskLook(f"{of}.{name}", name, status, **fields)
