"""A tree over a real Mistral, the reference engine and a chain, whoever looks after it killed at any point (O3).

The root is on the Mistral, below it is a workflow on the reference engine, below that a chain; runners and commands
are processes. A process that carries out a verb, or an agent, is killed before or behind a commit of the ledger, a call
to an engine or the start of a runner. Points spread over all of them are tried; `FLOWBRIDGE_TEST_ALL_POINTS=1` tries
each.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from actionchain.runkit import Gate
from crash.points import DIED, around, doomed, in_child
from flowbridge import config as configuration
from flowbridge.agent import Agent
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.detached import Detached
from flowbridge.drivers import AGENT
from flowbridge.law.tables import TERMINAL
from flowbridge.looks import Look
from flowbridge.model import Record, Status, Verb
from flowbridge_mistral.backend import MistralBackend
from live.three_engines import chain, flow, put_into, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(3600)]

ALL = bool(os.environ.get("FLOWBRIDGE_TEST_ALL_POINTS"))
SAMPLE = 3
NEVER = 10**9
PATIENCE = 60.0

PAUSED = frozenset({Status.PAUSING, Status.PAUSED})
CANCELED = frozenset({Status.CANCELING, Status.CANCELED})
MESSAGE = {"message": "<% $.message %>"}
ROOT = flow(
    "main",
    {"one": {"action": "ours.mid", "input": MESSAGE, "on-success": ["behind"]}, "behind": {"action": "std.noop"}},
)
MID = flow("ours.mid", {"u": {"action": "ours.leaf", "input": MESSAGE}})
LEAF = chain(
    {
        "name": "first",
        "ref": "core.local",
        "parameters": {"cmd": "cd {{message}}; echo first >> log; read word < gate; test ! -e broken", "timeout": 300},
    },
    {"name": "second", "ref": "core.local", "parameters": {"cmd": "echo second >> {{message}}/log"}},
)


@dataclass(frozen=True)
class Tree:
    """One tree: its root's first record, the place of its files, and the gate that its first command waits at."""

    id: str
    folder: Path
    gate: Gate

    def said(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []


class Shop:
    """One ledger and its configuration, which every process finds; and a bridge of the test's own, which lives."""

    def __init__(self, folder: Path, url: str, **more: object) -> None:
        self.folder = folder
        put_into(folder / "packs", "mid", "mistral-v2", MID)
        put_into(folder / "packs", "leaf", "action-chain", LEAF)
        config = {
            "ledger": str(folder / "ledger.db"),
            "catalog": {"packs": [str(folder / "packs")], "workflows": "memory"},
            "backends": {"mistral": {"type": "mistral", "url": url, **more}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.bridge = self.open()
        self._gates: list[Gate] = []

    def open(self) -> Bridge:
        """A bridge of another process; nobody else drives its trees."""
        config = configuration.load({"FLOWBRIDGE_CONFIG": str(self.folder / "config.yaml"), "FLOWBRIDGE_ACTOR": "ada"})
        return Bridge(config, drive=lambda _: None, durable=False)

    def place(self) -> Tree:
        """The files of a tree that is not started yet, and so has no id."""
        place = self.folder / f"tree{len(self._gates)}"
        place.mkdir()
        gate = Gate(place / "gate")
        self._gates.append(gate)
        return Tree("", place, gate)

    def run(self, bridge: Bridge, tree: Tree) -> str:
        """Start its root; gives the record's id."""
        return bridge.run(Definition(ROOT, "main.yaml"), {"message": str(tree.folder)}, backend="mistral").id

    def start(self) -> Tree:
        """A tree of which nothing but its root was started."""
        tree = self.place()
        return replace(tree, id=self.run(self.bridge, tree))

    def gated(self) -> Tree:
        """One whose first command is at work."""
        tree = self.start()

        def at_work() -> list[str]:
            self.bridge.get(tree.id)  # which takes the tree on
            return tree.said()

        until(at_work, "the command that a gate keeps", PATIENCE)
        return tree

    def paused(self) -> Tree:
        tree = self.gated()
        self.bridge.pause(tree.id)
        tree.gate.open()
        self.bridge.wait(tree.id, timeout=PATIENCE, until=frozenset({Status.PAUSED}))
        return tree

    def errored(self) -> Tree:
        tree = self.start()
        (tree.folder / "broken").touch()
        tree.gate.open()
        assert self.bridge.wait(tree.id, timeout=PATIENCE).record.status is Status.ERRORED
        (tree.folder / "broken").unlink()
        return tree

    def newest(self, tree: Tree) -> Record:
        record = self.bridge.find(tree.id)
        while record.superseded_by:
            record = self.bridge.find(record.superseded_by)
        return record

    def close(self) -> None:
        for gate in self._gates:
            gate.close()
        self.bridge.close()


@pytest.fixture(scope="module")
def shop(mistral_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("survive"), mistral_url)
    yield made
    made.close()


# What is killed


def verb(name: Verb, *tasks: str) -> Callable[[Bridge, Tree], object]:
    return lambda bridge, tree: bridge.operate(name, tree.id, request=RerunRequest(tasks or None), timeout=PATIENCE)


def agent(shop: Shop) -> Callable[[Bridge, Tree], object]:
    """An agent that goes on until the tree has ended."""

    def run(bridge: Bridge, tree: Tree) -> None:
        stop = threading.Event()

        def tell(_: object) -> None:
            if bridge.known(bridge.find(tree.id).tree).nodes[0].record.status in TERMINAL:
                stop.set()

        Agent(shop.open, interval=0.05).run(stop, tell)

    return run


@contextmanager
def agent_beside(shop: Shop) -> Iterator[None]:
    """An agent in a process of its own meanwhile, which nobody kills: told to stop it ends, and leaves no lease."""
    pid = os.fork()
    if pid == 0:
        status, stop = 1, threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        try:
            Agent(shop.open, interval=0.05).run(stop)
            status = 0
        finally:
            os._exit(status)
    try:
        until(lambda: shop.bridge.ledger.leases.holders(AGENT), "the agent", PATIENCE)
        yield
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    held = shop.bridge.ledger.database.all("SELECT name FROM leases WHERE pid = ?", (pid,))
    assert held == []


def killed(shop: Shop, tree: Tree, act: Callable[[Bridge, Tree], object], point: int) -> int:
    """Carry something out in a process that dies at a point; gives how many points it passed, -1 where it died."""
    passed = shop.folder / "passed"

    def work() -> None:
        counter = doomed(point, MistralBackend)
        Detached.start = around(Detached.start, counter)  # type: ignore[method-assign]
        with shop.open() as bridge:
            act(bridge, tree)
        passed.write_text(str(counter.passed))

    status = in_child(work)
    assert status in (0, DIED)
    return int(passed.read_text()) if status == 0 else -1


def points(count: int) -> Sequence[int]:
    """The points to die at, of so many."""
    return range(count) if ALL else [count * (2 * place + 1) // (2 * SAMPLE) for place in range(SAMPLE)]


def at_every_point(
    shop: Shop,
    prepared: Callable[[], Tree],
    act: Callable[[Bridge, Tree], object],
    check: Callable[[Tree], object],
) -> None:
    def tried(point: int) -> int:
        tree = prepared()
        passed = killed(shop, tree, act, point)
        with told(shop, tree, f"killed at point {point}"):
            check(tree)
        return passed

    count = tried(NEVER)
    assert count > 10
    for point in points(count):
        tried(point)


@contextmanager
def told(shop: Shop, tree: Tree, when: str) -> Iterator[None]:
    """Where what is inside fails, it is said when that was, and where the tree and its leases stood then."""
    try:
        yield
    except Exception as error:
        nodes = shop.bridge.known(shop.newest(tree).tree).nodes if tree.id else ()
        error.add_note(f"{when}, of {tree.folder.name}; its commands said {tree.said()}")
        for node in nodes:
            error.add_note(f"{node.record} waits for {node.waiting}, has {node.tasks}")
        for lease in shop.bridge.ledger.database.all("SELECT * FROM leases"):
            error.add_note(f"lease {lease}")
        raise


# Where the law says that the tree then is


def begun(shop: Shop, tree: Tree, name: Verb) -> bool:
    return any(entry.kind == "operation" and entry.doc["verb"] == name for entry in shop.bridge.history(tree.id))


def finished(shop: Shop, tree: Tree, name: Verb, *tasks: str) -> Look:
    """The next process finishes what was begun, or begins; nothing is open then, and each level is there once."""
    record = shop.newest(tree)
    if begun(shop, tree, name):
        shop.bridge.recover(record.id, timeout=PATIENCE)
    else:
        verb(name, *tasks)(shop.bridge, tree)
    record = shop.newest(tree)
    assert shop.bridge.ledger.operations.open(record.tree) == []
    return shop.bridge.get(record.id)


def ended(shop: Shop, tree: Tree, status: Status, *said: str, starts: int = 1) -> None:
    """It goes to its end with each action run once, and nothing is started or told twice."""
    look = shop.bridge.wait(shop.newest(tree).id, timeout=PATIENCE)
    for _ in range(2):  # what follows from the end of what is above
        look = shop.bridge.get(look.record.id)
    nodes = look.snapshot.nodes
    assert [node.record.ref.backend for node in nodes] == ["mistral", "memory", "actionchain"]
    assert {node.record.status for node in nodes} == {status}
    assert tree.said() == list(said)
    waits = [task.starts for node in nodes for task in node.tasks if task.name in ("one", "u")]
    assert waits == [starts, starts]
    runs = "SELECT count(DISTINCT root) FROM rows WHERE root IN (?, ?)"
    assert shop.bridge.ledger.database.one(runs, [str(node.record.ref) for node in nodes[1:]])[0] == 2
    assert not [entry for entry in shop.bridge.history(tree.id) if entry.kind == "trouble"]


def test_O3_an_agent_killed_at_any_point_starts_and_tells_each_child_once(shop: Shop) -> None:
    def prepared() -> Tree:
        tree = shop.start()
        tree.gate.open()
        return tree

    at_every_point(shop, prepared, agent(shop), lambda tree: ended(shop, tree, Status.SUCCEEDED, "first", "second"))


def test_O3_of_two_agents_one_killed_at_any_point_starts_and_tells_each_child_once(shop: Shop) -> None:
    def prepared() -> Tree:
        tree = shop.start()
        tree.gate.open()
        return tree

    with agent_beside(shop):
        at_every_point(shop, prepared, agent(shop), lambda tree: ended(shop, tree, Status.SUCCEEDED, "first", "second"))


def test_O3_a_pause_killed_at_any_point_pauses_all_three_levels(shop: Shop) -> None:
    def check(tree: Tree) -> None:
        look = finished(shop, tree, Verb.PAUSE)
        assert {node.record.status for node in look.snapshot.nodes} <= PAUSED
        tree.gate.open()
        shop.bridge.wait(tree.id, timeout=PATIENCE, until=frozenset({Status.PAUSED}))
        assert tree.said() == ["first"]
        shop.bridge.resume(tree.id, timeout=PATIENCE)
        ended(shop, tree, Status.SUCCEEDED, "first", "second")

    at_every_point(shop, shop.gated, verb(Verb.PAUSE), check)


def test_O3_a_resume_killed_at_any_point_takes_all_three_levels_on(shop: Shop) -> None:
    def check(tree: Tree) -> None:
        finished(shop, tree, Verb.RESUME)
        ended(shop, tree, Status.SUCCEEDED, "first", "second")

    at_every_point(shop, shop.paused, verb(Verb.RESUME), check)


def test_O3_a_cancel_killed_at_any_point_cancels_all_three_levels(shop: Shop) -> None:
    def check(tree: Tree) -> None:
        look = finished(shop, tree, Verb.CANCEL)
        assert {node.record.status for node in look.snapshot.nodes} <= CANCELED
        tree.gate.open()
        ended(shop, tree, Status.CANCELED, "first")

    at_every_point(shop, shop.gated, verb(Verb.CANCEL), check)


def test_X7_a_re_run_of_the_deepest_task_killed_at_any_point_runs_it_once_more(shop: Shop) -> None:
    deepest = ("one.u.first",)

    def check(tree: Tree) -> None:
        tree.gate.open()
        finished(shop, tree, Verb.RERUN, *deepest)
        ended(shop, tree, Status.SUCCEEDED, "first", "first", "second", starts=2)
        nodes = shop.bridge.get(shop.newest(tree).id).snapshot.nodes
        assert all(node.record.rerun_of for node in nodes)

    at_every_point(shop, shop.errored, verb(Verb.RERUN, *deepest), check)


def test_K1_a_skip_of_the_deepest_task_killed_at_any_point_goes_on_behind_it_once(shop: Shop) -> None:
    deepest = ("one.u.first",)

    def check(tree: Tree) -> None:
        finished(shop, tree, Verb.SKIP, *deepest)
        ended(shop, tree, Status.SUCCEEDED, "first", "second", starts=2)

    at_every_point(shop, shop.errored, verb(Verb.SKIP, *deepest), check)


def test_O3_a_start_killed_at_any_point_starts_each_level_once_or_nothing(shop: Shop) -> None:
    before = shop.bridge.list_engine("mistral", limit=1000)  # the server is everybody's
    seen = {record.id for _, record in before if record}
    strangers = {listed.ref for listed, record in before if not record}

    def prepared() -> Tree:
        tree = shop.place()
        tree.gate.open()
        return tree

    def check(tree: Tree) -> None:
        shop.bridge.recover(timeout=PATIENCE)
        found = shop.bridge.list_engine("mistral", limit=1000)
        there = [record for listed, record in found if listed.ref not in strangers]
        assert all(there), "something was started that nobody wrote down"
        started = [record for record in there if record and not record.superseded_by and record.id not in seen]
        seen.update(record.id for record in started)
        assert len(started) <= 1
        for record in started:
            ended(shop, replace(tree, id=record.id), Status.SUCCEEDED, "first", "second")

    at_every_point(shop, prepared, shop.run, check)
