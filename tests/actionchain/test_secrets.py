"""A secret is in no table, file, log, process list, view or error, wherever a chain carries it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actionchain.chainkit import chain_of, pack
from actionchain.runkit import Shop
from flowbridge.errors import InvalidInput
from flowbridge.model import Status
from flowbridge.vault import SHOWN, masked
from flowbridge_cli.documents import full_document

SECRET = "xyzzy-hunter2-plugh"

TOLD = "sha256sum | cut -c1-8"
DIGEST = subprocess.run(
    ["sh", "-c", f"printf %s {SECRET} | {TOLD}"], capture_output=True, text=True, check=True
).stdout.strip()

ACTIONS: dict[str, Any] = {
    "use": {
        "runner_type": "local-shell-cmd",
        "parameters": {
            "token": {"type": "string", "secret": True, "required": True},
            "cmd": {
                "default": f"printf %s '{{{{ token }}}}' | {TOLD}; "
                "echo it was '{{ token }}'; head -n 1 {{ gate }}"
            },
            "gate": {"type": "string", "default": "/dev/null"},
        },
    },
    "flow": {
        "runner_type": "action-chain",
        "entry_point": "chains/flow.yaml",
        "parameters": {
            "password": {"type": "string", "secret": True, "required": True},
            "gate": {"type": "string", "default": "/dev/null"},
        },
    },
    "over": {
        "runner_type": "action-chain",
        "entry_point": "chains/over.yaml",
        "parameters": {"password": {"type": "string", "secret": True}},
    },
    "link": {
        "runner_type": "action-chain",
        "entry_point": "chains/link.yaml",
        "parameters": {"password": {"type": "string", "secret": True}},
    },
    "open": {
        "runner_type": "action-chain",
        "entry_point": "chains/open.yaml",
        "parameters": {"word": {"type": "string"}, "more": {"type": "string"}},
    },
}
SAY = f"printf %s '{{{{ word[1:-1] }}}}' | {TOLD}; echo '{{{{ word }}}} {{{{ more }}}}'"
CHAINS: dict[str, Any] = {
    "flow": {
        "vars": {"header": "Bearer {{ password }}"},
        "chain": [
            {
                "name": "a",
                "ref": "den.use",
                "parameters": {"token": "{{ password }}", "gate": "{{ gate }}"},
                "publish": {"again": "<{{ password }}>", "open": "{{ a.stdout }}"},
                "on-success": "b",
            },
            {
                "name": "b",
                "ref": "core.local",
                "parameters": {"cmd": f"printf %s '{{{{ header[7:] }}}}' | {TOLD}; echo '{{{{ again }}}}'"},
                "on-success": "c",
            },
            {"name": "c", "ref": "core.local", "parameters": {"cmd": "echo '{{ password }}' >&2; exit 3"}},
        ],
    },
    "over": {"chain": [{"name": "sub", "ref": "den.flow", "parameters": {"password": "{{ password }}"}}]},
    "link": {
        "chain": [
            {
                "name": "sub",
                "ref": "flowbridge.run",
                "parameters": {"target": "den.open", "input": {"word": "<{{ password }}>", "more": "open"}},
            }
        ]
    },
    "open": {"chain": [{"name": "say", "ref": "core.local", "parameters": {"cmd": SAY}}]},
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    pack(tmp_path, "den", ACTIONS, CHAINS)
    one = Shop(tmp_path)
    yield one
    one.close()


def everything_written(folder: Path) -> str:
    """Every file below a folder, the ledger and its log too."""
    return "".join(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file())


def shown(shop: Shop, id: str) -> str:
    """Whatever a command line would print of an execution."""
    document = full_document(shop.bridge, shop.bridge.get(id), deep=True)
    return json.dumps(document) + json.dumps([entry.doc for entry in shop.bridge.history()])


@pytest.mark.parametrize("target", ["den.flow", "den.over"])
def test_a_secret_input_reaches_its_commands_and_is_written_nowhere(shop: Shop, target: str) -> None:
    id = shop.run(target, password=SECRET)
    assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
    output = shop.output(id)
    tasks = output["tasks"] if target == "den.flow" else output["tasks"][0]["result"]["tasks"]
    assert tasks[0]["result"]["stdout"].splitlines() == [DIGEST, f"it was {SHOWN}"]
    assert tasks[1]["result"]["stdout"].splitlines() == [DIGEST, f"<{SHOWN}>"]
    assert tasks[2]["result"]["stderr"] == SHOWN
    published = (output if target == "den.flow" else output["tasks"][0]["result"])["published"]
    assert masked(published)["again"] == SHOWN
    assert SECRET not in shown(shop, id)
    assert SECRET not in everything_written(shop.folder)


def test_a_secret_that_goes_to_a_linked_child_is_written_nowhere_and_reaches_it(shop: Shop) -> None:
    id = shop.run("den.link", password=SECRET)
    look = shop.bridge.wait(id, timeout=60)
    assert look.record.status is Status.SUCCEEDED
    child = next(node.record for node in look.snapshot.nodes if node.record.key)
    said = shop.output(child.id)["tasks"][0]["result"]["stdout"]
    assert said.splitlines() == [DIGEST, f"{SHOWN} open"]
    assert shop.bridge.read(child.id).input["more"] == "open"
    assert SECRET not in shown(shop, id)
    assert SECRET not in everything_written(shop.folder)


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"target": "prod:{{ password }}"}, "target"),
        ({"target": "prod:x", "owner": "{{ password }}"}, "owner"),
        ({"target": "prod:x", "input": {"{{ password }}": 1}}, "a name of input"),
    ],
)
def test_only_a_value_of_the_input_of_a_link_can_be_secret(shop: Shop, parameters: dict[str, Any], what: str) -> None:
    (shop.packs / "den" / "actions" / "chains" / "link.yaml").write_text(
        json.dumps({"chain": [{"name": "sub", "ref": "flowbridge.run", "parameters": parameters}]})
    )
    id = shop.run("den.link", password=SECRET)
    assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
    assert f"there is a secret in {what};" in shop.output(id)["error"]
    assert SECRET not in everything_written(shop.folder)


def test_a_secret_is_in_no_process_list_while_its_command_runs(shop: Shop) -> None:
    gate = shop.gate()
    id = shop.run("den.flow", password=SECRET, gate=str(gate.path))
    shop.until(lambda: _runs(f"head -n 1 {gate.path}") or None, "the command")
    listed = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert str(gate.path) in listed
    assert SECRET not in listed
    gate.open()
    shop.bridge.wait(id, timeout=60)


def _runs(words: str) -> bool:
    return words in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


def test_a_paused_run_goes_on_with_its_secret_in_another_process(shop: Shop) -> None:
    gate = shop.gate()
    id = shop.run("den.flow", password=SECRET, gate=str(gate.path))
    shop.until(lambda: any(task.active for task in shop.bridge.get(id).snapshot.nodes[0].tasks) or None, "a task")
    shop.bridge.pause(id)
    gate.open()
    shop.reaches(id, Status.PAUSED)
    assert SECRET not in everything_written(shop.folder)
    shop.bridge.resume(id)
    shop.bridge.wait(id, timeout=60, until=frozenset({Status.ERRORED}))
    assert shop.output(id)["tasks"][1]["result"]["stdout"].split()[0] == DIGEST


def test_X1_a_re_run_from_the_beginning_and_from_the_failed_task_have_the_secret_too(shop: Shop) -> None:
    from flowbridge.checks import RerunRequest

    id = shop.run("den.flow", password=SECRET)
    shop.bridge.wait(id, timeout=60)
    again = shop.bridge.rerun(id).execution
    shop.bridge.wait(again, timeout=60)
    assert shop.output(again)["tasks"][0]["result"]["stdout"].split()[0] == DIGEST
    failed = shop.bridge.rerun(again, RerunRequest(("c",))).execution
    shop.bridge.wait(failed, timeout=60)
    assert shop.output(failed)["tasks"][2]["result"]["stderr"] == SHOWN
    assert SECRET not in everything_written(shop.folder)


def test_one_action_with_a_secret_keeps_it_too(shop: Shop) -> None:
    id = shop.run("den.use", token=SECRET)
    shop.bridge.wait(id, timeout=60)
    assert shop.output(id)["stdout"].splitlines() == [DIGEST, f"it was {SHOWN}"]
    assert SECRET not in everything_written(shop.folder)


def test_an_error_about_a_secret_does_not_tell_it(shop: Shop) -> None:
    pack(
        shop.folder,
        "den",
        {
            "pin": {"runner_type": "noop", "parameters": {"pin": {"type": "integer", "secret": True}}},
            "wrong": {
                "runner_type": "action-chain",
                "entry_point": "chains/wrong.yaml",
                "parameters": {"pin": {"type": "string", "secret": True}},
            },
        },
        {"wrong": {"chain": [{"name": "a", "ref": "den.pin", "parameters": {"pin": "{{ pin }}"}}]}},
    )
    with pytest.raises(InvalidInput) as caught:
        shop.run("den.pin", pin=SECRET)
    assert SECRET not in caught.value.message
    id = shop.run("den.wrong", pin=SECRET)
    assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
    assert "must be of type integer" in shop.output(id)["error"]
    assert SECRET not in shown(shop, id)
    assert SECRET not in everything_written(shop.folder)


def test_a_secret_of_the_datastore_and_of_a_packs_configuration_is_kept_too(tmp_path: Path) -> None:
    place = pack(tmp_path / "other", "den", ACTIONS, {})
    store = tmp_path / "store" / "store.yaml"
    store.parent.mkdir()
    store.write_text(json.dumps({"system": {"key": {"secret": SECRET}}}))
    store.chmod(0o600)
    shop = Shop(tmp_path / "other", {"datastore": str(store)})
    (place / "den" / "config.schema.yaml").write_text(json.dumps({"k": {"type": "string", "secret": True}}))
    (tmp_path / "other" / "configs").mkdir()
    (tmp_path / "other" / "configs" / "den.yaml").write_text(json.dumps({"k": "{{ st2kv.system.key | decrypt_kv }}"}))
    try:
        chain = chain_of(
            {
                "name": "a",
                "ref": "core.local",
                "parameters": {"cmd": f"printf %s '{{{{ st2kv.system.key | decrypt_kv }}}}' | {TOLD}"},
                "publish": {"k": "{{ st2kv.system.key | decrypt_kv }}"},
                "on-success": "b",
            },
            {"name": "b", "ref": "core.echo", "parameters": {"message": "{{ st2kv.system.key }} {{ k }}"}},
        )
        id = shop.run(chain)
        shop.bridge.wait(id, timeout=60)
        first, second = shop.output(id)["tasks"]
        assert (str(first["result"]["stdout"]), second["result"]["stdout"]) == (DIGEST, f"{SHOWN} {SHOWN}")
        assert SECRET not in shown(shop, id)
        assert SECRET not in everything_written(tmp_path / "other")
    finally:
        shop.close()


@pytest.mark.parametrize("parameter", ["n", "e"])
def test_a_secret_that_reaches_a_parameter_that_is_none_is_not_told_in_its_error(shop: Shop, parameter: str) -> None:
    long = SECRET * 9
    open_ = {"n": {"type": "integer"}, "e": {"type": "string", "enum": ["a", "b"]}}
    flow = {"runner_type": "action-chain", "entry_point": "chains/leak.yaml", "parameters": {"k": {"secret": True}}}
    chain = {"chain": [{"name": "a", "ref": "den.open", "parameters": {parameter: "<{{ k }}>"}}]}
    pack(shop.folder, "den", {"open": {"runner_type": "noop", "parameters": open_}, "leak": flow}, {"leak": chain})
    id = shop.run("den.leak", k=long)
    assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
    assert SECRET not in shown(shop, id)
    assert SECRET not in everything_written(shop.folder)


@pytest.mark.parametrize(
    "known",
    [
        {"default": "{{ {'a': 1}[k] }}"},
        {"default": "<{{ k }}>", "enum": ["a", "b"]},
        {"default": "{{ k }}", "type": "integer"},
    ],
)
@pytest.mark.parametrize("kind", ["noop", "mistral-v2", "in a chain"])
def test_a_default_that_fails_over_a_secret_does_not_tell_it(shop: Shop, kind: str, known: dict[str, Any]) -> None:
    long, is_chain = SECRET * 9, kind == "in a chain"
    one = {"runner_type": "noop" if is_chain else kind, "parameters": {"k": {"secret": True}, "it": known}}
    if kind == "mistral-v2":
        one["entry_point"] = "workflows/one.yaml"
        (shop.folder / "packs/den/actions/workflows").mkdir(parents=True)
        text = "version: '2.0'\none: {tasks: {t: {action: std.noop}}}\n"
        (shop.folder / "packs/den/actions/workflows/one.yaml").write_text(text)
    flow = {"runner_type": "action-chain", "entry_point": "chains/leak.yaml", "parameters": {"k": {"secret": True}}}
    chain = {"chain": [{"name": "a", "ref": "den.one", "parameters": {"k": "{{ k }}"}}]}
    pack(shop.folder, "den", {"one": one, "leak": flow}, {"leak": chain})
    if is_chain:
        id = shop.run("den.leak", k=long)
        assert shop.bridge.wait(id, timeout=60).record.status is Status.ERRORED
        assert SECRET not in shown(shop, id)
    else:
        with pytest.raises(InvalidInput, match=r"den\.one: the .* 'it'") as caught:
            shop.run("den.one", k=long)
        assert SECRET not in caught.value.message
    assert SECRET not in everything_written(shop.folder)
