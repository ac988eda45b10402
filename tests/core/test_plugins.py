"""Plugins: found by their entry points, loaded one by one, and never able to take a command down."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Generator
from importlib.metadata import entry_points
from pathlib import Path

import pluggy
import pytest

from core.kit import Desk, family, in_child, one, told
from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.errors import InvalidInput, Rejected
from flowbridge.hookspecs import hookimpl
from flowbridge.instances import Instances
from flowbridge.ledger.executions import Filter
from flowbridge.model import EngineState
from flowbridge.plugins import BACKENDS, COMMANDS, HOOKS, Hooks, load_backend, load_command, survey

Plant = Callable[..., None]

FREEZE = """
from flowbridge import hookimpl
@hookimpl
def flowbridge_before_operation(operation, plan):
    return f"no {operation.verb} in the freeze" if operation.verb == "pause" else None
"""
BROKEN_VETO = """
from flowbridge import hookimpl
@hookimpl
def flowbridge_before_operation(operation, plan):
    raise RuntimeError("the calendar is not there\\nand more")
"""
OBSERVER = """
import json, os
from flowbridge import hookimpl
def tell(*what):
    if os.environ.get("DIE") == what[0]:
        os._exit(9)
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(what) + chr(10))
@hookimpl
def flowbridge_status_changed(execution, old, new, number):
    tell("status", number, execution.id, old, new)
@hookimpl
def flowbridge_after_operation(operation):
    tell("after", operation.id, operation.verb, operation.state, operation.outcome)
"""
CHANGES = """
import json, os
from flowbridge import hookimpl
@hookimpl
def flowbridge_status_changed(execution, change):
    operation = change.operation and [change.operation.id, change.operation.verb, change.operation.reason]
    with open(os.environ["SEEN"], "a") as file:
        told = [execution.id, change.at > 0, change.actor, operation, change.engine_state, change.parent]
        file.write(json.dumps(told) + chr(10))
"""
FAILING_OBSERVER = """
from flowbridge import hookimpl
@hookimpl
def flowbridge_status_changed(execution):
    raise KeyError("observer")
"""
FINDER = """
from flowbridge import Definition, hookimpl
@hookimpl
def flowbridge_resolve(ref):
    return Definition("flow", "the catalog") if ref == "pack.flow" else None
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Install a distribution with one module and one entry point, as a package manager would."""

    def install(name: str, source: str, group: str = HOOKS, target: str = "", dist: str = "") -> None:
        site = tmp_path / f"site-{dist or name}"
        module = f"planted_{dist or name}_{tmp_path.name}".replace("-", "_")
        info = site / f"{dist or name}-1.2.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist or name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}{target}\n")
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()

    return install


def planted(hooks: Hooks) -> list[str]:
    """The plugins that are loaded, without those that come with flowbridge."""
    own = {
        point.name for point in entry_points(group=HOOKS) if point.dist is not None and point.dist.name == "flowbridge"
    }
    return [name for name, _ in hooks._manager.list_name_plugin() if name not in own]


# Loading


def test_a_hook_plugin_that_does_not_load_is_named_and_the_others_work(plant: Plant) -> None:
    plant("bad", "1 / 0\n")
    plant("gone", "", target=":missing")
    plant("quits", "raise SystemExit(3)\n")
    plant("stops", "raise KeyboardInterrupt\n")
    plant("idle", "flowbridge_before_operation = None\n")
    plant("good", FREEZE)
    hooks = Hooks()
    assert {plugin.name: plugin.problem for plugin in hooks.broken} == {
        "bad": "ZeroDivisionError: division by zero",
        "gone": hooks.broken[1].problem,
        "idle": "ValueError: it implements no hook of flowbridge",
        "quits": "SystemExit: 3",
        "stops": "KeyboardInterrupt",
    }
    assert "missing" in hooks.broken[1].problem
    assert (hooks.broken[0].distribution, hooks.broken[0].version) == ("bad", "1.2")
    assert planted(hooks) == ["good"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (FREEZE.replace("(operation, plan)", "(operation, plan, more)"), "Argument(s) {'more'} are declared"),
        (FREEZE.replace("flowbridge_before_operation", "flowbridge_before_everything"), "flowbridge_before_everything"),
    ],
)
def test_a_plugin_that_pluggy_rejects_is_unregistered(plant: Plant, source: str, says: str) -> None:
    plant("odd", source)
    plant("watcher", OBSERVER)
    hooks = Hooks()
    assert [plugin.name for plugin in hooks.broken] == ["odd"]
    assert planted(hooks) == ["watcher"]
    assert says in hooks.broken[0].problem
    assert "\n" not in hooks.broken[0].problem


def test_of_two_plugins_of_one_name_the_first_stays_and_the_second_is_named(plant: Plant) -> None:
    plant("freeze", FREEZE, dist="ours")
    plant("freeze", OBSERVER, dist="theirs")
    hooks = Hooks()
    assert len(hooks.broken) == 1
    assert len(planted(hooks)) == 1
    assert hooks._manager.get_plugin("freeze") is not None


CTRL_C = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n"


@pytest.mark.parametrize("group", [HOOKS, BACKENDS, COMMANDS])
def test_ctrl_c_while_a_plugin_is_imported_is_the_users_and_no_fault_of_the_plugin(plant: Plant, group: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    plant("slow", CTRL_C, group=group)
    with pytest.raises(KeyboardInterrupt):
        survey()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("end", ["raise KeyboardInterrupt", "raise SystemExit(0)"])
def test_a_veto_hook_that_would_end_the_process_is_a_veto(plant: Plant, desk: Desk, flow: Bridge, end: str) -> None:
    plant("odd", BROKEN_VETO.replace('raise RuntimeError("the calendar is not there\\nand more")', end))
    root, _, _ = family(desk)
    with pytest.raises(Rejected, match=r"vetoed: plugin odd failed: (KeyboardInterrupt|SystemExit)"):
        flow.pause(root.id)


def test_an_entry_point_of_another_kind_is_named_as_broken(plant: Plant) -> None:
    plant("number", "it = 1\n", group=BACKENDS, target=":it")
    plant("thing", "class Thing: ...\n", group=BACKENDS, target=":Thing")
    plant("speak", "it = 1\n", group=COMMANDS, target=":it")
    found = {plugin.name: plugin.problem for plugin in survey(lambda loaded: f"{loaded!r} is no command")}
    assert found["number"] == "not a Backend, but of type int"
    assert found["thing"] == "not a Backend, but the class Thing"
    assert found["speak"] == "1 is no command"
    with pytest.raises(InvalidInput, match=r"'thing' .* does not load: not a Backend, but the class Thing"):
        load_backend("thing")


def test_every_plugin_of_every_kind_is_listed_with_where_it_comes_from(plant: Plant) -> None:
    plant("bad", "1 / 0\n", group=BACKENDS)
    plant("speak", "def speak(): ...\n", group=COMMANDS, target=":speak")
    plant("odd", FREEZE.replace("_operation", "_everything"))
    found = {(plugin.group, plugin.name): plugin for plugin in survey()}
    assert found[BACKENDS, "bad"].problem == "ZeroDivisionError: division by zero"
    assert not found[COMMANDS, "speak"].problem
    assert (found[COMMANDS, "speak"].distribution, found[COMMANDS, "speak"].version) == ("speak", "1.2")
    assert "flowbridge_before_everything" in found[HOOKS, "odd"].problem
    assert not found[BACKENDS, "memory"].problem


def test_a_command_is_loaded_when_it_is_called(plant: Plant, tmp_path: Path) -> None:
    plant("speak", "def speak(): return 7\n", group=COMMANDS, target=":speak")
    plant("bad", "1 / 0\n", group=COMMANDS)
    loaded, problem = load_command("speak")
    assert (loaded(), problem) == (7, "")
    assert load_command("none") == (None, "")
    assert "does not load: ZeroDivisionError" in load_command("bad")[1]
    assert f"planted_bad_{tmp_path.name}" not in sys.modules


# Backend types


def test_an_unknown_backend_type_is_refused_and_the_installed_ones_are_listed() -> None:
    with pytest.raises(InvalidInput, match=r"no backend type 'nope'; installed are: .*memory, mistral"):
        load_backend("nope")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Bad = 3", "not a Backend"),
        ("class Bad: ...", "not a Backend"),
        ("", "AttributeError: "),
    ],
)
def test_a_broken_backend_type_is_named_with_the_reason(plant: Plant, source: str, problem: str) -> None:
    plant("bad", source + "\n", group=BACKENDS, target=":Bad")
    with pytest.raises(InvalidInput, match=f"backend type 'bad' .* does not load: {problem}"):
        load_backend("bad")


RAISING = """
from support.fakes import FakeEngine
class Bad(FakeEngine):
    type = "bad"
    def __init__(self, name, options):
        raise KeyError("url")
    @classmethod
    def implicit(cls, environ):
        raise OSError("no home")
"""


def test_a_backend_type_that_raises_takes_nothing_else_down(plant: Plant, tmp_path: Path) -> None:
    plant("bad", RAISING, group=BACKENDS, target=":Bad")
    instances = Instances(Config(ledger=tmp_path / "l.db", backends={"prod": {"type": "bad"}}), {})
    assert instances.names() == ["actionchain", "memory", "prod"]
    assert instances.facts(["prod"])["prod"].verbs == frozenset()
    with pytest.raises(InvalidInput, match=r"backend 'prod' \(type bad\) cannot be used: KeyError: 'url'"):
        instances.get("prod")
    with pytest.raises(InvalidInput, match=r"no backend 'bad': .*; there are: actionchain, memory, prod"):
        instances.get("bad")


def test_a_tree_of_an_instance_that_is_gone_from_the_configuration_is_shown_as_last_seen(
    flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    with Bridge(Config(ledger=desk.ledger, actor="me"), durable=False) as later:
        look = later.get(record.id)
    assert look.record.status == "running"
    assert "there is no backend 'fake'" in look.silent["fake"]


# Vetoes


def test_a_veto_rejects_before_anything_is_sent_and_is_kept_in_the_history(
    plant: Plant, flow: Bridge, desk: Desk
) -> None:
    plant("freeze", FREEZE)
    record = one(desk)
    with pytest.raises(Rejected, match=r"vetoed: no pause in the freeze \(plugin freeze\)") as caught:
        flow.pause(record.id)
    assert (caught.value.exit_code, caught.value.reason) == (3, "vetoed")
    assert desk.engine.sent() == []
    assert flow.get(record.id).record.want == "run"
    assert [entry.doc.get("state") for entry in told(flow)] == [None, "rejected"]
    assert flow.cancel(record.id).done


def test_a_veto_hook_that_raises_is_a_veto(plant: Plant, flow: Bridge, desk: Desk) -> None:
    plant("calendar", BROKEN_VETO)
    record = one(desk)
    with pytest.raises(Rejected, match=r"plugin calendar failed: RuntimeError: the calendar is not there$"):
        flow.pause(record.id)
    with pytest.raises(Rejected, match="plugin calendar failed"):
        flow.run(Definition("flow"), backend="fake")
    assert desk.engine.sent() == []
    assert len(flow.list(Filter())) == 1


@pytest.mark.parametrize("source", [None, "1 / 0\n", FREEZE.replace("_operation", "_everything")])
def test_a_required_plugin_that_is_missing_or_broken_is_a_veto(plant: Plant, desk: Desk, source: str | None) -> None:
    if source is not None:
        plant("freeze", source)
    one(desk)
    bridge = desk.open(required_plugins=("freeze",))
    with pytest.raises(Rejected, match="required plugin freeze is not loaded"):
        bridge.cancel("fake:e0")
    assert desk.engine.sent() == []


def test_a_required_plugin_that_loads_is_asked(plant: Plant, desk: Desk) -> None:
    plant("freeze", FREEZE)
    one(desk)
    bridge = desk.open(required_plugins=("freeze",))
    with pytest.raises(Rejected, match="no pause in the freeze"):
        bridge.pause("fake:e0")
    assert bridge.cancel("fake:e0").done


def test_a_veto_does_not_apply_to_what_follows_from_an_accepted_operation(
    plant: Plant, flow: Bridge, desk: Desk
) -> None:
    record = one(desk)
    desk.engine.silent = {"pause"}
    assert flow.pause(record.id, timeout=0).exit_code == 5
    plant("freeze", FREEZE)
    desk.engine.silent = set()
    desk.open().recover(record.id)
    assert desk.engine.has["e0"].state is EngineState.PAUSED


# Observers


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[object]]]:
    """What the observer was told so far."""
    file = tmp_path / "seen"
    file.touch()
    monkeypatch.setenv("SEEN", str(file))
    return lambda: [json.loads(line) for line in file.read_text().splitlines()]


def test_observers_are_told_of_every_status_and_of_every_operation(
    plant: Plant, flow: Bridge, desk: Desk, seen: Callable[[], list[list[object]]]
) -> None:
    plant("watcher", OBSERVER)
    assert flow.hooks.observers == ["watcher"]
    record = one(desk)
    flow.pause(record.id)
    desk.engine.has["e0"].set("t0", active=False)
    with pytest.raises(Rejected):
        flow.pause(record.id)
    statuses = [line for line in seen() if line[0] == "status"]
    assert [line[2:] for line in statuses] == [
        [record.id, "requested", "running"],
        [record.id, "running", "pausing"],
        [record.id, "pausing", "paused"],
    ]
    numbers = [line[1] for line in statuses]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert [line[2:4] for line in seen() if line[0] == "after"] == [["pause", "done"], ["pause", "rejected"]]


def test_an_observer_learns_who_changed_a_status_by_which_verb_and_what_the_engine_says(
    plant: Plant, flow: Bridge, desk: Desk, seen: Callable[[], list[list[object]]]
) -> None:
    plant("watcher", CHANGES)
    root, child, _ = family(desk)
    told = flow.pause(child.id, reason="a look")
    desk.engine.has["e1"].tasks = []
    flow.wait(child.id, timeout=5)
    pause = [told.operation, "pause", "a look"]
    changes = seen()
    assert [root.id, True, "me", pause, "RUNNING", ""] in changes
    assert [child.id, True, "me", pause, "RUNNING", root.id] in changes
    assert [child.id, True, "engine", None, "PAUSED", root.id] in changes


def test_an_observer_that_raises_is_named_and_the_others_are_told(
    plant: Plant, flow: Bridge, desk: Desk, seen: Callable[[], list[list[object]]]
) -> None:
    plant("zz-fails", FAILING_OBSERVER)
    plant("watcher", OBSERVER)
    record = one(desk)
    assert flow.pause(record.id).done
    assert flow.hooks.problems
    assert "plugin zz-fails: flowbridge_status_changed failed: KeyError: 'observer'" in flow.hooks.problems
    assert [line[0] for line in seen()].count("after") == 1


@pytest.mark.parametrize("moment", ["status", "after"])
def test_observers_are_told_at_least_once_across_a_crash_with_the_same_number(
    moment: str,
    plant: Plant,
    desk: Desk,
    seen: Callable[[], list[list[object]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant("watcher", OBSERVER)
    record = one(desk)
    desk.close()
    desk.bridges.clear()
    monkeypatch.setenv("DIE", moment)
    assert in_child(lambda: desk.open().pause(record.id)) == 9
    monkeypatch.delenv("DIE")
    desk.engine.has["e0"].go(EngineState.PAUSED)  # what the child's engine was told
    later = desk.open()
    with pytest.raises(Rejected):
        later.pause(record.id)
    assert [line[3] for line in seen() if line[0] == "after"] == ["done", "rejected"]
    changes = [line[3:] for line in seen() if line[0] == "status"]
    assert ["running", "pausing"] in changes
    with pytest.raises(Rejected):
        later.pause(record.id)
    assert [line[3:] for line in seen() if line[0] == "status"] == changes


def test_an_observer_installed_after_a_prune_takes_no_command_down(
    plant: Plant, flow: Bridge, desk: Desk, seen: Callable[[], list[list[object]]]
) -> None:
    record = one(desk)
    desk.engine.has["e0"].tasks = []
    desk.engine.has["e0"].go(EngineState.SUCCEEDED)
    flow.get(record.id)
    assert flow.prune(float("inf")) == 1
    plant("watcher", OBSERVER)
    second = one(desk, id="f0")
    assert desk.open().pause(second.id).done
    assert second.id in {line[2] for line in seen()}


# Resolving


def test_a_name_is_resolved_by_the_plugin_that_knows_it(plant: Plant, flow: Bridge, desk: Desk) -> None:
    plant("catalog", FINDER)
    flow.run("pack.flow", backend="fake")
    assert [name for name, _ in desk.engine.requests if name != "observe"] == ["validate", "start"]
    flow.run("flow", backend="fake")
    assert desk.engine.count()["validate"] == 1


SHELF = """
from flowbridge import CatalogEntry, hookimpl
@hookimpl
def flowbridge_catalog(ref, config):
    names = ["pack.flow", "pack.other"]
    return [CatalogEntry(name, description=str(config.ledger)) for name in names if ref in ("", name)]
"""


def test_a_plugin_tells_what_there_is_by_name_or_of_one_name(plant: Plant, flow: Bridge) -> None:
    plant("shelf", SHELF)
    mine = [entry for entry in flow.catalog() if entry.ref.startswith("pack.")]
    assert [entry.ref for entry in mine] == ["pack.flow", "pack.other"]
    assert {entry.description for entry in mine} == {str(flow.config.ledger)}
    assert [entry.ref for entry in flow.catalog("pack.other")] == ["pack.other"]


LOST = """
from flowbridge import hookimpl
@hookimpl
def flowbridge_resolve(ref):
    raise OSError("the shelf is gone")
"""


def test_a_resolver_that_raises_is_named_and_the_next_one_is_asked(plant: Plant, flow: Bridge, desk: Desk) -> None:
    plant("a_lost_one", LOST)
    plant("catalog", FINDER)
    flow.run("pack.flow", backend="fake")
    assert len(desk.engine.has) == 1
    assert ["a_lost_one" in problem and "the shelf is gone" in problem for problem in flow.hooks.problems] == [True]


def test_an_observer_that_one_process_does_not_load_is_told_later_by_one_that_does(
    plant: Plant, desk: Desk, seen: Callable[[], list[list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("watcher", OBSERVER)
    first = desk.open()
    record = one(desk)
    first.pause(record.id)
    told = len(seen())
    with monkeypatch.context() as blind:
        blind.setattr("flowbridge.plugins.found", lambda group: [])
        other = desk.open("blind")
        desk.engine.has["e0"].set("t0", active=False)
        other.wait(record.id, timeout=5)
    assert len(seen()) == told
    desk.open("again").cancel(record.id)
    assert next(line[2:] for line in seen()[told:] if line[0] == "status") == [record.id, "pausing", "paused"]


def test_calls_of_hooks_that_overlap_leave_stdout_where_it_was() -> None:
    held, entered, order = threading.Event(), threading.Event(), []

    class Slow:
        @hookimpl
        def flowbridge_before_operation(self, operation: str, plan: object) -> str | None:
            del plan
            order.append(f"{operation} begins")
            if operation == "first":
                entered.set()
                held.wait(30)
            order.append(f"{operation} ends")
            print(operation)  # noqa: T201  what a plugin prints goes to stderr
            return None

    hooks = Hooks(points=[])
    hooks.register(Slow(), "slow")
    real = sys.stdout
    first = threading.Thread(target=hooks.veto, args=("first", None))
    first.start()
    assert entered.wait(30)
    second = threading.Thread(target=hooks.veto, args=("second", None))
    second.start()
    held.set()
    first.join(30)
    second.join(30)
    assert sys.stdout is real
    assert order == ["first begins", "first ends", "second begins", "second ends"]


def test_a_hook_may_come_to_call_hooks_itself() -> None:
    class Nested:
        @hookimpl
        def flowbridge_before_operation(self, operation: str, plan: object) -> str | None:
            return f"no {operation}" if operation == "inner" else hooks.veto("inner", plan)

    hooks = Hooks(points=[])
    hooks.register(Nested(), "nested")
    told: list[str | None] = []
    asking = threading.Thread(target=lambda: told.append(hooks.veto("outer", None)), daemon=True)
    asking.start()
    asking.join(30)
    assert told == ["no inner (plugin nested) (plugin nested)"]


def test_a_hook_wrapper_is_refused_by_name(flow: Bridge) -> None:
    class Wrapper:
        @pluggy.HookimplMarker("flowbridge")(wrapper=True)
        def flowbridge_before_operation(self, operation: object, plan: object) -> Generator[None, object, object]:
            del operation, plan
            return (yield)

    with pytest.raises(ValueError, match="flowbridge_before_operation is a hook wrapper"):
        flow.hooks.register(Wrapper(), "wrap")
