"""Lists of 200 executions of a real Mistral, as ratios in one run: `python benchmarks/mistral_list.py [RUNS]`.

Whole processes, taken in turn, beside a bare script that sends the same request, and beside Mistral's own client where
`MISTRAL_CLIENT` names its command, from an environment that has both `mistral` and `python-mistralclient`. Starts a
Mistral for it, which takes a while the first time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from flowbridge.backend import Definition  # noqa: E402
from flowbridge.bridge import Bridge  # noqa: E402
from flowbridge.config import Config  # noqa: E402
from flowbridge_mistral.backend import MistralBackend  # noqa: E402
from live.mistral_server import MistralServer  # noqa: E402  (its folder had to be made known first)

COUNT = 200
BUDGET = 1.3
CLIENT = "mistral execution-list"
FLOW = "version: '2.0'\nwaits:\n  tasks:\n    t: {action: std.async_noop}\n"
BARE = """
import requests, sys
print(len(requests.get(sys.argv[1] + "/executions", params={params!r}, timeout=30).json()["executions"]))
"""
ENGINE = {"fields": "id,workflow_name,state,created_at", "nulls": "task_execution_id", "limit": str(COUNT)}
GLANCE = {"fields": "id,state", "nulls": "task_execution_id", "limit": "1000", "state": "in:RUNNING,PAUSED"}
ORDER = {"sort_keys": "created_at,id", "sort_dirs": "desc,asc"}


def main(runs: int) -> None:
    """Fill a Mistral, then measure."""
    with tempfile.TemporaryDirectory() as place, MistralServer(Path(place)) as server:
        ledger = Path(place) / "ledger.db"
        fill(server.url, ledger)
        flowbridge = [str(Path(sys.executable).with_name("flowbridge")), "execution", "list", "--backend", "mistral"]
        limit = ["--limit", str(COUNT)]
        commands = {
            "bare script, what the engine has": bare(server.url, ENGINE | ORDER),
            "list --engine": [*flowbridge, "--engine", *limit],
            "bare script, what is still open": bare(server.url, GLANCE | ORDER),
            "list": [*flowbridge, *limit],
        }
        if client := os.environ.get("MISTRAL_CLIENT"):
            commands[CLIENT] = [client, "--os-mistral-url", server.url, "execution-list", *limit]
        environment = {"FLOWBRIDGE_LEDGER": str(ledger), "PATH": "/usr/bin:/bin", "HOME": place}
        show(measure(commands, environment | {"OS_MISTRAL_URL": server.url}, runs))


def bare(url: str, params: dict[str, str]) -> list[str]:
    """The script that sends one request and does nothing else."""
    return [sys.executable, "-c", BARE.format(params=params), url]


def fill(url: str, ledger: Path) -> None:
    """Start the executions, and take them into a ledger."""
    backend = MistralBackend("mistral", {"url": url})
    backend.deploy(Definition(FLOW))
    with Bridge(Config(ledger=ledger, actor="me"), backends=[backend], durable=False) as bridge:
        for _ in range(COUNT):
            bridge.run("waits", backend="mistral")


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


def show(seconds: dict[str, float]) -> None:
    """Print each list against the bare script before it, and against Mistral's own client where that was measured."""
    base, client = 0.0, seconds.get(CLIENT)
    for name, median in seconds.items():
        is_base = name.startswith("bare")
        base = median if is_base else base
        ratio = "" if is_base or name == CLIENT else f"{median / base:5.2f}x   budget {BUDGET}x"
        if ratio and client:
            ratio += f"   {median / client:4.2f} of Mistral's own, budget 0.5"
        print(f"{name:36} {median * 1000:7.1f} ms   {ratio}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
