"""Tasks per second of the reference engine: no-op tasks in a chain and in one wide fork with a join.

Run it with `python benchmarks/engine_tasks.py [SIZE ...]`. For each size it prints what the engine does with no journal
and with its rows kept in a dict, the memory it holds for each task, and how long building the session again from the
rows takes. Reading the definition is not counted: a process reads each one once.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flowbridge.local import Changes, Command
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.session import MemorySession, open_session

SIZES = (100, 1_000, 10_000, 100_000)


class Figures(NamedTuple):
    """What one run cost."""

    bare: float
    journaled: float
    bytes_per_task: float
    load: float


def chain(size: int) -> str:
    """Tasks one after another."""
    tasks = "".join(f"    t{n}: {{on-success: t{n + 1}}}\n" for n in range(size - 1))
    return f"version: '2.0'\nmain:\n  tasks:\n{tasks}    t{size - 1}: {{action: std.noop}}\n"


def wide(size: int) -> str:
    """One task, a fork to all others, and a join of them."""
    names = ", ".join(f"t{n}" for n in range(size - 2))
    tasks = "".join(f"    t{n}: {{on-success: last}}\n" for n in range(size - 2))
    return f"version: '2.0'\nmain:\n  tasks:\n    first: {{on-success: [{names}]}}\n{tasks}    last: {{join: all}}\n"


def session(text: str, rows: Mapping[str, str], flush: Callable[[Changes], None] | None) -> MemorySession:
    """A session in which the definition was started and nothing was run yet."""
    opened = open_session("memory", rows, flush, actions=ActionRegistry())
    if not rows:
        opened.apply(Command("start", "start", "root", {"workflow": "", "input": {}, "env": {}, "definition": text}))
    return opened


def seconds(text: str, flush: Callable[[Changes], None] | None) -> float:
    """How long the run takes from the start to its end."""
    opened = session(text, {}, flush)
    gc.collect()
    begun = time.perf_counter()
    opened.advance(until=lambda: False)
    spent = time.perf_counter() - begun
    if opened.look()[0].state.value != "succeeded":
        raise SystemExit("the run did not succeed: the figures would mean nothing")
    return spent


def measure(text: str, size: int) -> Figures:
    """All figures of one definition."""
    rows: dict[str, str] = {}

    def keep(changes: Changes) -> None:
        rows.update({key: value for key, value in changes.items() if value is not None})

    # The median, of every size: the best of many short runs against one long run would show a slope that is not there.
    repeat = max(3, 2_000 // size)
    bare = statistics.median(seconds(text, None) for _ in range(repeat))
    journaled = statistics.median(seconds(text, keep) for _ in range(repeat))
    begun = time.perf_counter()
    session(text, rows, keep)
    load = time.perf_counter() - begun
    opened = session(text, {}, None)
    tracemalloc.start()
    opened.advance(until=lambda: False)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Figures(size / bare, size / journaled, held / size, load)


def main(sizes: list[int]) -> None:
    """Print one line for each shape and size."""
    print(f"{'shape':6} {'tasks':>8} {'tasks/s':>9} {'journaled':>10} {'bytes/task':>11} {'load s':>8}")
    for name, shape in (("chain", chain), ("wide", wide)):
        for size in sizes:
            found = measure(shape(size), size)
            speed = f"{found.bare:9,.0f} {found.journaled:10,.0f}"
            print(f"{name:6} {size:8,} {speed} {found.bytes_per_task:11,.0f} {found.load:8.3f}")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or list(SIZES))
