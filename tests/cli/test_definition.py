"""`get --definition`: what was run, as it was written, whatever an engine was given in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.clikit import Said
from flowbridge.bridge import Bridge
from flowbridge.errors import NotFound
from support.fake_mistral import FakeMistral

Flowbridge = Callable[..., Said]

LOCAL = "# mine\nversion: '2.0'\nw:\n  tasks:\n    t: {workflow: shelved}   # below\n"
SHELF = "# the shelf's\nversion: '2.0'\nshelved: {tasks: {t: {action: std.noop}}}\n"
FAR = (
    "# far\nversion: '2.0'\nmain:\n  tasks:\n    away: {action: core.noop}   # elsewhere\n    near: {workflow: below}\n"
    "below: {tasks: {t: {action: std.noop}}}\n"
)
CHAIN = "# a chain\nchain:\n  - {name: t, ref: core.noop}\n"


@pytest.fixture
def server(home: Path, prod: FakeMistral, monkeypatch: pytest.MonkeyPatch) -> FakeMistral:
    """A chain `den.steps` of a pack, a workflow on a shelf, and a Mistral `prod`."""
    actions = home / "packs" / "den" / "actions"
    actions.mkdir(parents=True)
    (actions / "chain.yaml").write_text(CHAIN)
    metadata = {"name": "steps", "runner_type": "action-chain", "entry_point": "chain.yaml"}
    (actions / "steps.yaml").write_text(json.dumps(metadata))
    (home / "shelf.yaml").write_text(SHELF)
    monkeypatch.setenv("FLOWBRIDGE_PACKS", str(home / "packs"))
    config = {
        "memory": {"type": "memory", "workflows": ["shelf.yaml"]},
        "prod": {"type": "mistral", "url": "http://prod.example.org"},
    }
    (home / "config.yaml").write_text(json.dumps({"backends": config}))
    return prod


def shown(flowbridge: Flowbridge, *words: str) -> str:
    said = flowbridge("get", *words, "--definition")
    assert (said.code, said.err) == (0, "")
    return said.out


def test_what_was_run_is_shown_byte_for_byte_though_its_file_has_changed(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    assert server.texts == {}
    (home / "w.yaml").write_text(LOCAL)
    assert flowbridge("run", "w.yaml").code == 0
    (home / "w.yaml").write_text(LOCAL.replace("mine", "another"))
    (home / "shelf.yaml").write_text(SHELF.replace("the shelf's", "another"))
    assert shown(flowbridge, "last") == LOCAL
    assert shown(flowbridge, "last", "--path", "t") == SHELF
    document = flowbridge("get", "last", "--definition", "-o", "json").data
    assert list(document) == ["id", "workflow", "source", "definition"]
    assert (document["workflow"], document["source"], document["definition"]) == ("w", "w.yaml", LOCAL)
    assert flowbridge("re-run", "last", "--wait").code == 0
    assert shown(flowbridge, "last") == LOCAL


def test_a_task_has_no_definition_of_its_own_and_the_line_says_what_has(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    assert server.texts == {}
    (home / "w.yaml").write_text("version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n")
    assert flowbridge("run", "w.yaml").code == 0
    said = flowbridge("get", "last", "--definition", "--path", "t")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "--path t leads to a task, and a definition is of an execution" in said.err


def test_a_chain_that_was_started_by_name_is_shown_and_a_single_action_has_no_text(
    flowbridge: Flowbridge, server: FakeMistral
) -> None:
    assert server.texts == {}
    assert flowbridge("run", "den.steps").code == 0
    assert shown(flowbridge, "last") == CHAIN
    assert flowbridge("run", "core.noop").code == 0
    said = flowbridge("get", "last", "--definition")
    assert (said.code, said.out, "actionchain keeps no definition of core.noop" in said.err) == (4, "", True)
    with Bridge() as bridge, pytest.raises(NotFound, match="keeps no definition"):
        bridge.definition("last")


def test_of_what_runs_on_a_server_the_original_is_shown_and_not_what_was_sent(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    (home / "far.yaml").write_text(FAR)
    assert flowbridge("run", "far.yaml", "--backend", "prod", "--detach").code == 0
    assert "flowbridge.run" in server.texts["main"]
    assert shown(flowbridge, "last") == FAR
    assert shown(flowbridge, "last", "--path", "near") == FAR
    with Bridge() as bridge:
        assert bridge.definition("last") == (FAR, "far.yaml")


def test_what_a_server_has_by_name_is_shown_with_links_turned_back(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    (home / "far.yaml").write_text(FAR)
    assert flowbridge("run", "far.yaml", "--backend", "prod", "--detach").code == 0
    assert flowbridge("run", "prod:main", "--detach").code == 0
    document = flowbridge("get", "last", "--definition", "-o", "json").data
    assert document["source"] == "prod:main"
    assert yaml.safe_load(document["definition"])["main"] == yaml.safe_load(FAR)["main"]
    del server.workflows["main"]
    gone = flowbridge("get", "last", "--definition")
    assert (gone.code, gone.out, "Workflow not found" in gone.err) == (4, "", True)


def test_what_somebody_else_started_on_a_server_is_shown_as_it_has_it(
    flowbridge: Flowbridge, server: FakeMistral
) -> None:
    server.workflows["theirs"] = {"tasks": {"t": {"action": "std.noop"}}, "book": ""}
    body = {"id": "their-own", "workflow_name": "theirs", "input": "{}", "params": "{}"}
    server.handle("POST", "executions", {}, json.dumps(body))
    found = yaml.safe_load(shown(flowbridge, "prod:their-own"))
    assert found == {"theirs": {"tasks": {"t": {"action": "std.noop"}}}}


def test_a_re_run_of_tasks_has_the_text_of_what_it_re_opens(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    assert server.texts == {}
    text = "version: '2.0'\nw: {tasks: {t: {action: std.fail}}}\n"
    (home / "w.yaml").write_text(text)
    flowbridge("run", "w.yaml")
    old = flowbridge("get", "last", "-o", "json").data["id"]
    flowbridge("re-run", "last", "--tasks", "t", "--wait")
    new = flowbridge("get", "last", "-o", "json").data["id"]
    assert (old != new, shown(flowbridge, old), shown(flowbridge, new)) == (True, text, text)
