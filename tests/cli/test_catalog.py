"""`flowbridge catalog`: what it prints for people and for programs, how it fails, and what secrets it does not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Flowbridge
from flowbridge.errors import EngineRefused, InvalidInput, NotFound

ACT = """name: act
runner_type: noop
description: |
  First line.
  Second.
parameters:
  key: {type: string, secret: true, default: xyzzy, required: true}
  n: {type: integer, enum: [1, 2]}
"""


@pytest.fixture(autouse=True)
def packs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack with one action that is sound, one that is broken and one that is not run here."""
    folder = home / "packs/p/actions"
    folder.mkdir(parents=True)
    (folder / "act.yaml").write_text(ACT)
    (folder / "bad.yaml").write_text("name: bad\nrunner_type: [1]\n")
    (folder / "far.yaml").write_text("name: far\nrunner_type: remote-shell-cmd\n")
    monkeypatch.setenv("FLOWBRIDGE_PACKS", str(home / "packs"))
    return folder


def test_a_list_names_what_can_be_started_and_on_stderr_what_is_broken(flowbridge: Flowbridge, packs: Path) -> None:
    said = flowbridge("catalog", "list", "p.*")
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["REF", "KIND", "BACKEND", "DESCRIPTION"],
        ["p.act", "noop", "actionchain", "First", "line."],
        ["p.far", "remote-shell-cmd", "-"],
    ]
    assert f"broken: {packs}/bad.yaml:2:1: `runner_type` must be text, not [1]" in said.err


def test_a_list_for_programs_has_everything_and_the_problem_of_each(flowbridge: Flowbridge, packs: Path) -> None:
    rows = {row["ref"]: row for row in flowbridge("catalog", "list", "-o", "json").data}
    assert {"core.local", "core.uuid", "p.act", "p.bad", "p.far"} <= set(rows)
    assert rows["p.act"] == {
        "ref": "p.act",
        "kind": "noop",
        "description": "First line.",
        "backend": "actionchain",
        "source": f"{packs}/act.yaml",
        "problem": None,
    }
    assert rows["p.bad"]["kind"] is None
    assert rows["p.bad"]["problem"].startswith(f"{packs}/bad.yaml:2:1:")
    assert "remote-shell-cmd" in rows["p.far"]["problem"]
    assert flowbridge("catalog", "list", "nothing-like-it", "-o", "json").data == []


def test_show_tells_what_an_action_takes_and_hides_a_secret_default(flowbridge: Flowbridge) -> None:
    assert flowbridge("catalog", "show", "p.act", "-o", "json").data["inputs"] == {
        "key": {"type": "string", "required": True, "default": "********", "secret": True},
        "n": {"type": "integer", "enum": [1, 2]},
    }
    said = flowbridge("catalog", "show", "p.act").out
    assert "xyzzy" not in said
    assert "Second." in said


def test_show_of_what_is_not_there_or_is_broken_ends_as_documented(flowbridge: Flowbridge) -> None:
    assert flowbridge("catalog", "show", "p.acd").code == NotFound.exit_code
    unknown = flowbridge("catalog", "show", "unheard")
    assert (unknown.code, "no catalog knows 'unheard'" in unknown.err) == (NotFound.exit_code, True)
    assert flowbridge("catalog", "show", "p.bad").code == InvalidInput.exit_code


def test_a_run_of_what_is_not_run_here_is_refused_before_anything_is_written(
    flowbridge: Flowbridge, home: Path
) -> None:
    refused = flowbridge("run", "p.far")
    assert refused.code == EngineRefused.exit_code
    assert "p.far is of the runner type 'remote-shell-cmd', which is not run here" in refused.err
    assert flowbridge("list", "-o", "json").data == []
    assert not (home / "vault.key").exists()


def test_the_configuration_shows_the_folders_of_packs(flowbridge: Flowbridge, home: Path) -> None:
    assert flowbridge("config", "show", "-o", "json").data["packs"] == [str(home / "packs")]
