"""`agent`, drivers, and trees over two engines at the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.clikit import Gates, two_instances, until
from flowbridge.agent import Health
from flowbridge_cli.commands.agent import _teller

TREE = """
version: '2.0'
main:
  tasks:
    t1: {action: flowbridge.run, input: {target: 'second:leaf', input: {word: hi}}, publish: {got: <% task().result %>}}
  output: {got: <% $.got %>}
"""
LEAF = """
version: '2.0'
leaf:
  input: [word]
  output: {word: <% $.word %>}
  tasks:
    ask: {action: std.http, input: {url: 'URL/leaf'}}
"""


@pytest.fixture
def tree(home: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workflow whose task runs one on another instance."""
    return two_instances(home, monkeypatch, TREE, LEAF.replace("URL", gates.url))


@pytest.fixture
def systemd(home: Path) -> Iterator[socket.socket]:
    """Where systemd would listen to its services; nobody takes away what was told but a test that wants to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(home / "notify"))
        channel.settimeout(30)
        yield channel


@pytest.fixture
def agent(home: Path, tree: Path, systemd: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """An agent over the same ledger, asked to stop at the end."""
    words = ["agent", "--interval", "0.05", "--health", str(home / "health.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "flowbridge_cli.main", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**os.environ, "NOTIFY_SOCKET": str(home / "notify")},
    )
    until((home / "health.json").exists, "the agent's health")
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def test_O13_the_agent_drives_a_detached_tree_to_its_end_and_stops_when_it_is_told(
    flowbridge: Any, home: Path, tree: Path, gates: Gates, agent: subprocess.Popen[str]
) -> None:
    id = flowbridge("run", str(tree), "--detach").out.strip()
    gates.arrived("leaf")
    assert not flowbridge("tree", id, "-o", "json").data["waits_for_driver"]
    gates.set(leaf=200)
    until(lambda: flowbridge("list", "--status", "succeeded", "-o", "json").data, "the tree to end")
    assert flowbridge("get", id, "-o", "json").data["output"] == {"got": {"word": "hi"}}
    health = json.loads((home / "health.json").read_text())
    assert health["process"] == agent.pid
    assert health["problems"] == []
    agent.send_signal(signal.SIGTERM)
    assert "the agent has stopped" in agent.communicate(timeout=30)[1]
    assert agent.returncode == 0


def test_O13_a_stopped_agent_leaves_no_lease_and_what_runs_to_its_runner(
    flowbridge: Any, home: Path, tree: Path, gates: Gates, agent: subprocess.Popen[str]
) -> None:
    id = flowbridge("run", str(tree), "--detach").out.strip()
    gates.arrived("leaf")
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=30)
    assert agent.returncode == 0
    with closing(sqlite3.connect(home / "ledger.db")) as ledger:
        assert ledger.execute("SELECT name FROM leases WHERE pid = ?", (agent.pid,)).fetchall() == []
    assert flowbridge("tree", id, "-o", "json").data["waits_for_driver"]
    gates.set(leaf=200)
    until(lambda: flowbridge("list", "--children", "--status", "succeeded", "-o", "json").data, "the child to end")
    assert flowbridge("watch", id).code == 0


def test_the_agent_tells_systemd_that_it_is_ready_that_it_lives_and_that_it_stops(
    agent: subprocess.Popen[str], systemd: socket.socket
) -> None:
    assert [systemd.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
    told: list[bytes] = []

    def listen() -> None:
        while b"STOPPING=1" not in told:
            told.append(systemd.recv(100))

    listener = threading.Thread(target=listen)
    listener.start()
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=30)
    listener.join(30)
    assert told[-1] == b"STOPPING=1"


def test_O13_without_an_agent_a_detached_tree_gets_a_driver_of_its_own(
    flowbridge: Any, tree: Path, gates: Gates
) -> None:
    id = flowbridge("run", str(tree), "--detach").out.strip()
    gates.arrived("leaf")
    assert not flowbridge("tree", id, "-o", "json").data["waits_for_driver"]
    gates.set(leaf=200)
    until(lambda: flowbridge("list", "--status", "succeeded", "-o", "json").data, "the tree to end")


def test_O13_with_its_driver_killed_a_tree_says_so_and_a_watch_takes_it_to_its_end(
    flowbridge: Any, tree: Path, gates: Gates
) -> None:
    id = flowbridge("run", str(tree), "--detach").out.strip()
    gates.arrived("leaf")
    os.kill(_driver(id), signal.SIGKILL)
    until(lambda: flowbridge("tree", id, "-o", "json").data["waits_for_driver"], "the tree to be without a driver")
    assert "waits for a driver" in flowbridge("tree", id).out
    listed = flowbridge("list")
    assert listed.out.splitlines()[1].endswith("a driver")
    assert "flowbridge agent" in listed.err
    assert [row["waits_for_driver"] for row in flowbridge("list", "--children", "-o", "json").data] == [True, True]
    gates.set(leaf=200)
    assert flowbridge("watch", id).code == 0
    assert flowbridge("get", id, "-o", "json").data["output"] == {"got": {"word": "hi"}}
    assert "a driver" not in flowbridge("list").out


def _driver(tree: str) -> int:
    """The process that drives a tree."""

    def found() -> int | None:
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
            except OSError:
                continue
            if b"flowbridge.driver" in words and tree.encode() in words:
                return int(folder.name)
        return None

    return int(until(found, "a driver"))


def test_the_agent_says_once_what_goes_on_only_when_it_is_recovered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = _teller(tmp_path / "agent.json")
    stranded = ({"execution": "e1", "why": "it is abandoned"}, {"execution": "e2", "why": "it is abandoned"})
    for _ in range(2):
        tell(Health(trees=2, stranded=stranded))
    said = "2 trees; e1: it is abandoned; `flowbridge recover e1` goes on (the first of 2 that need it)"
    assert capsys.readouterr().err.splitlines() == [said]
    assert json.loads((tmp_path / "agent.json").read_text())["stranded"] == list(stranded)
