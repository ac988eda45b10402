"""The kit as a pytest plugin: what gates a rule, what its matrix says, and when a run fails because of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flowbridge_memory.yaqlang  # noqa: F401  here, not anew in each run inside a test
import support.memory  # noqa: F401  the same
from flowbridge.conformance import (
    matrix,
    suite,  # noqa: F401  the same
)
from flowbridge.conformance.rules import RULES

pytest_plugins = ["pytester"]

#: An outsider's test module, around the reference engine; `{less}` are verbs that it does not declare.
MODULE = """
from dataclasses import replace
import pytest
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance.suite import {tests}
from flowbridge.errors import Unsupported
from flowbridge.model import Verb
from flowbridge_memory.backend import MemoryBackend
from support.memory import MemoryHarness
from support.threads import ThreadLauncher

class Ours(MemoryBackend):
    @property
    def capabilities(self):
        facts = super().capabilities
        return replace(facts, verbs=facts.verbs - {{Verb(verb) for verb in {less}}})

class OurHarness(MemoryHarness):
    patience = 5.0

    def definition(self, shape):
        if any(step.join for flow in shape.flows for step in flow.steps):
            raise Unsupported("this engine has no joins")
        return super().definition(shape)

@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend("ours", {{}}))
    with Bridge(Config(ledger=ledger, actor="me"), backends=[Ours("ours", {{}})], launch=launcher, durable=False) as b:
        yield OurHarness(b, "ours")
        launcher.join()
"""

CHOSEN = ", ".join(
    (
        "test_S1_each_end_has_a_word_of_its_own",
        "test_P4_the_task_of_a_pausing_child_is_pausing_too",
        "test_X9_behind_the_re_run_task_the_workflow_goes_on_and_joins_count_afresh",
        "test_O10_a_verb_that_is_not_declared_does_nothing",
    )
)


def ran(pytester: pytest.Pytester, *words: str, less: tuple[str, ...] = ()) -> pytest.RunResult:
    pytester.makepyfile(MODULE.format(tests=CHOSEN, less=less))
    return pytester.runpytest_inprocess("-p", "flowbridge.conformance.plugin", "-p", "no:cacheprovider", *words)


def cells(pytester: pytest.Pytester) -> dict[str, Any]:
    (column,) = json.loads((pytester.path / "run.json").read_text()).values()
    return dict(column["rules"])


def test_the_matrix_is_printed_and_written_for_what_was_tried(pytester: pytest.Pytester) -> None:
    result = ran(pytester, "--conformance-json", "run.json")
    result.assert_outcomes(passed=2, skipped=6)
    result.stdout.fnmatch_lines(
        ["rule  ours", "S1    kept", "P4    native", "X9    not possible [[]1]", "[[]1] this engine has no joins"]
    )
    assert cells(pytester) == {
        "S1": {"how": "kept", "why": []},
        "P4": {"how": "native", "why": []},
        "X9": {"how": "impossible", "why": ["this engine has no joins"]},
        "O10": {
            "how": "impossible",
            "why": [f"does not apply: the engine has {v}" for v in ("cancel", "pause", "re-run", "resume", "skip")],
        },
    }


def test_a_verb_that_is_said_to_be_missing_gates_its_rules_and_fails_where_it_works(pytester: pytest.Pytester) -> None:
    result = ran(pytester, "--conformance-json", "run.json", less=("pause",))
    result.assert_outcomes(passed=1, skipped=6, failed=1)
    result.stdout.fnmatch_lines(["*pause is not declared, and the engine does it: declare it*"])
    assert cells(pytester)["P4"] == {"how": "impossible", "why": ["the engine has no pause"]}
    assert cells(pytester)["O10"] == {"how": "broken", "why": ["test_O10_a_verb_that_is_not_declared_does_nothing"]}


def test_a_whole_run_that_differs_from_what_was_kept_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix.Matrix, "missed", lambda self, backend, tests: set())
    (pytester.path / "kept.json").write_text(json.dumps({"ours": {"facts": {}, "rules": {"S1": NATIVE}}}))
    result = ran(pytester, "--conformance-expect", "kept.json", "-k", "S1")
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*the matrix is not that of kept.json*", "ours: S1: kept is native, this run shows kept"]
    )


NATIVE = {"how": "native", "why": []}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "it cannot be read (No such file or directory)"),
        ("[1]", "that is no matrix"),
        ("{", "that is no matrix"),
        ('{"ours": {"facts": {}}}', "that is no matrix"),
        ("{}", "there is no backend"),
    ],
)
def test_a_matrix_that_cannot_be_compared_with_is_told_before_the_first_test(
    pytester: pytest.Pytester, text: str | None, why: str
) -> None:
    if text is not None:
        (pytester.path / "kept.json").write_text(text)
    result = ran(pytester, "--conformance-expect", "kept.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"kept.json: {why}" in result.stderr.str()


def test_a_place_where_nothing_can_be_written_is_told_before_the_first_test(pytester: pytest.Pytester) -> None:
    result = ran(pytester, "--conformance-json", "nowhere/run.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no folder nowhere" in result.stderr.str()


def test_the_first_run_writes_what_the_next_one_is_compared_with(pytester: pytest.Pytester) -> None:
    both = ("--conformance-json", "run.json", "--conformance-expect", "run.json", "-k", "S1")
    assert ran(pytester, *both).ret == pytest.ExitCode.OK
    assert cells(pytester) == {"S1": {"how": "kept", "why": []}}


def test_a_run_that_is_compared_with_nothing_says_so(pytester: pytest.Pytester) -> None:
    (pytester.path / "kept.json").write_text(json.dumps({"theirs": {"facts": {}, "rules": {"S1": NATIVE}}}))
    result = ran(pytester, "--conformance-expect", "kept.json", "-k", "S1")
    result.stdout.fnmatch_lines(["compared with nothing: kept.json has no column ours"])


def test_what_could_not_be_tried_of_a_rule_is_said_and_what_does_not_apply_is_not() -> None:
    seen = matrix.Matrix()
    told = {"backend": "ours", "facts": {}, "rule": "S1", "calls": 2, "why": [], "outcome": "passed", "reason": ""}
    seen.tell({**told, "test": "test_S1_one"})
    seen.tell({**told, "test": "test_S1_two", "outcome": "skipped", "reason": "does not apply: it has no such thing"})
    assert seen.columns()["ours"]["rules"] == {"S1": {"how": "bridge", "why": []}}
    seen.tell({**told, "test": "test_S1_three", "outcome": "skipped", "reason": "no joins"})
    assert seen.columns()["ours"]["rules"] == {"S1": {"how": "bridge", "why": ["not all of it: no joins"]}}


def test_a_part_of_the_suite_is_no_whole_run() -> None:
    seen = matrix.Matrix()
    told = {"backend": "ours", "facts": {}, "rule": "S1", "calls": 0, "why": [], "outcome": "passed", "reason": ""}
    seen.tell({**told, "test": "test_S1_one"})
    assert seen.missed("ours", ["test_S1_one", "test_S1_two"]) == {"test_S1_two"}
    seen.tell({**told, "test": "test_S1_two"})
    assert seen.missed("ours", ["test_S1_one", "test_S1_two"]) == set()


@pytest.mark.parametrize("part", ["facts", "rules"])
def test_what_differs_is_named_and_what_is_not_kept_is_not(part: str) -> None:
    kept: dict[str, dict[str, object]] = {"facts": {"resume_up": "never"}, "rules": {"P2": NATIVE}}
    other = {**kept, part: {**kept[part], "P2": {"how": "kept", "why": []}}}
    assert matrix.differences({"ours": kept}, {"ours": kept, "theirs": other}) == []
    (line,) = matrix.differences({"ours": kept}, {"ours": other})
    assert line.startswith("ours: P2: kept is ")


def test_the_table_has_a_line_for_every_rule_and_says_why_one_cannot_be_tried() -> None:
    column = {"facts": {}, "rules": {"P4": {"how": "bridge", "why": []}, "R4": {"how": "native", "why": ["refused"]}}}
    lines = matrix.table({"ours": column}).splitlines()
    assert len(lines) == len(RULES) + 2
    assert "| P4 | pausing, then paused | by the bridge |" in lines
    assert "| R4 | refused where the engine would resume the parent | native; refused |" in lines
    assert "| X7 | dotted names cross engines | not of one engine: it takes two engines |" in lines


def test_the_page_of_the_matrix_is_made_of_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make = _make_matrix()
    assert make.main(["--check"]) == 0, capsys.readouterr().out
    kept = json.loads(make.KEPT.read_text())
    kept["memory"]["rules"]["P2"]["how"] = "broken"
    (tmp_path / "run.json").write_text(json.dumps({"memory": kept["memory"]}))
    assert make.main(["--check", str(tmp_path / "run.json")]) == 1
    assert "memory: P2: kept is native, this run shows BROKEN" in capsys.readouterr().out


def test_every_backend_of_ours_has_its_column() -> None:
    import tomllib

    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    kept = json.loads(_make_matrix().KEPT.read_text())
    types = {column["facts"]["type"] for column in kept.values()}
    assert set(project["entry-points"]["flowbridge.backends"]) <= types


_ROOT = Path(__file__).parents[2]


def _make_matrix() -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("make_matrix", _ROOT / "docs/make_matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
