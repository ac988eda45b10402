"""Two processes with verbs for the same tree at the same moment: what comes out is what some order allows (O5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path

import pytest

from crash.test_verbs_survive import CANCELED, GATED, PAUSED, Lab, _until_gated
from flowbridge.backend import Definition
from flowbridge.model import Status

NEVER = 10**9
BRANCHES = [1, 1]

#: verb -> the statuses of the root in which it is accepted, and where it leads while gates hold the tasks.
ACCEPTED = {
    "pause": ({Status.RUNNING}, Status.PAUSING),
    "resume": ({Status.PAUSED}, Status.RUNNING),
    "cancel": (set(Status) - {Status.CANCELED, Status.SUCCEEDED, Status.ERRORED}, Status.CANCELING),
}


def allowed(first: str, second: str) -> set[tuple[bool, bool, Status]]:
    """What may come out: whether each verb was accepted, and the status at the end, for both orders."""
    found = set()
    for order in ((0, 1), (1, 0)):
        status, done = Status.RUNNING, [False, False]
        for place in order:
            statuses, after = ACCEPTED[(first, second)[place]]
            if status in statuses:
                status, done[place] = after, True
        found.add((done[0], done[1], status))
    return found


@pytest.fixture(scope="module")
def servers() -> Iterator[list[subprocess.Popen[str]]]:
    here = Path(__file__).parent
    command = [sys.executable, str(here / "server.py"), str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    yield started
    for server in started:
        with server:
            assert server.stdin is not None
            server.stdin.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("first", "second"), list(combinations_with_replacement(ACCEPTED, 2)))
def test_O5_two_verbs_at_once_come_out_as_in_some_order(
    first: str, second: str, seed: int, tmp_path: Path, servers: list[subprocess.Popen[str]]
) -> None:
    lab = Lab(tmp_path / "ledger.db", {})
    id = _started(lab)
    for server, verb in zip(servers, (first, second), strict=True):
        _tell(server, lab, verb, id)
    done = [_status(server) == 0 for server in servers]
    status = lab.bridge.get(id).record.status
    assert (done[0], done[1], status) in allowed(first, second)
    assert lab.bridge.ledger.operations.open_trees() == []
    lab.close()


def test_O5_a_cancel_gets_through_while_a_pause_is_settling(
    tmp_path: Path, servers: list[subprocess.Popen[str]]
) -> None:
    lab = Lab(tmp_path / "ledger.db", {})
    id = _started(lab)
    assert lab.bridge.pause(id).status in PAUSED
    _tell(servers[0], lab, "cancel", id)
    assert _status(servers[0]) == 0
    assert {node.record.status for node in lab.bridge.get(id).snapshot.nodes} <= CANCELED
    lab.close()


def _started(lab: Lab) -> str:
    record = lab.bridge.run(Definition(GATED.replace("BRANCHES", str(BRANCHES)), "flow"), backend="local")
    _until_gated(lab, record.id, BRANCHES)
    return record.id


def _tell(server: subprocess.Popen[str], lab: Lab, verb: str, id: str) -> None:
    order = {"ledger": str(lab.ledger), "options": lab.options, "verb": verb, "id": id, "point": NEVER}
    assert server.stdin is not None
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()


def _status(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    return int(server.stdout.readline())
