"""Start-up as ratios, in one run: `python benchmarks/startup.py [RUNS]`.

Each figure is the median of whole processes, taken in turn so that a drift of the machine meets all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

from flowbridge.ledger.ledger import Ledger
from flowbridge.model import EngineState, Record, Ref, Status

#: What is measured, and its budget as a multiple of importing click.
BUDGETS = {"--help": 2.5, "execution list (1,000 executions)": 6.0}


def main(runs: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        ledger = Path(place) / "ledger.db"
        fill(ledger, 1000)
        flowbridge = [str(Path(sys.executable).with_name("flowbridge"))]
        commands = {
            "import click": [sys.executable, "-c", "import click"],
            "--help": [*flowbridge, "--help"],
            "execution list (1,000 executions)": [*flowbridge, "execution", "list", "--limit", "1000"],
        }
        seconds = measure(commands, {"FLOWBRIDGE_LEDGER": str(ledger), "PATH": "/usr/bin:/bin", "HOME": place}, runs)
    base = seconds["import click"]
    for name, median in seconds.items():
        budget = f"   budget {BUDGETS[name]}x" if name in BUDGETS else ""
        print(f"{name:36} {median * 1000:7.1f} ms   {median / base:5.2f}x{budget}")


def fill(path: Path, count: int) -> None:
    """A ledger with that many ended executions."""
    ledger = Ledger(path, durable=False)
    record = Record(id="", tree="", ref=Ref("memory", ""), workflow="deploy", status=Status.SUCCEEDED, actor="me")
    with ledger.transaction():
        for _ in range(count):
            id = str(uuid.uuid4())
            ledger.executions.put(
                [
                    replace(
                        record, id=id, tree=id, ref=Ref("memory", id), seen=EngineState.SUCCEEDED, created=time.time()
                    )
                ]
            )
    ledger.close()


def measure(commands: dict[str, list[str]], environment: dict[str, str], runs: int) -> dict[str, float]:
    """The median seconds of each command, after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            if turn:
                taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
