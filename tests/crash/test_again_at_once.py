"""A re-run or a skip beside another verb for the same tree at the same moment: what some order allows (O5, X2, K1)."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crash.test_two_at_once import NEVER, servers
from crash.test_verbs_survive import Lab, _copied
from flowbridge.backend import Definition
from flowbridge.ledger.executions import Filter
from flowbridge.model import Record, Ref, Status, TaskStatus

__all__ = ["servers"]

BRANCHES = 2
GATE = "{action: flowbridge.run, input: {target: nobody, owner: the kit}}"
FLOW = f"""
version: '2.0'
main:
  tasks:
    branch:
      with-items: i in <% range({BRANCHES}) %>
      workflow: branch
      on-success: after
    after: {GATE}
branch:
  tasks:
    leaf: {GATE}
"""


class Rule(NamedTuple):
    """What one verb is sent as, the statuses in which it is accepted, and where it leads."""

    verb: str
    tasks: tuple[str, ...]
    accepted: frozenset[Status]
    after: Status | None


_OPEN = frozenset(Status) - {Status.CANCELED, Status.SUCCEEDED, Status.ERRORED}
_FAILED = frozenset({Status.ERRORED})
RULES = {
    "pause": Rule("pause", (), frozenset({Status.RUNNING}), Status.PAUSING),
    "resume": Rule("resume", (), frozenset({Status.PAUSED}), Status.RUNNING),
    "cancel": Rule("cancel", (), _OPEN, Status.CANCELING),
    "re-run": Rule("re-run", ("branch",), _FAILED, Status.RUNNING),
    "skip": Rule("skip", ("branch",), _FAILED, Status.RUNNING),
    "from the beginning": Rule("re-run", (), _FAILED, None),  # another execution: this one stays as it is
}
AGAIN = {"re-run", "skip", "from the beginning"}
PAIRS = [pair for pair in combinations_with_replacement(RULES, 2) if AGAIN.intersection(pair)]

#: One that is settled already is as good as one that settles.
SETTLES = {Status.PAUSED: Status.PAUSING, Status.CANCELED: Status.CANCELING}


def allowed(pair: Sequence[str]) -> set[tuple[bool, bool, Status]]:
    """What may come out: whether each verb was accepted, and the status at the end, for both orders."""
    found = set()
    for order in ((0, 1), (1, 0)):
        status, done = Status.ERRORED, [False, False]
        for place in order:
            rule = RULES[pair[place]]
            if status in rule.accepted:
                status, done[place] = rule.after or status, True
        found.add((done[0], done[1], status))
    return found


#: Where the first of two is stopped: at every one of so many points that it passes.
STRIDE = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A ledger with a run whose items have failed, and whose tasks wait at gates when they run once more."""
    lab = Lab(tmp_path_factory.mktemp("base") / "ledger.db", {})
    record = _errored(lab)
    lab.close()
    return lab.ledger, record


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_O5_a_rerun_or_a_skip_beside_another_verb_comes_out_as_in_some_order(
    pair: tuple[str, str], tmp_path: Path, base: tuple[Path, Record], servers: list[subprocess.Popen[str]]
) -> None:
    ledger, old = base
    seen = set()
    for first, second in dict.fromkeys((pair, pair[::-1])):
        point, stopped = 0, True
        while stopped:
            lab = Lab(_copied(ledger, tmp_path / f"{first} {point}"), {})
            stopped, done = _both(lab, servers, old.ref, (first, second), point)
            seen.add(_outcome(lab, old, (first, second), done))
            lab.close()
            point += STRIDE
        assert point > STRIDE
    assert len(seen) == len({frozenset(zip(outcome[:2], pair, strict=True)) for outcome in allowed(pair)})


def _outcome(lab: Lab, old: Record, pair: tuple[str, str], done: Sequence[bool]) -> tuple[frozenset[str], Status]:
    """Which verbs were accepted, and where the execution stands, once that is held against what may be."""
    now = lab.bridge.find(str(old.ref))
    status = lab.bridge.get(now.id).record.status
    status = SETTLES.get(status, status)
    assert (done[0], done[1], status) in allowed(pair)
    assert lab.bridge.ledger.operations.open_trees() == []
    accepted = [name for name, was in zip(pair, done, strict=True) if was]
    _each_was_done_once(lab, old, now, accepted)
    return frozenset(accepted), status


def _both(
    lab: Lab, servers: list[subprocess.Popen[str]], ref: Ref, pair: tuple[str, str], point: int
) -> tuple[bool, list[bool]]:
    """Two verbs at once: the first stops at a point while the second goes as far as it can.

    Gives whether it stopped, and for each verb whether it was accepted.
    """
    _tell(servers[0], lab, RULES[pair[0]], ref, point=point, stop=True)
    said = _said(lab, servers[0])
    stopped = said == "stopped"
    _tell(servers[1], lab, RULES[pair[1]], ref, point=NEVER, stop=False)
    other = _said(lab, servers[1])
    if stopped:
        _write(servers[0], "go on")
    return stopped, [_end(lab, servers[0], said) == "0", _end(lab, servers[1], other) == "0"]


def _end(lab: Lab, server: subprocess.Popen[str], said: str) -> str:
    """The exit status of a verb that may have stopped, or have to wait, before."""
    while said in ("stopped", "waits"):
        said = _said(lab, server)
    return said


def _each_was_done_once(lab: Lab, old: Record, now: Record, accepted: list[str]) -> None:
    """One successor for a re-run or a skip, one new execution for each from the beginning, no item twice."""
    anew = [record for record in lab.bridge.list(Filter(limit=-1)) if record.rerun_of == old.id]
    fresh = [record for record in anew if record.ref != old.ref]
    assert len(fresh) == accepted.count("from the beginning")
    opened = [name for name in accepted if name in ("re-run", "skip")]
    assert [now.rerun_of, lab.bridge.find(old.id).superseded_by] == ([old.id, now.id] if opened else ["", ""])
    assert len(opened) <= 1
    branch = next(task for task in lab.bridge.get(now.id).snapshot.nodes[0].tasks if task.name == "branch")
    assert branch.starts <= BRANCHES * (1 + opened.count("re-run"))
    assert (branch.status is TaskStatus.SKIPPED) is ("skip" in opened)


def _errored(lab: Lab) -> Record:
    record = lab.bridge.run(Definition(FLOW, "flow"), backend="local", workflow="main")
    for look in lab.bridge.watch(record.id):
        if [task.name for node in look.snapshot.nodes[1:] for task in node.tasks if task.active] == ["leaf"] * BRANCHES:
            break
    local = lab.bridge.instances.get("local")
    for seen in local.observe([record.ref.id])[record.ref.id]:
        for gate in seen.waiting:
            local.report(seen.ref.id, gate.key, TaskStatus.ERRORED, None)
    assert lab.bridge.wait(record.id, timeout=20).record.status is Status.ERRORED
    return lab.bridge.find(record.id)


def _tell(server: subprocess.Popen[str], lab: Lab, rule: Rule, ref: Ref, **how: Any) -> None:
    """Ask for a verb on the engine's execution, whichever record stands for it when the command reads its name."""
    what = {"verb": rule.verb, "id": str(ref), "tasks": rule.tasks, **how}
    _write(server, json.dumps({"ledger": str(lab.ledger), "options": lab.options, **what}))


def _write(server: subprocess.Popen[str], line: str) -> None:
    assert server.stdin is not None
    server.stdin.write(line + "\n")
    server.stdin.flush()


def _said(lab: Lab, server: subprocess.Popen[str]) -> str:
    """The next that it says: that it stopped, that it waits, or its exit status. What is handed over is driven here."""
    assert server.stdout is not None
    while not select.select([server.stdout], [], [], 0.005)[0]:
        lab.drive()
    said = server.stdout.readline().strip()
    lab.drive()
    return said
