"""Pause, resume and cancel of a tree over three engines: calls, how many were in flight, and time, by its size.

python benchmarks/tree_verbs.py: every call takes 5 ms, as a request to a server nearby does. Each child that no engine
cascades to is one call; a look is one call to each engine, whatever its number of executions.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowbridge import Bridge, Definition
from flowbridge.backend import Backend, Capabilities, Deployed, Health, Listed, StartRequest
from flowbridge.config import Config
from flowbridge.model import (
    EngineState,
    ExecutionLook,
    ExecutionRead,
    Ref,
    TaskLook,
    TaskRerun,
    TaskStatus,
    Verb,
    WaitingChild,
)

LATENCY = 0.005
SIZES = (100, 300, 1000)


class Server(Backend):
    """An engine behind a network: it has executions that run until they are told otherwise."""

    type = "bench"
    concurrent = True

    def __init__(self, name: str, width: int = 0) -> None:
        super().__init__(name, {})
        self._width = width
        self._states: dict[str, EngineState] = {}
        self._lock = threading.Lock()
        self._flying = 0
        self.calls: Counter[str] = Counter()
        self.most = 0

    def _call(self, name: str, act: Callable[[], Any] = lambda: None) -> Any:
        with self._lock:
            self.calls[name] += 1
            self._flying += 1
            self.most = max(self.most, self._flying)
        time.sleep(LATENCY)
        with self._lock:
            self._flying -= 1
            return act()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(verbs=frozenset(Verb), hosts_children=True)

    def validate(self, definition: Definition) -> Deployed:
        return Deployed((definition.text,))

    deploy = validate

    def start(self, request: StartRequest) -> Ref:
        self._call("start", lambda: self._states.setdefault(request.id, EngineState.RUNNING))
        return Ref(self.name, request.id)

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        return self._call("look", lambda: {id: (self._look(id),) for id in ids if id in self._states})  # type: ignore[no-any-return]

    def _look(self, id: str) -> ExecutionLook:
        task = TaskLook(f"{id}.t", "t", TaskStatus.RUNNING, starts=1, items=self._width or None)
        targets = ("one:leaf", "two:leaf", "three:leaf")
        waiting = tuple(WaitingChild(f"{id}/{n}", task.id, n, targets[n % 3]) for n in range(self._width))
        state = self._states[id]
        return ExecutionLook(Ref(self.name, id), state, state.upper(), str(state), tasks=(task,), waiting=waiting)

    def _set(self, id: str, state: EngineState) -> None:
        self._call("verb", lambda: self._states.__setitem__(id, state))

    def pause(self, id: str) -> None:
        self._set(id, EngineState.PAUSED)

    def resume(self, id: str, revision: str) -> None:
        del revision
        self._set(id, EngineState.RUNNING)

    def cancel(self, id: str) -> None:
        self._set(id, EngineState.CANCELED)

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        del id, key, status, result
        self._call("report")

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        del id, tasks
        return ExecutionRead()

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        raise NotImplementedError

    def list_executions(self, *, limit: int, state: str | None = None) -> Sequence[Listed]:
        del limit, state
        return ()

    def check(self) -> Health:
        return Health("1")


def measured(size: int) -> dict[str, tuple[float, int, int, int]]:
    """By verb: seconds, verbs sent, looks, and the most calls in flight at one engine."""
    host, others = Server("host", size), [Server(name) for name in ("one", "two", "three")]
    engines = [host, *others]
    with tempfile.TemporaryDirectory() as folder:
        config = Config(ledger=Path(folder) / "ledger.db", actor="bench", default_backend="host")
        with Bridge(config, backends=engines, drive=lambda _: None, durable=False) as bridge:
            record = bridge.run(Definition("root"))
            bridge.tend([record.tree], set())
            bridge.tend([record.tree], set())
            found = {}
            for verb in (Verb.PAUSE, Verb.RESUME, Verb.CANCEL):
                for engine in engines:
                    engine.calls.clear()
                    engine.most = 0
                began = time.perf_counter()
                bridge.operate(verb, record.id)
                took = time.perf_counter() - began
                verbs = sum(engine.calls["verb"] for engine in engines)
                looks = max(engine.calls["look"] for engine in engines)
                found[str(verb)] = took, verbs, looks, max(engine.most for engine in engines)
    return found


def main() -> None:
    base: dict[str, float] = {}
    print(f"{'verb':8} {'children':>8} {'verbs':>6} {'looks':>6} {'in flight':>9} {'seconds':>8} {'per child':>10}")
    for size in SIZES:
        for verb, (took, verbs, looks, most) in measured(size).items():
            each = took / size
            base.setdefault(verb, each)
            ratio = f"{each / base[verb]:.2f}x"
            print(f"{verb:8} {size:8} {verbs:6} {looks:6} {most:9} {took:8.2f} {ratio:>10}")


if __name__ == "__main__":
    main()
