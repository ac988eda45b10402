"""The catalog: what is found in packs, what is read for it, and what is wrong with it by file and line."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from actionchain.packkit import Site
from flowbridge.backend import Given, Target
from flowbridge.config import CatalogConfig, Config
from flowbridge.errors import EngineRefused, InvalidInput, NotFound
from flowbridge.vault import SHOWN
from flowbridge_actionchain.packs import metadata
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.model import Broken, PackAction
from flowbridge_actionchain.packs.targets import entries_of, entry_of, target_of

ECHO = """
name: say
runner_type: local-shell-cmd
description: Say it.
enabled: true
parameters:
  word: {type: string, required: true, description: What., position: 0}
  cmd: {immutable: true, default: "echo {{ word }}"}
  timeout: {default: 5}
"""

#: Lists of nine times the list before: small to write, and more than a million values to read.
BOMB = "a: &a [1]\n" + "".join(f"{two}: &{two} [{f'*{one}, ' * 9}]\n" for one, two in pairwise("abcdefgh"))


def test_an_action_has_its_own_parameters_and_then_the_runners_as_it_changes_them(site: Site) -> None:
    site.write("packs/p/actions/say.yaml", ECHO)
    action = site.catalog.get("p.say")
    assert (action.ref, action.pack, action.name, action.runner_type) == ("p.say", "p", "say", "local-shell-cmd")
    assert action.description == "Say it."
    assert list(action.parameters) == ["word", "cmd", "timeout", "cwd", "env", "kwarg_op", "sudo", "sudo_password"]
    word, command, timeout = (action.parameters[name] for name in ("word", "cmd", "timeout"))
    assert (word.type, word.required, word.position, word.runner) == ("string", True, 0, False)
    assert (command.type, command.immutable, command.runner) == ("string", True, True)
    assert (timeout.type, timeout.default) == ("integer", 5)
    assert action.secrets == {"sudo_password"}


def test_asking_for_one_action_reads_one_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("packs/p/actions/say.yaml", ECHO)
    site.write("packs/p/actions/other.yaml", "broken: [")
    site.write("packs/q/pack.yaml", "broken: [")
    read: list[str] = []
    real = metadata.text_of

    def noted(path: Path) -> str:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(metadata, "text_of", noted)
    catalog = site.catalog
    assert read == []
    assert catalog.get("p.say") is catalog.get("p.say")
    assert read == ["say.yaml"]


@pytest.mark.parametrize("file", ["say.yml", "say.meta.yaml", "anything.yaml", "say.json"])
def test_an_action_is_found_by_its_name_whatever_its_file_is_called(site: Site, file: str) -> None:
    text = json.dumps({"name": "say", "runner_type": "noop"}) if file.endswith("json") else ECHO
    site.write(f"packs/p/actions/{file}", text)
    site.write("packs/p/actions/zz.yaml", ECHO.replace("name: say", "name: say.more"))
    assert site.catalog.get("p.say").source.endswith(file)
    assert site.catalog.get("p.say.more").name == "say.more"


def test_a_pack_is_named_by_its_folder_or_by_what_it_calls_itself(site: Site) -> None:
    site.write("packs/stackstorm-linux/pack.yaml", "ref: linux\nname: Linux things\n")
    site.write("packs/stackstorm-linux/actions/say.yaml", ECHO)
    assert site.catalog.get("linux.say").ref == "linux.say"
    assert [one.ref for one in site.catalog if not one.ref.startswith("core.")] == ["linux.say"]


def test_the_first_folder_that_has_a_name_wins_and_the_core_pack_is_built_in_below_all(
    site: Site, tmp_path: Path
) -> None:
    site.write("packs/p/actions/say.yaml", ECHO)
    site.write("more/p/actions/say.yaml", ECHO.replace("Say it.", "Say it differently."))
    site.write("more/p/actions/only.yaml", ECHO.replace("name: say", "name: only"))
    site.write("more/core/actions/noop.yaml", "name: noop\nrunner_type: noop\ndescription: Theirs.\n")
    catalog = Catalog([site.packs, tmp_path / "more", tmp_path / "not-there"])
    assert catalog.get("p.say").description == "Say it."
    assert catalog.get("p.only").name == "only"
    assert catalog.get("core.noop").description == "Theirs."
    assert catalog.get("core.local").source == "built in"
    refs = [one.ref for one in catalog]
    assert refs == sorted(refs)
    assert len(refs) == len(set(refs))
    assert {"core.local", "core.noop", "p.say", "p.only"} <= set(refs)


def test_older_names_of_runner_types_mean_the_ones_in_use(site: Site) -> None:
    site.action("old", "run-python", "x.py")
    assert site.catalog.get("p.old").runner_type == "python-script"


def test_of_a_key_that_stands_twice_the_last_one_counts_and_mappings_take_in_others(site: Site) -> None:
    site.write(
        "packs/p/actions/say.yaml",
        "name: other\nname: say\nrunner_type: noop\n"
        "parameters: {a: &a {type: integer, default: 1}, b: {<<: *a, default: 2}}\n",
    )
    found = site.catalog.get("p.say").parameters
    assert (found["b"].type, found["b"].default) == ("integer", 2)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("name: say\n", ":1:1: an action needs a `runner_type`"),
        ("runner_type: noop\nname: [1]\n", ":2:1: `name` must be text, not [1]"),
        ("name: say\nrunner_type: noop\nenabled: maybe\n", ":3:1: `enabled` must be true or false, not 'maybe'"),
        ("name: say\nrunner_type: noop\nparameters:\n  a: [1]\n", ":4:3: `a` must be a mapping, not [1]"),
        (
            "name: say\nrunner_type: noop\nparameters:\n  a:\n    type: strin\n",
            ":5:5: there is no type 'strin'; there are: array, boolean, integer, number, object, string",
        ),
        (
            "name: say\nrunner_type: noop\nparameters:\n  a: {position: true}\n",
            ":4:7: `position` must be a whole number, not True",
        ),
        (
            "name: say\nrunner_type: noop\nentry_point: ../../q/x.sh\n",
            ":3:1: the entry point '../../q/x.sh' is outside of its pack",
        ),
        ("- 1\n", ":1:1: it must be a mapping"),
        ("name: {{ say }}\n", ":1:8: a key must be a single word or text"),
        (BOMB, "values, aliases counted each time"),
        ("x: " + "[" * 100, "nested more than 64 levels deep"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line_and_ends_nothing(site: Site, text: str, wrong: str) -> None:
    file = site.write("packs/p/actions/say.yaml", text)
    site.action("fine", "noop")
    with pytest.raises(InvalidInput) as caught:
        site.catalog.get("p.say")
    assert caught.value.message.startswith(f"{file}:")
    assert wrong in caught.value.message
    listed = {one.ref: one for one in site.catalog}
    assert listed["p.say"] == Broken("p.say", str(file), caught.value.message)
    assert isinstance(listed["p.fine"], PackAction)


def test_a_file_that_is_no_text_or_cannot_be_read_is_named(site: Site) -> None:
    (site.write("packs/p/actions/a.yaml", "")).write_bytes(b"name: \xff")
    (site.packs / "p/actions/b.yaml").symlink_to("not-there")
    os.mkfifo(site.packs / "p/actions/c.yaml")
    (site.packs / "p/actions/d.yaml").mkdir()
    problems = [one.problem for one in site.catalog if isinstance(one, Broken)]
    assert [problem.partition("/actions/")[2] for problem in problems] == [
        "a.yaml: is not UTF-8 text (byte 6)",
        "b.yaml: cannot be read: No such file or directory",
        "c.yaml: cannot be read: it is neither a file nor a folder",
        "d.yaml: cannot be read: Is a directory",
    ]
    with pytest.raises(NotFound):
        site.catalog.get("p.nowhere")


def test_a_name_that_is_not_there_tells_near_ones(site: Site) -> None:
    site.write("packs/p/actions/say.yaml", ECHO)
    with pytest.raises(NotFound, match=r"no action 'p\.sya'; did you mean p\.say\?"):
        site.catalog.get("p.sya")
    with pytest.raises(
        NotFound, match=rf"no pack 'cor' for 'cor\.local'; did you mean 'core'\? looked in {site.packs}"
    ):
        site.catalog.get("cor.local")
    with pytest.raises(NotFound, match="set `catalog:"):
        Catalog([]).get("p.say")
    with pytest.raises(NotFound):
        site.catalog.get("../p.say")


def _started(target: Target) -> str:
    """The workflow that is started where the caller gives nothing."""
    assert target.bind is not None
    return target.bind(Given()).workflow


def test_workflow_files_are_found_with_or_without_metadata(site: Site) -> None:
    site.write("packs/p/actions/workflows/plain.yaml", "version: '2.0'\nplain: {tasks: {t: {action: std.noop}}}\n")
    site.write("packs/p/actions/workflows/told.yaml", "version: '2.0'\np.told: {tasks: {t: {action: std.noop}}}\n")
    site.action("told", "mistral-v2", "workflows/told.yaml", token={"type": "string", "secret": True})
    listed = {one.ref: one for one in site.catalog if one.ref.startswith("p.")}
    assert {ref: one.runner_type for ref, one in listed.items() if isinstance(one, PackAction)} == {
        "p.plain": "workflow",
        "p.told": "mistral-v2",
    }
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    told = target_of("p.told", config)
    assert told is not None
    assert told.definition is not None
    assert (_started(told), told.backend, set(told.secret)) == ("p.told", "memory", {"token"})
    assert told.definition.source == str(site.packs / "p/actions/workflows/told.yaml")
    elsewhere = target_of("p.plain", Config(site.root / "l", catalog=CatalogConfig((site.packs,), "prod")))
    assert elsewhere is not None
    assert (_started(elsewhere), elsewhere.backend) == ("plain", "prod")


def test_chains_and_actions_are_started_on_the_chain_engine_by_their_name(site: Site) -> None:
    site.action("chain", "action-chain", "chains/c.yaml", key={"type": "string", "secret": True})
    site.write("packs/p/actions/chains/c.yaml", "chain: [{name: t, ref: core.noop}]\n")
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    for ref, secret in (("p.chain", {"key"}), ("core.local", {"sudo_password"}), ("core.noop", set())):
        target = target_of(ref, config)
        assert target is not None
        assert (target.definition, target.workflow, target.backend) == (None, ref, "actionchain")
        assert target.secret == secret
    assert target_of("unheard.of", config) is None


def test_what_is_disabled_or_of_a_type_that_is_not_run_here_is_refused_by_name(site: Site) -> None:
    site.action("far", "remote-shell-cmd")
    site.write("packs/p/actions/idle.yaml", "name: idle\nrunner_type: noop\nenabled: false\n")
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    with pytest.raises(EngineRefused, match=r"p\.far is of the runner type 'remote-shell-cmd', which is not run here"):
        target_of("p.far", config)
    with pytest.raises(EngineRefused, match=r"p\.idle is disabled by its pack \(.*idle\.yaml\)"):
        target_of("p.idle", config)
    with pytest.raises(EngineRefused, match=r"core\.ask is of the runner type 'inquirer'"):
        target_of("core.ask", config)


def test_an_entry_tells_what_there_is_to_know_and_no_secret_default(site: Site) -> None:
    site.action(
        "act", "noop", "", key={"type": "string", "secret": True, "default": "xyzzy"}, n={"type": ["integer", "null"]}
    )
    config = Config(site.root / "ledger.db", catalog=CatalogConfig((site.packs,)))
    (entry,) = entry_of("p.act", config)
    assert (entry.kind, entry.backend, entry.problem) == ("noop", "actionchain", "")
    assert entry.inputs == {"key": {"type": "string", "secret": True, "default": SHOWN}, "n": {"type": "integer"}}
    assert [one.ref for one in entries_of(config) if one.ref.startswith("p.")] == ["p.act"]
    assert entry_of("unheard.of", config) == []


def test_the_configuration_of_a_pack_comes_from_its_schema_its_file_and_the_site(site: Site) -> None:
    site.write(
        "packs/p/config.schema.yaml",
        """
url: {type: string, default: http://default}
user: {type: string, default: nobody}
key: {type: string, secret: true}
inner:
  type: object
  properties:
    token: {type: string, secret: true, default: deep-one}
    place: {type: string}
empty: {type: object, properties: {x: {type: string}}}
""",
    )
    site.action("a", "noop")
    assert site.catalog.config("p") == {
        "url": "http://default",
        "user": "nobody",
        "inner": {"token": "deep-one"},
    }
    site.write("packs/p/config.yaml", "user: pack\nkey: k1\n")
    site.write("configs/p.yaml", "key: k2\ninner: {place: here}\n")
    assert site.catalog.config("p") == {
        "url": "http://default",
        "user": "pack",
        "key": "k2",
        "inner": {"token": "deep-one", "place": "here"},
    }
    assert site.catalog.secret_config("p") == ["k2", "deep-one"]
    assert site.catalog.config("unheard") == {}
    site.write("configs/p.yaml", "- 1\n")
    with pytest.raises(InvalidInput, match=r"configs/p\.yaml:1:1: it must be a mapping"):
        site.catalog.config("p")
