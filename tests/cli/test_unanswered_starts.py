"""A start that was sent and was seen nowhere: a list and `get` say so, and what to do about it (O3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from requests import ReadTimeout

from cli.conftest import Flowbridge
from flowbridge.bridge import Bridge
from flowbridge.model import EngineState, Record, Ref, Status, Want
from support.fake_mistral import FakeMistral
from support.haste import hurry
from support.wire import Answer, Heard, answer, wired

WAITS = "version: '2.0'\nw: {tasks: {one: {action: std.async_noop}}}\n"
NOTE = "start not answered: recover it"
LATE = "may still arrive: an agent, or `get`, cancels it"


@pytest.fixture
def lost(home: Path, flowbridge: Flowbridge, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An execution whose start was lost on the way to a Mistral."""
    hurry(monkeypatch, home)
    (home / "config.yaml").write_text("backends: {prod: {type: mistral, url: 'http://prod.example.org'}}\n")
    (home / "w.yaml").write_text(WAITS)
    monkeypatch.setenv("FLOWBRIDGE_CONFIG", "config.yaml")
    monkeypatch.setattr("flowbridge_mistral.client._wait", lambda *_: 0.0)
    # The process of a driver would look for that server in vain, and for long.
    monkeypatch.setattr("flowbridge.bridge.starting_drivers", lambda _: lambda tree: None)
    server = FakeMistral()
    server.bases["std.async_noop"] = "std.async_noop"
    losing = [True]

    def hear(heard: Heard) -> Answer:
        if losing and heard.path.startswith("executions"):
            raise ReadTimeout("it took too long")
        return answer(server, heard)

    with wired(prod=hear):
        said = flowbridge("run", "w.yaml", "--backend", "prod", "--detach")
        assert (said.code, "the start is written down" in said.err) == (5, True), said.err
        losing.clear()
        yield str(flowbridge("list", "--no-look", "-o", "json").data[0]["id"])


@pytest.mark.parametrize("words", [("list",), ("list", "--no-look")])
def test_O3_a_list_says_of_a_start_that_was_seen_nowhere_that_it_was_not_answered(
    flowbridge: Flowbridge, lost: str, words: tuple[str, ...]
) -> None:
    assert NOTE in flowbridge(*words).out
    assert set(flowbridge(*words, "-o", "json").data[0]) == set(flowbridge("list", "--no-look", "-o", "json").data[0])
    assert "unanswered" not in flowbridge(*words, "-o", "json").data[0]
    flowbridge("cancel", lost)
    assert f"canceled  {'w':8}  prod" in flowbridge(*words).out
    assert LATE in flowbridge(*words).out
    assert NOTE not in flowbridge(*words).out
    assert flowbridge("recover").code == 0
    assert LATE in flowbridge(*words).out, "nobody has named it"
    assert flowbridge("recover", lost).code == 0
    assert LATE not in flowbridge(*words).out


def test_O3_a_start_that_somebody_is_at_is_not_told_to_be_recovered(flowbridge: Flowbridge, lost: str) -> None:
    with Bridge() as flow, flow.ledger.leases.held(f"tree:{lost}", "start by her", what="it", timeout=0):
        assert NOTE not in flowbridge("list", "--no-look").out


def test_O3_a_start_that_recover_has_finished_is_told_no_more(flowbridge: Flowbridge, lost: str) -> None:
    assert flowbridge("recover", lost).code == 0
    assert [row["status"] for row in flowbridge("list", "-o", "json").data] == ["running"]
    assert NOTE not in flowbridge("list").out


def test_C1_a_linked_child_whose_start_may_still_arrive_after_its_cancel_is_told_too(
    flowbridge: Flowbridge, lost: str
) -> None:
    assert flowbridge("recover", lost).code == 0
    with Bridge() as flow:
        above = flow.find(lost)
        child = Record("child", above.tree, Ref("prod", "x"), parent=above.ref, parent_task="t", native=False, key="k")
        late = replace(child, want=Want.CANCEL, status=Status.CANCELED, seen=EngineState.ABSENT, asked=True)
        flow.ledger.executions.put([replace(late, created=above.created)])
    (row,) = [line for line in flowbridge("list", "--children", "--no-look").out.splitlines() if "child" in line]
    assert LATE in row
    assert "may still arrive below: an agent, or `get`, cancels it" in flowbridge("list", "--no-look").out


def test_O3_get_gives_the_advice_that_a_tree_gives(flowbridge: Flowbridge, lost: str) -> None:
    advice = f"The start by ada is not finished: `flowbridge recover {lost[:13]}` goes on with it where it was cut"
    assert advice in flowbridge("tree", lost).out
    assert re.search(f"^unfinished +{re.escape(advice)}", flowbridge("get", lost).out, re.MULTILINE)
    assert flowbridge("get", lost, "-o", "json").data["unfinished"] == ["start by ada"]
    flowbridge("cancel", lost)
    advice = "its start, which may still arrive, to cancel it then (C1)"
    assert advice in flowbridge("tree", lost).out
    assert advice in flowbridge("get", lost).out
