"""A definition that no engine can run as it is written is refused in the same way, whatever engine is to run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.clikit import Said
from support.fake_mistral import FakeMistral

Flowbridge = Callable[..., Said]

#: Definitions that name `ops.leff`, an action that the pack `ops` has not.
TEXTS = {
    "a task": "version: '2.0'\nw:\n  tasks:\n    t:\n      action: ops.leff\n",
    "a task of a sub-workflow": "version: '2.0'\nmain:\n  tasks:\n    under: {workflow: below}\n"
    "below:\n  tasks:\n    t:\n      action: ops.leff word=hi\n",
    "a base": "version: '2.0'\nname: book\nactions:\n  wrap:\n    base: ops.leff\n"
    "workflows:\n  main:\n    tasks:\n      t: {action: wrap}\n",
    "a chain": "chain:\n  -\n    name: t\n    ref: ops.leff\n",
}


@pytest.fixture
def server(home: Path, prod: FakeMistral, monkeypatch: pytest.MonkeyPatch) -> FakeMistral:
    """A pack `ops` with one action, and a Mistral `prod`."""
    (home / "packs" / "ops" / "actions").mkdir(parents=True)
    leaf = {"name": "leaf", "runner_type": "local-shell-cmd", "parameters": {"cmd": {"default": "true"}}}
    (home / "packs" / "ops" / "actions" / "leaf.yaml").write_text(json.dumps(leaf))
    monkeypatch.setenv("FLOWBRIDGE_PACKS", str(home / "packs"))
    return prod


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("named", "backend", "place"),
    [
        ("a task", "memory", "5:7: task 't'"),
        ("a task", "prod", "5:15: task t"),
        ("a task of a sub-workflow", "memory", "8:7: task 't'"),
        ("a task of a sub-workflow", "prod", "8:15: task t"),
        ("a base", "memory", "5:5: action 'book.wrap'"),
        ("a base", "prod", "5:11: action wrap"),
        ("a chain", "actionchain", "4:5: task 't'"),
    ],
)
def test_an_action_that_its_pack_has_not_is_told_with_its_place(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, command: str, named: str, backend: str, place: str
) -> None:
    (home / "w.yaml").write_text(TEXTS[named])
    said = flowbridge(command, "w.yaml", "--backend", backend)
    assert said.err.startswith(f"flowbridge: error: w.yaml:{place}: there is no action 'ops.leff'; did you mean")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert flowbridge("list", "-o", "json").data == []
    assert (server.texts, server.executions) == ({}, {})


@pytest.mark.parametrize(("backend", "place"), [("memory", "w.yaml:5:7: task 't'"), ("prod", "w.yaml:5:15: task t")])
def test_an_action_whose_file_is_broken_is_told_with_both_places(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, backend: str, place: str
) -> None:
    assert server.texts == {}
    file = home / "packs" / "ops" / "actions" / "leff.yaml"
    file.write_text("name: leff\nrunner_type: [\n")
    (home / "w.yaml").write_text(TEXTS["a task"])
    said = flowbridge("validate", "w.yaml", "--backend", backend)
    assert said.code == 2
    assert said.err.startswith(f"flowbridge: error: {place}: {file}:3:1: ")


@pytest.mark.parametrize("named", ["a task", "a base"])
def test_an_action_that_only_the_server_has_is_left_to_it_whatever_the_packs_are_called(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, named: str
) -> None:
    server.bases["ops.leff"] = "std.noop"
    (home / "w.yaml").write_text(TEXTS[named])
    sent = flowbridge("validate", "w.yaml", "--backend", "prod", "--show-deployed")
    assert (sent.code, sent.out) == (0, TEXTS[named])
    assert flowbridge("run", "w.yaml", "--backend", "prod", "--detach").code == 0


def test_a_name_that_an_expression_gives_is_looked_for_when_the_task_begins(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    (home / "w.yaml").write_text(TEXTS["a task"].replace("ops.leff", "<% 'ops.leff' %>"))
    said = flowbridge("run", "w.yaml", "-o", "json")
    assert (said.code, "there is no action 'ops.leff'" in said.data["error"]) == (7, True)
    assert flowbridge("validate", "w.yaml", "--backend", "prod").code == 0, "the server may have it"


#: A task that is a link, and what is wrong with it; the place on the reference engine and on a Mistral.
LINKS = {
    "no input": ("{action: flowbridge.run}", "needs a target", "4:9", "4:17"),
    "an input alone": ("{action: flowbridge.run, input: {input: {a: 1}}}", "needs a target", "4:9", "4:17"),
    "no value": ("{action: flowbridge.run, input: {target: null}}", "needs a target", "4:9", "4:17"),
    "in one line": ("{action: flowbridge.run input=<% $.x %>}", "needs a target", "4:9", "4:17"),
    "items": ("{with-items: 'i in [1]', action: flowbridge.run}", "needs a target", "4:33", "4:41"),
    "misspelt": (
        "{action: flowbridge.run, input: {traget: w}}",
        "takes no traget; it takes: target, input",
        "4:9",
        "4:17",
    ),
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("case", LINKS)
def test_a_link_without_a_target_is_refused_before_anything_is_started(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, command: str, case: str
) -> None:
    task, why, here, there = LINKS[case]
    (home / "w.yaml").write_text(f"version: '2.0'\nw:\n  tasks:\n    t: {task}\n")
    local = flowbridge(command, "w.yaml", "--backend", "memory")
    remote = flowbridge(command, "w.yaml", "--backend", "prod")
    assert local.err.startswith(f"flowbridge: error: w.yaml:{here}: task 't': flowbridge.run {why}")
    assert remote.err.startswith(f"flowbridge: error: w.yaml:{there}: task t: flowbridge.run {why}")
    assert (local.code, remote.code, "owner" in local.err + remote.err) == (2, 2, False)
    assert flowbridge("list", "-o", "json").data == []
    assert server.executions == {}


def test_an_ad_hoc_action_over_a_link_names_its_target_too(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    assert server.texts == {}
    (home / "w.yaml").write_text(
        "version: '2.0'\nname: book\nactions:\n  far:\n    base: flowbridge.run\n    base-input: {input: {}}\n"
        "workflows: {main: {tasks: {t: {action: far}}}}\n"
    )
    said = flowbridge("validate", "w.yaml")
    assert said.err.startswith("flowbridge: error: w.yaml:5:5: action 'book.far': flowbridge.run needs a target: ")


def test_what_one_expression_gives_to_a_link_is_told_when_the_task_begins(
    flowbridge: Flowbridge, server: FakeMistral, home: Path
) -> None:
    assert server.texts == {}
    (home / "w.yaml").write_text(
        "version: '2.0'\nw:\n  input: [all: {}]\n  tasks:\n    t: {action: flowbridge.run, input: <% $.all %>}\n"
    )
    said = flowbridge("run", "w.yaml", "-o", "json")
    assert (said.code, "missing target. It takes: target, input." in said.data["error"]) == (7, True)
    given = flowbridge("run", "w.yaml", 'all={"target": "ops.leaf"}', "-o", "json")
    assert (given.code, given.data["status"]) == (0, "succeeded")


SOUND = {
    "flow.yaml": "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n",
    "chain.yaml": "chain:\n  - {name: t, ref: core.noop}\n",
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("file", "backend", "others"),
    [
        ("chain.yaml", "prod", "actionchain"),
        ("chain.yaml", "memory", "actionchain"),
        ("flow.yaml", "actionchain", "memory or prod"),
    ],
)
def test_a_definition_for_another_engine_is_told_with_the_instances_that_it_is_for(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, command: str, file: str, backend: str, others: str
) -> None:
    (home / file).write_text(SOUND[file])
    said = flowbridge(command, file, "--backend", backend)
    looks = f"{file}: this looks like a definition for {others}, not for {backend}: name that one with --backend. "
    assert said.err.startswith(f"flowbridge: error: {looks}{backend} says: ")
    assert (said.code, said.out, server.executions) == (2, "", {})


@pytest.mark.parametrize("backend", ["memory", "prod", "actionchain"])
def test_of_what_is_in_nobodys_language_the_engine_alone_tells(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, backend: str
) -> None:
    (home / "w.yaml").write_text("w: {tasks: {t: {actin: std.noop}}}\n")
    said = flowbridge("validate", "w.yaml", "--backend", backend)
    assert (said.code, "looks like" in said.err, server.texts) == (2, False, {})


@pytest.mark.parametrize("backend", ["memory", "prod"])
def test_of_what_is_wrong_in_its_own_language_the_engine_alone_tells(
    flowbridge: Flowbridge, server: FakeMistral, home: Path, backend: str
) -> None:
    (home / "w.yaml").write_text("version: '2.0'\nchain: {tasks: {t: {actin: std.noop}}}\n")
    said = flowbridge("validate", "w.yaml", "--backend", backend)
    assert (said.code, "looks like" in said.err, server.texts) == (2, False, {})
