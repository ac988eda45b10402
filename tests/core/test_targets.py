"""A name of a catalog: where it is started, and what of its input is sealed before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.kit import Desk
from flowbridge import hookimpl
from flowbridge.backend import Definition, Target
from flowbridge.bridge import Bridge
from flowbridge.checks import RerunRequest
from flowbridge.config import CatalogConfig, Config, load
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Unavailable
from flowbridge.instances import Instances
from flowbridge.model import EngineState, TaskStatus
from flowbridge.runfiles import folder
from flowbridge.written import Written


class Finder:
    """A catalog of one name."""

    def __init__(self, found: Target | Exception) -> None:
        self.found = found
        self.config: Config | None = None

    @hookimpl
    def flowbridge_resolve(self, ref: str, config: Config) -> Target | None:
        self.config = config
        if ref != "pack.flow":
            return None
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def opened(desk: Desk, found: Target | Exception, **config: Any) -> tuple[Bridge, Finder]:
    bridge = desk.open(**config)
    for engine in (desk.engine, desk.other):
        engine.workflows |= {"known", "mine"}
    finder = Finder(found)
    bridge.hooks.register(finder, "finder")
    return bridge, finder


def written(desk: Desk) -> str:
    """Everything that stands in the ledger, its log included."""
    return "".join(file.read_bytes().decode("latin-1") for file in desk.ledger.parent.glob(f"{desk.ledger.name}*"))


def over(desk: Desk, id: str) -> None:
    """Let an execution end."""
    desk.engine.has[id].set("work", status=TaskStatus.SUCCEEDED, active=False)
    desk.engine.has[id].go(EngineState.SUCCEEDED)


def test_a_target_says_the_backend_and_the_workflow(desk: Desk) -> None:
    bridge, finder = opened(desk, Target(workflow="known", backend="other"))
    record = bridge.run("pack.flow", {"n": 1})
    assert record.ref.backend == "other"
    assert [(one.workflow, one.definition, one.input) for one in desk.other.started] == [("known", None, {"n": 1})]
    assert finder.config is bridge.config


def test_what_the_caller_names_wins_over_the_target(desk: Desk) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="other"))
    assert bridge.run("pack.flow", backend="fake", workflow="mine").workflow == "mine"
    assert [one.workflow for one in desk.engine.started] == ["mine"]


def test_a_type_means_the_instance_of_that_name_else_the_first_of_that_type(desk: Desk) -> None:
    config = Config(desk.ledger, backends={"here": {"type": "memory"}, "there": {"type": "memory"}})
    assert Instances(config, {}).meant("memory") == "here"
    assert Instances(config, {}).meant("there") == "there"
    assert Instances(config, {}).meant("unheard-of") == "unheard-of"


@pytest.mark.parametrize("wrong", [InvalidInput("bad", source="pack.yaml", line=3), NotFound("no such action")])
def test_what_a_catalog_finds_wrong_reaches_the_caller(desk: Desk, wrong: Exception) -> None:
    bridge, _ = opened(desk, wrong, default_backend="fake")
    with pytest.raises(type(wrong)):
        bridge.run("pack.flow")
    assert bridge.run("known").workflow == "known"


def test_a_secret_input_is_sealed_before_it_is_written_and_opened_for_its_engine(desk: Desk) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="fake", secret=frozenset({"password", "absent"})))
    record = bridge.run("pack.flow", {"password": "xyzzy-42", "user": "ada"})
    assert desk.engine.started[0].input == {"password": "xyzzy-42", "user": "ada"}
    assert "xyzzy-42" not in written(desk)
    request = bridge.ledger.executions.request(record.id)
    assert request is not None
    assert request["input"]["user"] == "ada"
    assert bridge.ledger.vault.open(request["input"])["password"] == "xyzzy-42"


def test_X1_a_rerun_from_the_beginning_has_the_same_secret_and_seals_the_one_that_overrides_it(desk: Desk) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="fake", secret=frozenset({"password"})))
    record = bridge.run("pack.flow", {"password": "xyzzy-42"})
    over(desk, record.ref.id)
    again = bridge.rerun(record.id)
    assert desk.engine.started[-1].input == {"password": "xyzzy-42"}
    over(desk, bridge.find(again.execution).ref.id)
    bridge.rerun(again.execution, RerunRequest(input={"password": "plugh-43"}))
    assert desk.engine.started[-1].input == {"password": "plugh-43"}
    assert "plugh-43" not in written(desk)


def test_X1_a_rerun_with_another_secret_that_was_cut_short_is_gone_on_with_where_it_is_asked_for_again(
    desk: Desk,
) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="fake", secret=frozenset({"password"})))
    record = bridge.run("pack.flow", {"password": "xyzzy-42"})
    over(desk, record.ref.id)
    asked = RerunRequest(input={"password": "plugh-43"})
    desk.engine.lost = {"start"}
    desk.engine.before = lambda called: setattr(desk.engine, "down", desk.engine.count()["start"] > 1)
    with pytest.raises(Unavailable, match="finishes it, and starts nothing twice"):
        bridge.rerun(record.id, asked, timeout=0)
    desk.engine.lost, desk.engine.down, desk.engine.before = set(), False, lambda called: None
    bridge.rerun(record.id, asked)
    assert [live.read.input["password"] for live in desk.engine.has.values()] == ["xyzzy-42", "plugh-43"]
    assert bridge.ledger.operations.open_trees() == []


def test_a_local_engine_that_cannot_open_secrets_is_not_given_any(tmp_path: Path) -> None:
    with Bridge(Config(ledger=tmp_path / "ledger.db")) as bridge:
        bridge.hooks.register(
            Finder(
                Target(
                    Definition("version: '2.0'\nw: {tasks: {t: {action: std.noop}}}"),
                    "w",
                    "memory",
                    frozenset({"token"}),
                )
            ),
            "finder",
        )
        with pytest.raises(EngineRefused, match="token"):
            bridge.run("pack.flow", {"token": "xyzzy-42"})
        assert bridge.history() == []


def test_a_local_engine_that_cannot_open_secrets_is_not_given_what_was_sealed_before(tmp_path: Path) -> None:
    text = "version: '2.0'\nw: {input: [given], tasks: {t: {action: std.noop}}}"
    with Bridge(Config(ledger=tmp_path / "ledger.db")) as bridge:
        sealed = bridge.ledger.vault.seal("xyzzy-42")
        for given in (sealed, {"deep": [sealed]}):
            with pytest.raises(EngineRefused, match="memory would keep the secret input 'given'"):
                bridge.run(Definition(text), {"given": given}, backend="memory")
        assert bridge.history() == []


def test_folders_of_packs_come_from_the_file_beside_it_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"catalog": {"packs": ["packs", "/srv/packs"], "workflows": "prod"}}))
    env = {"FLOWBRIDGE_CONFIG": str(file)}
    assert load(env).catalog == CatalogConfig((tmp_path / "packs", Path("/srv/packs")), "prod")
    assert load({**env, "FLOWBRIDGE_PACKS": "/a:/b"}).catalog.packs == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("catalog:\n  pack: []\n", ":2:3: unknown key 'pack' under catalog; allowed are: packs, workflows"),
        ("catalog:\n  packs: here\n", ":2:3: catalog.packs must be a list, not text"),
        ("catalog:\n  packs: [1]\n", ":2:11: catalog.packs must list names, not a number"),
    ],
)
def test_a_wrong_catalog_in_the_configuration_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load({"FLOWBRIDGE_CONFIG": str(file)})
    assert caught.value.message == f"{file}{why}"


def test_what_is_written_on_a_command_line_is_text_where_the_target_says_so(desk: Desk) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="fake", text=frozenset({"version"})))
    given = {"version": Written(1.1, "1.10"), "count": Written(5, "5"), "plain": 1.5}
    record = bridge.run("pack.flow", given)
    assert desk.engine.started[-1].input == {"version": "1.10", "count": 5, "plain": 1.5}
    over(desk, record.ref.id)
    bridge.rerun(record.id, RerunRequest(input={"version": Written(2.0, "2.0")}))
    assert desk.engine.started[-1].input == {"version": "2.0", "count": 5, "plain": 1.5}


def test_pruning_a_tree_removes_the_files_of_its_runs(desk: Desk) -> None:
    bridge, _ = opened(desk, Target(workflow="known", backend="fake"))
    record = bridge.run("pack.flow")
    files = folder(desk.ledger, record.ref)
    files.mkdir(parents=True)
    (files / "output").write_text("much")
    over(desk, record.ref.id)
    bridge.get(record.id)
    assert bridge.prune(record.created + 1) == 1
    assert not files.exists()


def test_a_name_that_nobody_has_tells_where_it_was_looked_for_and_what_is_near(desk: Desk, tmp_path: Path) -> None:
    packs = tmp_path / "packs"
    (packs / "web" / "actions").mkdir(parents=True)
    (packs / "web" / "actions" / "ping.yaml").write_text("name: ping\nrunner_type: noop\n")
    bridge = desk.open(catalog=CatalogConfig((packs,)))
    for ask in (bridge.run, bridge.catalog):
        with pytest.raises(NotFound, match=rf"no pack in {packs} has it; did you mean web\.ping\?"):
            ask("wbe.ping")
    with pytest.raises(NotFound, match="no folder of packs to look for it in: set `catalog:"):
        desk.open().run("web.ping")
