"""Backends broken on purpose, each in one way that an adapter is likely to be.

Each stands around the reference engine, which is sound, and says which test of the kit has to notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from flowbridge.backend import Backend, Capabilities, StartRequest
from flowbridge.capabilities import Cascade
from flowbridge.model import ExecutionLook, ExecutionRead, Ref, TaskStatus
from flowbridge_memory.backend import MemoryBackend

Tree = tuple[ExecutionLook, ...]

NATIVE = frozenset(Cascade)
BRIDGED = frozenset[Cascade]()


class Mutant(MemoryBackend):
    """A sound one. `engine` are the cascades that the engine has; `caught_by` names the test that has to fail.

    `look` changes what is shown of one execution, `tree` what is shown of all of them.
    """

    engine: ClassVar[frozenset[Cascade]] = NATIVE
    caught_by: ClassVar[str] = ""

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name, {"cascades": sorted(self.engine)})
        self.requests: dict[str, StartRequest] = {}

    @property
    def sound(self) -> MemoryBackend:
        """The same engine through an adapter that is not broken."""
        backend = MemoryBackend(self.name, self.options)
        backend.attach(self.host)
        return backend

    def unreachable(self) -> Backend | None:
        """What the harness gives for an engine that is down."""
        return None

    def start(self, request: StartRequest) -> Ref:
        self.requests.setdefault(request.id, request)
        return super().start(request)

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        return {id: self.tree(looks) for id, looks in super().observe(ids).items()}

    def tree(self, looks: Tree) -> Tree:
        return tuple(self.look(look) for look in looks)

    def look(self, look: ExecutionLook) -> ExecutionLook:
        return look

    # What mutants do with the engine behind the adapter's back

    def own(self, id: str) -> ExecutionLook:
        """An execution as it is."""
        return next(look for look in self.whole(id) if look.ref.id == id)

    def whole(self, id: str) -> Tree:
        """The tree of an execution as it is."""
        return self.sound.observe([id])[id]

    def family(self, id: str) -> Tree:
        """An execution and what is below it."""
        found = {id}
        for look in self.whole(id):
            if look.parent is not None and look.parent.id in found:
                found.add(look.ref.id)
        return tuple(look for look in self.whole(id) if look.ref.id in found)

    def above(self, id: str) -> Iterator[str]:
        """The ancestors of an execution, the parent first."""
        parents = {look.ref.id: look.parent.id for look in self.whole(id) if look.parent}
        while id in parents:
            id = parents[id]
            yield id

    def end_gates(self, looks: Iterable[ExecutionLook], status: TaskStatus) -> None:
        """End every action that waits."""
        for look in looks:
            for gate in look.waiting:
                self.report(look.ref.id, gate.key, status, None)


class Anew(Mutant):
    """One whose engine can only begin again: `again` starts an execution that is shown in the place of the old one."""

    def __init__(self, name: str = "mutant") -> None:
        super().__init__(name)
        self.now: dict[str, str] = {}

    def again(self, id: str) -> None:
        """Begin an execution again."""
        self.now[id] = f"{self.now.get(id, id)}-again"
        self.requests[self.now[id]] = self.requests[id]._replace(id=self.now[id])
        self.sound.start(self.requests[self.now[id]])

    def observe(self, ids: Sequence[str]) -> Mapping[str, Tree]:
        seen = self.sound.observe([self.now.get(id, id) for id in ids])
        return {id: self._renamed(seen[self.now.get(id, id)], id) for id in ids if self.now.get(id, id) in seen}

    def _renamed(self, looks: Tree, id: str) -> Tree:
        return (replace(looks[0], ref=Ref(self.name, id)), *looks[1:])

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        return super().read(self.now.get(id, id), tasks)

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        super().report(self.now.get(id, id), key, status, result)


def declaring(facts: Capabilities, *, more: Cascade | None = None, less: Cascade | None = None) -> Capabilities:
    """Capabilities with one cascade too many, or one too few."""
    return replace(facts, cascades=(facts.cascades | {more} if more else facts.cascades) - {less})


def changed(look: ExecutionLook, **fields: Any) -> ExecutionLook:
    """A look whose every task is changed."""
    return replace(look, tasks=tuple(replace(task, **fields) for task in look.tasks))
