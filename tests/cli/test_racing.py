"""Two agents and a driver, each a process, over one tree, and one of them killed: nothing is done twice (O3)."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.clikit import BOUND, Gates, two_instances, until

ITEMS = 8

#: A task that waits for eight workflows on another instance, each of which waits for a command on a third engine.
TREE = f"""
version: '2.0'
main:
  tasks:
    each:
      with-items: n in {json.dumps(list(range(ITEMS)))}
      action: flowbridge.run
      input: {{target: 'second:leaf', input: {{n: <% $.n %>}}}}
      publish: {{got: <% task().result %>}}
  output: {{got: <% $.got %>}}
"""
LEAF = """
version: '2.0'
leaf:
  input: [n]
  output: {n: <% $.n %>}
  tasks:
    begin: {action: core.local, input: {cmd: 'echo <% $.n %> >> FOLDER/begun'}, on-success: [ask]}
    ask: {action: std.http, input: {url: 'URL/leaf'}, on-success: [end]}
    end: {action: core.local, input: {cmd: 'echo <% $.n %> >> FOLDER/ended'}}
"""
FLOWBRIDGE = (sys.executable, "-m", "flowbridge_cli.main")


@pytest.fixture
def tree(home: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The definition of the tree; its children count in files of `home` how often they begin and end."""
    return two_instances(home, monkeypatch, TREE, LEAF.replace("URL", gates.url).replace("FOLDER", str(home)))


@pytest.fixture
def began(home: Path, tree: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Begins a process of flowbridge's over the same ledger; all of them have ended when the test is over."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*words: str) -> subprocess.Popen[bytes]:
        log = home / f"{len(processes)}.log"
        with log.open("wb") as said:
            processes.append(subprocess.Popen(words, cwd=home, stdout=said, stderr=said))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(BOUND)


def asked(home: Path, query: str) -> list[Any]:
    """The first column of what the ledger answers, read beside everybody who writes it."""
    with closing(sqlite3.connect(home / "ledger.db", timeout=BOUND)) as ledger:
        return [row[0] for row in ledger.execute(query)]


def counted(file: Path) -> Counter[str]:
    return Counter(file.read_text().split() if file.exists() else ())


REPORTS = "SELECT root || json_extract(doc, '$.args.key') FROM inbox WHERE json_extract(doc, '$.name') = 'report'"
STARTS = "SELECT root FROM inbox WHERE json_extract(doc, '$.name') = 'start'"


@pytest.mark.parametrize("moment", ["starting", "telling"])
def test_O3_of_two_agents_and_a_driver_one_is_killed_and_nothing_is_started_or_told_twice(
    moment: str, flowbridge: Any, home: Path, tree: Path, gates: Gates, began: Callable[..., subprocess.Popen[bytes]]
) -> None:
    agents = [began(*FLOWBRIDGE, "agent", "--interval", "0.05", "--health", f"{n}.json") for n in range(2)]
    for n in range(2):
        until((home / f"{n}.json").exists, "the health of an agent")
    id = flowbridge("run", str(tree), "--detach").out.strip()
    driver = began(sys.executable, "-m", "flowbridge.driver", id)
    if moment == "starting":
        until(lambda: len(asked(home, STARTS)) > 3, "some starts")
        _killed(agents[0], flowbridge)
    gates.arrived("leaf", ITEMS)
    gates.set(leaf=200)
    if moment == "telling":
        until(lambda: len(asked(home, REPORTS)) > ITEMS + 2, "some reports")
        _killed(agents[0], flowbridge)
    ended = f"SELECT 1 FROM executions WHERE id = '{id}' AND status = 'succeeded'"
    until(lambda: asked(home, ended), "the tree to end")
    assert agents[1].poll() is None
    assert driver.wait(BOUND) == 0
    _once(flowbridge, home, id, gates)


def _killed(agent: subprocess.Popen[bytes], flowbridge: Any) -> None:
    """Kill an agent. A run whose runner it was about to start is abandoned, and goes on when it is recovered (S6)."""
    agent.kill()
    assert agent.wait(BOUND) == -signal.SIGKILL
    assert flowbridge("recover").code == 0


def _once(flowbridge: Any, home: Path, id: str, gates: Gates) -> None:
    """Each child was started once and told once, whoever did it, and all of its results have come up."""
    each = {str(n): 1 for n in range(ITEMS)}
    assert (counted(home / "begun"), counted(home / "ended"), gates.asked["leaf"]) == (each, each, ITEMS)
    below = 3 * ITEMS
    found = flowbridge("list", "--children", "--no-look", "-o", "json").data
    assert Counter(row["status"] for row in found) == {"succeeded": below + 1}
    history = flowbridge("history", id, "-o", "json").data
    left = Counter(entry["execution"] for entry in history if entry["detail"].get("old") == "requested")
    assert len(left) == below + 1
    assert set(left.values()) == {1}
    for query, number in ((STARTS, below + 1), (REPORTS, below)):
        sent = Counter(asked(home, query))
        assert len(sent) == number
        assert set(sent.values()) == {1}
    assert [entry["what"] for entry in history if entry["kind"] == "trouble"] == []
    assert flowbridge("get", id, "-o", "json").data["output"] == {"got": [{"n": n} for n in range(ITEMS)]}
