"""Every single request of every verb, failed in every way: once, and from there on until the user gives up.

A case runs a verb and fails one of its requests. Then the verb has succeeded, or has ended with an error of the
engine (exit code 5 or 6) that says so. After that the engine is well again; the user calls `recover`, and repeats the
verb where it was not done. In the end the engine stands as it does after the verb alone: nothing was lost, nothing
done twice. Nobody waits for real.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cassettes.stage import BOOK, LINKS, Hands
from flowbridge import bridge as bridge_module
from flowbridge import carry, deadline, operate, outcome
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import Config
from flowbridge.errors import EngineError, Rejected
from flowbridge.ledger.executions import Filter
from flowbridge.model import TaskStatus
from flowbridge.outcome import Outcome
from flowbridge.plugins import Hooks
from flowbridge_mistral.backend import MistralBackend
from support.fake_mistral import FakeMistral
from support.faults import FAULTS, Line, refused
from support.wire import Heard, answer, wired

FLOW = Definition("version: '2.0'\nflow: {tasks: {t: {action: std.noop}}}\n", "flow.yaml")
LINKED = Definition("version: '2.0'\nlinked: {tasks: {t: {action: flowbridge.run target=a}}}\n", "linked.yaml")
TWO = Definition(f"{FLOW.text}other: {{tasks: {{t: {{action: std.noop}}}}}}\n", "two.yaml")
PAIR = """\
version: '2.0'
name: pair
actions:
  gate: {input: [name], base: std.async_noop}
workflows:
  both:
    tasks:
      a: {action: gate, input: {name: a}}
      b: {action: gate, input: {name: b}}
"""
ID = "11111111-1111-4111-8111-111111111111"
FOR_GOOD = 1_000_000

#: Faults that are tried without an end too. The others then differ from one of these in their words only.
LASTING = frozenset({"refused", "an_empty_object", "changed_nothing"})

#: The exit codes that a fault may end in. 3: nothing was touched (O2). 6: somebody answered, and not as Mistral does.
CODES = {fault: {0, 3, 5} for fault in FAULTS} | {"a_list": {0, 3, 5, 6}}

#: Here 6 also says that the engine took it and does not show it, and 4 that it took a definition and has none.
CODES |= {
    fault: {0, 3, 4, 5, 6} for fault in ("an_empty_object", "other_values", "other_values_within", "changed_nothing")
}

#: Faults that pass: what may be sent twice and meets one of them once is sent again, and nobody notices.
PASSING = frozenset(
    {
        "refused",
        "reset_within_the_body",
        "read_timeout",
        "answer_lost",
        "too_many",
        "too_many_for_a_while",
        "bad_gateway",
        "truncated",
    }
)

#: Verbs that start something new each time.
STARTING = frozenset({"start", "start with a definition", "re-run whole"})

#: Calls of the backend, whose effect is for their caller to see.
BLIND = frozenset({"deploy", "deploy links", "deploy new beside known", "report"})


class Clock:
    """Stands for the module `time`: sleeping moves it on, and nobody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@dataclass
class World:
    """A bridge of one user, a Mistral, the way to it, and the execution that the verb is for."""

    line: Line
    bridge: Bridge
    backend: MistralBackend
    target: str = ""

    def end(self, gate: str, state: str = "SUCCESS") -> None:
        """Somebody ends a gate."""
        hands = Hands("http://hands.example.org/v2", rest=0)
        hands.end(self.bridge.find(self.target).ref.id, gate, state)
        hands.close()

    def close(self) -> None:
        """Leave nothing behind."""
        self.bridge.close()
        self.bridge.config.ledger.unlink()

    def standing(self) -> list[Any]:
        """How the engine stands: its definitions, executions with their tasks, and what each has begun."""
        return sorted(self.line.server.workflows) + sorted(
            [
                execution.name,
                execution.state,
                [[task.name, task.state, len(task.actions), len(task.children)] for task in execution.tasks],
            ]
            for execution in self.line.server.executions.values()
        )


Act = Callable[[World], object]


def nothing(world: World) -> None:
    """No execution is needed."""


def ran(workflow: str, *gates: str) -> Act:
    """A run of the user's, with gates that somebody ended: `name` or `name=STATE`."""

    def act(world: World) -> None:
        world.target = world.bridge.run(workflow if "." in workflow else f"tape.{workflow}", backend="prod").id
        for gate in gates:
            world.end(*gate.split("="))
        world.bridge.get(world.target)

    return act


def paused(world: World) -> None:
    """A run that is paused."""
    ran("main")(world)
    world.bridge.pause(world.target)
    world.end("subtask1")
    world.bridge.get(world.target)


def left_open(world: World) -> None:
    """A pause that is open, because the engine did not answer."""
    ran("main")(world)
    world.line.fault, world.line.first, world.line.many = refused, 0, FOR_GOOD
    assert not world.bridge.pause(world.target).done
    world.line.fault = None


def report(world: World) -> None:
    """The end of what a task waits for is reported to it."""
    execution = world.bridge.find(world.target).ref.id
    for link in world.backend.observe([execution])[execution][0].waiting:
        world.backend.report(execution, link.key, TaskStatus.SUCCEEDED, "done")


def stranger(world: World) -> None:
    """An execution that somebody else started."""
    hands = Hands("http://hands.example.org/v2", rest=0)
    hands.start(ID, "main")
    hands.close()


def rerun(*tasks: str, no_reset: tuple[str, ...] = ()) -> Act:
    """A re-run from tasks."""
    return lambda world: world.bridge.rerun(world.target, RerunRequest(tasks=tasks, no_reset=no_reset))


VERBS: dict[str, tuple[Act, Act]] = {
    "start": (nothing, lambda world: world.bridge.run("tape.main", backend="prod")),
    "start with a definition": (nothing, lambda world: world.bridge.run(FLOW, backend="prod")),
    "pause": (ran("main"), lambda world: world.bridge.pause(world.target)),
    "resume": (paused, lambda world: world.bridge.resume(world.target)),
    "cancel": (ran("main"), lambda world: world.bridge.cancel(world.target)),
    "re-run whole": (ran("main", "subtask1=ERROR"), lambda world: world.bridge.rerun(world.target)),
    "re-run a task of a child": (ran("main", "subtask1=ERROR"), rerun("task1.subtask1")),
    "re-run a task with a child": (ran("main", "subtask1=ERROR"), rerun("task1")),
    "re-run two tasks": (ran("pair.both", "a=ERROR", "b=ERROR"), rerun("a", "b")),
    "re-run several tasks": (ran("children", "subtask1=ERROR", "subtask1=ERROR"), rerun("each.subtask1")),
    "re-run failed items": (ran("items", "a", "b=ERROR", "c=ERROR"), rerun("each", no_reset=("each",))),
    "skip": (ran("skippable", "first=ERROR"), lambda world: world.bridge.skip(world.target, ["first"])),
    "observe": (ran("children"), lambda world: world.bridge.get(world.target)),
    "read": (ran("items", "a", "b=ERROR", "c"), lambda world: world.bridge.read(world.target)),
    "read children": (ran("children"), lambda world: world.bridge.read(world.target)),
    "list": (ran("main"), lambda world: world.bridge.list(Filter())),
    "list at the engine": (ran("main"), lambda world: list(world.backend.list_executions(limit=10))),
    "validate": (nothing, lambda world: world.backend.validate(FLOW)),
    "deploy": (nothing, lambda world: world.backend.deploy(FLOW)),
    "deploy links": (lambda world: world.line.server.adhoc.clear(), lambda world: world.backend.deploy(LINKED)),
    "deploy new beside known": (lambda world: world.backend.deploy(FLOW), lambda world: world.backend.deploy(TWO)),
    "recover": (left_open, lambda world: world.bridge.recover(world.target)),
    "report": (ran("away.one"), report),
    "adopt": (stranger, lambda world: world.bridge.find(f"prod:{ID}")),
    "check": (nothing, lambda world: world.backend.check()),
}


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    def waits(seconds: float) -> NoReturn:
        raise AssertionError(f"somebody wanted to wait {seconds} s for real")

    for module in (carry, operate, outcome, deadline, bridge_module):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(time, "sleep", waits)
    # The HTTP library looks through the whole environment for proxies, at each of thousands of requests.
    monkeypatch.setattr("requests.sessions.get_environ_proxies", lambda url, no_proxy=None: {})
    return clock


class Worlds:
    """Worlds in which a verb's preparations are made; each is made once and then copied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._hooks = Hooks(())
        self._ready: dict[str, tuple[FakeMistral, Path, str]] = {}

    def get(self, verb: str, clock: Clock) -> World:
        """A fresh one for a verb."""
        if verb not in self._ready:
            world = self._open(FakeMistral(), self._path(), clock)
            with at(world):
                world.backend.deploy(Definition(BOOK))
                world.backend.deploy(Definition(PAIR))
                world.backend.deploy(Definition(LINKS))
                VERBS[verb][0](world)
            world.bridge.close()
            self._ready[verb] = (world.line.server, world.bridge.config.ledger, world.target)
        server, ledger, target = self._ready[verb]
        path = self._path()
        shutil.copyfile(ledger, path)
        world = self._open(copy.deepcopy(server), path, clock)
        world.target = target
        return world

    def _path(self) -> Path:
        self._count += 1
        return self._folder / f"{self._count}.db"

    def _open(self, server: FakeMistral, ledger: Path, clock: Clock) -> World:
        backend = MistralBackend("prod", {"url": "http://prod.example.org/v2"})
        backend._client._sleep = clock.sleep
        bridge = Bridge(Config(ledger=ledger, actor="me"), backends=[backend], durable=False)
        bridge._observers._hooks = self._hooks
        return World(Line(server), bridge, backend)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("worlds"))


def at(world: World) -> Any:
    """The world's Mistral answers, over its line and to the hands behind the scenes."""
    return wired(prod=world.line, hands=lambda heard: answer(world.line.server, heard))


@dataclass
class Healthy:
    """What a verb does when nothing fails: the requests it makes, and how the engine stands after it."""

    requests: Sequence[tuple[Heard, int]]
    standing: list[Any]


@pytest.fixture(scope="module")
def healthy(worlds: Worlds) -> Callable[[str, Clock], Healthy]:
    @cache
    def ask(verb: str, clock: Clock) -> Healthy:
        world = worlds.get(verb, clock)
        with at(world):
            assert_done(VERBS[verb][1](world))
        world.close()
        return Healthy(world.line.heard, world.standing())

    return ask


def assert_done(came: object) -> None:
    assert not isinstance(came, Outcome) or came.done, came


def repeatable(heard: Heard) -> bool:
    """Whether a second request of this kind does nothing new."""
    collection = heard.path.partition("/")[0]
    if heard.method == "PUT" and collection == "executions":
        return "RUNNING" not in heard.body
    return heard.method == "GET" or collection in ("executions", "action_executions")


@dataclass
class Case:
    """A world with a fault in it, what the verb does without, the exit codes it may end in, and words for a person."""

    world: World
    well: Healthy
    codes: set[int]
    words: str


def cases(verb: str, fault: str, worlds: Worlds, healthy: Any, clock: Clock) -> Iterator[Case]:
    """Every request of a verb with a fault in its place: once, and for good where that makes a difference."""
    well = healthy(verb, clock)
    for many in (1, FOR_GOOD) if fault in LASTING else (1,):
        for first, (heard, status) in enumerate(well.requests, 1):
            if fault == "changed_nothing" and heard.method == "GET":
                continue
            world = worlds.get(verb, clock)
            world.line.fault, world.line.first, world.line.many = FAULTS[fault], first, many
            with at(world):
                often = "once" if many == 1 else "and all after it"
                passes = fault in PASSING and many == 1 and repeatable(heard) and status < 300
                codes = {0} if passes else CODES[fault]
                yield Case(world, well, codes, f"{fault} at {first}, {heard.method} {heard.path}, {often}")
            world.close()


def tried(verb: str, world: World) -> tuple[int, str]:
    """The exit code that a verb ends with, and its words. Only errors of an engine are expected.

    What says that nothing was done has done nothing (O2).
    """
    before = world.standing()
    try:
        came = VERBS[verb][1](world)
    except EngineError as error:
        refused = "nothing was done" in error.message
        return error.exit_code if not refused or world.standing() == before else -1, error.message
    if isinstance(came, Outcome):
        return came.exit_code, "; ".join(came.not_done.values())
    if verb == "recover" and world.bridge.ledger.operations.open_trees():
        return 5, "prod: unfinished"
    return 0, ""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_ends_in_a_clear_error_and_what_it_left_is_finished_once(
    verb: str, fault: str, worlds: Worlds, healthy: Any, nobody_waits: Clock
) -> None:
    for case in cases(verb, fault, worlds, healthy, nobody_waits):
        world = case.world
        code, words = tried(verb, world)
        assert code in case.codes, (case.words, code, words)
        assert code == 0 or "prod" in words or "Mistral" in words, (case.words, words)
        world.line.fault = None
        if code or verb in BLIND:
            world.bridge.recover()
            repeated(verb, world, case.well)
        assert not world.bridge.ledger.operations.open_trees(), case.words
        assert world.standing() == case.well.standing, (case.words, code, words)


def repeated(verb: str, world: World, well: Healthy) -> None:
    """The user repeats a verb that `recover` has not finished, and any that starts nothing new."""
    if verb in STARTING and world.standing() == well.standing:
        return
    try:
        assert_done(VERBS[verb][1](world))
    except Rejected:
        return  # how the engine stands is looked at next
