"""Chains from the command line, as somebody who comes from StackStorm types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.clikit import Said
from support.fake_mistral import FakeMistral
from support.wire import answer, wired

Flowbridge = Callable[..., Said]

TWO = {
    "chain": [
        {"name": "a", "ref": "core.local", "parameters": {"cmd": "echo {{ word }}"}, "on-success": "b"},
        {"name": "b", "ref": "core.local", "parameters": {"cmd": "test -e fixed && echo {{ a.stdout }} again"}},
    ]
}


@pytest.fixture
def packs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    actions = home / "packs" / "den" / "actions"
    (actions / "chains").mkdir(parents=True)
    (actions / "chains" / "two.yaml").write_text(json.dumps(TWO))
    parameters = {"word": {"type": "string", "required": True}}
    metadata = {
        "name": "two",
        "runner_type": "action-chain",
        "entry_point": "chains/two.yaml",
        "parameters": parameters,
    }
    (actions / "two.yaml").write_text(json.dumps(metadata))
    monkeypatch.setenv("FLOWBRIDGE_PACKS", str(home / "packs"))
    return home / "packs"


def test_a_chain_of_a_pack_runs_fails_and_is_re_run_from_where_it_failed(
    flowbridge: Flowbridge, packs: Path, home: Path
) -> None:
    file = packs / "den" / "actions" / "chains" / "two.yaml"
    text = file.read_text().replace("fixed", str(home / "fixed"))
    file.write_text(text)
    failed = flowbridge("run", "den.two", "word=hey", "--tail")
    assert failed.code == 7
    assert "a | hey\n" in failed.err
    assert flowbridge("execution", "tree", "last").out.splitlines()[1].split() == ["+", "a", "succeeded"]
    (home / "fixed").touch()
    assert flowbridge("execution", "re-run", "last", "--tasks", "b").code == 0
    watched = flowbridge("watch", "last", "--tail", "-o", "json")
    assert "b | hey again\n" in watched.err
    assert [task["status"] for task in watched.data["tasks"]] == ["succeeded", "succeeded"]
    assert file.read_text() == text


def test_a_file_goes_to_the_engine_whose_language_it_is_in(flowbridge: Flowbridge, home: Path) -> None:
    (home / "chain.yaml").write_text(json.dumps({"chain": [{"name": "a", "ref": "core.noop"}]}))
    (home / "flow.yaml").write_text("version: '2.0'\nflow: {tasks: {t: {action: std.noop}}}\n")
    assert flowbridge("run", "chain.yaml", "-o", "json").data["backend"] == "actionchain"
    assert flowbridge("run", "flow.yaml", "-o", "json").data["backend"] == "memory"
    assert flowbridge("validate", "chain.yaml", "-o", "json").data == [{"workflow": "chain"}]
    assert flowbridge("run", "den.nope").code in (2, 4)


def test_a_name_of_a_catalog_is_validated_like_a_file(flowbridge: Flowbridge, packs: Path) -> None:
    assert flowbridge("validate", "den.two", "-o", "json").data == [{"workflow": "den.two"}]
    elsewhere = flowbridge("validate", "den.two", "--backend", "elsewhere")
    assert (elsewhere.code, "there is no backend 'elsewhere'" in elsewhere.err) == (2, True)
    sent = flowbridge("validate", "den.two", "--show-deployed")
    assert (sent.code, sent.out, "no engine is sent it; leave out --show-deployed" in sent.err) == (2, "", True)
    chain = packs / "den" / "actions" / "chains" / "two.yaml"
    text = chain.read_text()
    chain.write_text(text.replace("{", '{"default": "a", "default": "a", ', 1))
    assert flowbridge("validate", "den.two").err.endswith("'default' stands here a second time; the last one counts\n")
    chain.write_text(text.replace("{", '{"default": "nowhere", ', 1))
    wrong = flowbridge("validate", "den.two")
    assert (wrong.code, "'default' names task 'nowhere'" in wrong.err) == (2, True)
    missing = flowbridge("validate", "den.three")
    assert (missing.code, "there is no action 'den.three'; did you mean" in missing.err) == (4, True)
    missing = flowbridge("validate", "nowhere")
    assert (missing.code, "'nowhere' is no file, no workflow" in missing.err) == (4, True)


def test_validate_says_of_a_name_what_run_says_of_it_on_every_engine(
    flowbridge: Flowbridge, packs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packs.exists()
    (home / "flow.yaml").write_text("version: '2.0'\nleaf: {tasks: {t: {action: std.noop}}}\n")
    config = {
        "memory": {"type": "memory", "workflows": ["flow.yaml"]},
        "prod": {"type": "mistral", "url": "http://prod.example.org"},
        "down": {"type": "mistral", "url": "http://down.example.org", "timeout": 0.01},
    }
    (home / "config.yaml").write_text(json.dumps({"backends": config}))
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
    run: dict[tuple[str, str], int] = {}
    validated: dict[tuple[str, str], int] = {}
    server = FakeMistral()
    with wired(prod=lambda heard: answer(server, heard)):
        flowbridge("run", "flow.yaml", "--backend", "prod", "--detach")
        for name in ("core.noop", "leaf", "nowhere"):
            for backend in ("memory", "actionchain", "prod", "down", "nosuch"):
                run[name, backend] = flowbridge("run", name, "--backend", backend, "--detach").code
                validated[name, backend] = flowbridge("validate", name, "--backend", backend).code
        assert flowbridge("validate", "prod:leaf", "-o", "json").data == [{"workflow": "leaf"}]
        assert flowbridge("validate", "prod:leaf", "--backend", "memory").code == 2
    assert validated == run
    assert [key for key, code in run.items() if code == 0] == [
        ("core.noop", "actionchain"),
        ("leaf", "memory"),
        ("leaf", "prod"),
    ]
    assert set(run.values()) == {0, 2, 4, 5}
    said = flowbridge("validate", "core.noop", "--backend", "memory")
    assert (said.out, "There is no workflow 'core.noop' here: name a file" in said.err) == ("", True)


@pytest.mark.parametrize("words", [("core.noop", "--backend", "prod"), ("prod:core.noop",)])
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_name_that_a_catalog_has_for_another_backend_is_told_so_where_the_one_that_was_named_has_none(
    flowbridge: Flowbridge, prod: FakeMistral, command: str, words: tuple[str, ...]
) -> None:
    said = flowbridge(command, *words)
    assert (said.code, prod.executions) == (4, {})
    assert "The catalog has 'core.noop', for the backend actionchain: start it without naming prod." in said.err
    nowhere = flowbridge(command, "nowhere", "--backend", "prod")
    assert (nowhere.code, "catalog" in nowhere.err) == (4, False)


def test_what_a_chain_can_hardly_mean_is_a_warning_of_validate_and_it_runs(flowbridge: Flowbridge, home: Path) -> None:
    (home / "chain.yaml").write_text("chain:\n  - {name: a, ref: core.noop, ref: core.uuid}\n")
    checked = flowbridge("validate", "chain.yaml", "-o", "json")
    assert (checked.code, checked.data) == (0, [{"workflow": "chain"}])
    assert checked.err == "warning: chain.yaml:2:31: 'ref' stands here a second time; the last one counts\n"
    ran = flowbridge("run", "chain.yaml", "-o", "json")
    assert (ran.code, ran.data["status"]) == (0, "succeeded")


@pytest.mark.parametrize("plan", [(), ("--dry-run",)], ids=["done", "planned"])
def test_X1_an_override_that_is_of_a_wrong_type_is_refused_alike_whether_planned_or_done(
    flowbridge: Flowbridge, packs: Path, plan: tuple[str, ...]
) -> None:
    file = packs / "den" / "actions" / "two.yaml"
    metadata = json.loads(file.read_text())
    metadata["parameters"]["times"] = {"type": "integer", "default": 1}
    file.write_text(json.dumps(metadata))
    assert flowbridge("run", "den.two", "word=hey").code == 7
    said = flowbridge("re-run", "last", "times=often", *plan)
    assert said.code == 2
    assert "times" in said.err
    assert len(flowbridge("list", "-o", "json").data) == 1
