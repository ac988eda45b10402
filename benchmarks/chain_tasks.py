"""A chain of 200 `true` commands against the same commands by `subprocess.run` in a loop, the ledger written.

Both are measured in turns in one run, and the medians compared. What a shell command is to StackStorm's users is run by
a shell on both sides. Also: what 50 MB of output from one task add to the memory of the process that drives the chain.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref, Status
from flowbridge.runners import drive
from flowbridge_actionchain.backend import ActionChainBackend

TASKS, ROUNDS = 200, 5
OUTPUT_BYTES = 50_000_000
BUDGET_RATIO, BUDGET_BYTES = 1.3, 10_000_000


def chain(*commands: str) -> Definition:
    """A chain of commands, one after the other."""
    tasks = [
        {"name": f"t{number}", "ref": "core.local", "parameters": {"cmd": command}, "on-success": f"t{number + 1}"}
        for number, command in enumerate(commands)
    ]
    del tasks[-1]["on-success"]
    return Definition(json.dumps({"chain": tasks}), "bench.yaml")


class Here:
    """A launcher that leaves the driving to the caller."""

    def __init__(self) -> None:
        self.left: tuple[LocalBackend, Ref, Lease] | None = None

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        self.left = (backend, root, lease)


def run_chain(folder: Path, definition: Definition, measure: Callable[[Callable[[], None]], float]) -> float:
    """Start a chain, and drive it as a runner would; only the driving is measured."""
    here = Here()
    backend = ActionChainBackend("actionchain", {})
    config = Config(ledger=folder / f"{time.monotonic_ns()}.db", actor="bench")
    with Bridge(config, backends=[backend], launch=here, durable=False) as bridge:
        record = bridge.run(definition, backend="actionchain")
        assert here.left is not None
        backend, root, lease = here.left
        database = Database(config.ledger, durable=False)
        found = measure(lambda: drive(database, backend, root, lease))
        database.close()
        status = bridge.get(record.id).record.status
        assert status is Status.SUCCEEDED, status
    return found


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak(work: Callable[[], None]) -> float:
    """By how many bytes it raises the most memory that this process ever had."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def bare() -> None:
    """The same commands in a loop."""
    for _ in range(TASKS):
        subprocess.run("true", shell=True, check=True, capture_output=True)


def main() -> int:
    """Print both figures; 1 where a budget is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_chain(folder, chain("true"), seconds)
        mine, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(seconds(bare))
            mine.append(run_chain(folder, chain(*["true"] * TASKS), seconds))
        ratio = statistics.median(mine) / statistics.median(theirs)
        more = run_chain(folder, chain(f"head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' x"), peak)
    print(f"{TASKS} x true: chain {statistics.median(mine):.3f} s, subprocess.run {statistics.median(theirs):.3f} s")
    print(f"ratio {ratio:.2f} (at most {BUDGET_RATIO})")
    print(f"{OUTPUT_BYTES} bytes of output: {more / 1e6:.1f} MB more memory (at most {BUDGET_BYTES / 1e6:.0f})")
    return int(ratio > BUDGET_RATIO or more > BUDGET_BYTES)


if __name__ == "__main__" and main():
    sys.exit(1)
