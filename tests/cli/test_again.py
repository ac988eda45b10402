"""A verb over a filter, run again: it goes on with what it left open, whatever the statuses are by then (O2, O3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from requests import ConnectionError as NoConnection

from cli.clikit import Said
from flowbridge.bridge import Bridge
from flowbridge.deadline import left
from flowbridge.law.decide import Plan
from support.fake_mistral import FakeMistral
from support.haste import hurry
from support.wire import Answer, Heard, answer, wired

Flowbridge = Callable[..., Said]

WAITS = "version: '2.0'\nw:\n  tasks:\n    one: {action: std.async_noop}\n"
BY_STATUS = ("--status", "running", "--backend", "prod", "--older-than", "0s", "--yes", "--timeout", "0.01")


@dataclass
class Prod:
    """A Mistral that can be stopped, and what runs on it."""

    server: FakeMistral = field(default_factory=FakeMistral)
    down: bool = False

    def hear(self, heard: Heard) -> Answer:
        """Answer, where it is up."""
        if self.down:
            raise NoConnection("refused")
        return answer(self.server, heard)

    def states(self) -> set[str]:
        """What the engine says of its executions."""
        return {one.state for one in self.server.executions.values()}


@pytest.fixture
def prod(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prod]:
    hurry(monkeypatch, home)
    (home / "config.yaml").write_text("backends: {prod: {type: mistral, url: 'http://prod.example.org'}}\n")
    (home / "w.yaml").write_text(WAITS)
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", "config.yaml")
    monkeypatch.setattr("flowbridge_mistral.client._wait", lambda *_: 0.0)
    made = Prod()
    made.server.bases["std.async_noop"] = "std.async_noop"
    with wired(prod=made.hear):
        yield made


def started(flowbridge: Flowbridge) -> str:
    said = flowbridge("run", "w.yaml", "--backend", "prod", "--detach")
    assert said.code == 0, said.err
    return said.out.strip()


@pytest.mark.parametrize(
    ("verb", "between", "goes_on"),
    [("cancel", "canceling", "takes over the cancel"), ("pause", "pausing", "goes on with the pause")],
)
def test_O2_a_verb_over_a_filter_that_is_run_again_goes_on_with_what_is_open(
    flowbridge: Flowbridge, prod: Prod, verb: str, between: str, goes_on: str
) -> None:
    ids = {started(flowbridge), started(flowbridge)}
    prod.down = True
    for words in ("touches nothing", *[f"{goes_on} by ada: touches nothing"] * 2):
        said = flowbridge(verb, *BY_STATUS, "-o", "json")
        assert (said.code, {row["target"] for row in said.data}) == (5, ids), said.err
        assert {row["result"] for row in said.data} == {"not_done"}
        assert said.err.count(f"  {words}: prod does not answer; it stays open (O2)") == 2
        assert {flowbridge("get", id, "-o", "json").data["status"] for id in ids} == {between}
    assert prod.states() == {"RUNNING"}
    prod.down = False
    said = flowbridge(verb, *BY_STATUS, "-o", "json")
    assert (said.code, {row["target"] for row in said.data}) == (0, ids), said.err
    assert prod.states() == {"CANCELLED" if verb == "cancel" else "PAUSED"}
    said = flowbridge(verb, *BY_STATUS, "-o", "json")
    assert (said.code, said.data) == (0, [])
    assert "nothing matches; nothing was done" in said.err
    assert {flowbridge("tree", id, "-o", "json").data["unfinished"] == [] for id in ids} == {True}


def test_O3_what_the_look_itself_has_done_of_it_is_no_rejection(flowbridge: Flowbridge, prod: Prod) -> None:
    id = started(flowbridge)
    prod.down = True
    assert flowbridge("cancel", *BY_STATUS).code == 5
    prod.down = False
    for action in prod.server.actions.values():
        action.state = "SUCCESS"
    said = flowbridge("cancel", *BY_STATUS, "-o", "json")
    assert (said.code, said.row["target"]) == (0, id), said.err


@pytest.mark.parametrize(
    "other", [("--workflow", "another"), ("--older-than", "1h"), ("--backend", "memory")], ids=lambda words: words[0]
)
def test_the_rest_of_the_filter_still_chooses(flowbridge: Flowbridge, prod: Prod, other: tuple[str, ...]) -> None:
    started(flowbridge)
    prod.down = True
    assert flowbridge("cancel", *BY_STATUS).code == 5
    said = flowbridge("cancel", "--status", "running", *other, "--yes", "-o", "json")
    assert (said.code, said.data) == (0, [])


def test_what_another_verb_left_open_is_not_chosen(flowbridge: Flowbridge, prod: Prod) -> None:
    started(flowbridge)
    prod.down = True
    assert flowbridge("pause", *BY_STATUS).code == 5
    said = flowbridge("cancel", *BY_STATUS, "-o", "json")
    assert (said.code, said.data) == (0, [])


def test_O1_a_plan_says_what_is_so_of_what_is_canceled_at_its_engine_and_still_runs(
    flowbridge: Flowbridge, prod: Prod
) -> None:
    id = started(flowbridge)
    assert flowbridge("cancel", id).code == 0
    said = flowbridge("cancel", "--status", "canceling", "--dry-run")
    assert "canceling" in said.out
    assert "its engine has canceled it; what still runs in it ends first (C2)" in said.out
    said = flowbridge("cancel", "--status", "canceling", "--yes")
    assert f"{id}  touches nothing: its engine has canceled it; what still runs" in said.err
    assert "anew" not in said.err


def test_O1_the_plan_of_a_pause_that_is_open_is_what_is_left_of_it(flowbridge: Flowbridge, prod: Prod) -> None:
    id = started(flowbridge)
    prod.down = True
    assert flowbridge("pause", id, "--timeout", "0.01").code == 5
    row = flowbridge("pause", id, "--dry-run", "-o", "json").row
    assert (row["result"], row["goes_on_with"], row["exit_code"]) == ("planned", "pause by ada", 0)
    assert f"{id} goes on with the pause by ada" in flowbridge("pause", id, "--dry-run").out


def test_O5_a_cancel_that_takes_over_an_older_one_is_called_so_in_the_answer_and_in_the_history(
    flowbridge: Flowbridge, prod: Prod
) -> None:
    id = started(flowbridge)
    prod.down = True
    assert flowbridge("cancel", id, "--timeout", "0.01").code == 5
    assert f"{id} takes over the cancel by ada" in flowbridge("cancel", id, "--dry-run").out
    prod.down = False
    again = flowbridge("cancel", id, "-o", "json").row["operation"]
    said = flowbridge("history", id).out
    assert f"  cancel taken over by cancel {again}\n" in said
    assert "replaced" not in said
    assert "  cancel done\n" in said


BESIDE = """
version: '2.0'
main:
  tasks:
    one: {action: std.async_noop}
    sub: {workflow: quick}
quick: {tasks: {q: {action: std.noop}}}
"""


def test_O1_a_plan_that_touches_nothing_names_each_execution_and_calls_none_open_that_has_ended(
    flowbridge: Flowbridge, prod: Prod, home: Path
) -> None:
    (home / "w.yaml").write_text(BESIDE)
    id = started(flowbridge)
    (below,) = flowbridge("list", "--children", "--workflow", "quick", "-o", "json").data
    assert below["status"] == "succeeded"
    prod.down = True
    said = flowbridge("pause", *BY_STATUS)
    assert said.err.count(f"  {id}  touches nothing: {id[:13]} (main): prod does not answer; it stays open (O2); ") == 1
    assert f"; {below['id'][:13]} (quick): prod does not answer; last seen: has succeeded\n" in said.err


def test_a_dry_run_may_take_as_long_as_timeout_says(
    flowbridge: Flowbridge, prod: FakeMistral, monkeypatch: pytest.MonkeyPatch
) -> None:
    del prod
    given: list[float | None] = []

    def plan(*_: object, **__: object) -> Plan:
        given.append(left())
        return Plan((), ())

    monkeypatch.setattr(Bridge, "plan", plan)
    for words in (["--timeout", "5"], []):
        flowbridge("cancel", "prod:x", "--dry-run", *words)
    assert given[0] is not None
    assert 4 < given[0] <= 6
    assert given[1] is None
