"""Looking where an engine is silent, at old records, and at the installation itself."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cli.clikit import Gates, Said, seen_ten_minutes_ago
from flowbridge import deadline, listing
from flowbridge.bridge import Bridge
from flowbridge.model import Ref

Flowbridge = Callable[..., Said]

HELLO = str(Path(__file__).parent.parent.parent / "examples" / "hello.yaml")
ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An execution that was last seen ten minutes ago on an engine that refuses every connection now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v2"
        (home / "config.yaml").write_text(f"backends:\n  prod: {{type: mistral, url: '{url}'}}\n")
        monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
        with Bridge() as bridge:
            bridge.ledger.executions.put([seen_ten_minutes_ago(Ref("prod", ID))])
        yield ID


def test_a_silent_engine_is_named_and_the_last_status_is_shown_with_its_age(
    flowbridge: Flowbridge, silent: str
) -> None:
    for command in ("get", "tree"):
        said = flowbridge(command, silent, "-o", "json")
        assert (said.code, said.data["status"], said.data["stale"]) == (5, "running", True)
        assert re.search(r"^prod \(http://\S+\) does not answer \(", said.err, re.MULTILINE)
        assert said.err.count("does not answer") == 1
        assert "what was seen 10 min ago" in said.err
    assert flowbridge("get", silent, "-o", "json").data["output"] is None


def test_list_marks_what_it_could_not_see(flowbridge: Flowbridge, silent: str) -> None:
    said = flowbridge("list", "-o", "json")
    assert [(row["id"], row["stale"]) for row in said.data] == [(silent, True)]
    assert "does not answer" in said.err
    assert "10 min ago" in flowbridge("list", "--look").out
    assert "--timeout waits longer" in said.err
    unasked = flowbridge("list", "--no-look")
    assert "10 min ago" in unasked.out
    assert unasked.err == ""


@pytest.mark.parametrize(("words", "seconds"), [((), 3.0), (("--timeout", "7"), 7.0)])
def test_a_list_waits_three_seconds_for_an_engine_or_as_long_as_is_said(
    flowbridge: Flowbridge, silent: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], seconds: float
) -> None:
    waits: list[float | None] = []

    def within(patience: float | None) -> AbstractContextManager[None]:
        waits.append(patience)
        return deadline.within(0.0)

    monkeypatch.setattr(listing, "within", within)
    assert flowbridge("list", *words, "-o", "json").data[0]["stale"]
    assert set(waits) == {seconds}


def test_O2_a_pause_on_a_silent_engine_is_not_done_and_stays_open(flowbridge: Flowbridge, silent: str) -> None:
    said = flowbridge("pause", silent, "-o", "json")
    assert (said.code, said.row["result"]) == (5, "not_done")
    assert list(said.row["not_done"]) == [silent]
    assert flowbridge("tree", silent, "-o", "json").data["unfinished"] == ["pause by ada"]
    assert any("unfinished" in (row["detail"] or "") for row in flowbridge("doctor", "-o", "json").data)
    recovered = flowbridge("recover", "--timeout", "1", "-o", "json")
    assert (recovered.code, recovered.data[0]["unfinished"]) == (5, ["pause by ada"])


@pytest.mark.parametrize("verb", ["re-run", "skip"])
def test_O2_a_verb_that_needs_a_silent_engine_ends_with_5_and_says_where_it_was_looked_for(
    flowbridge: Flowbridge, silent: str, verb: str
) -> None:
    said = flowbridge(verb, silent, "--tasks", "t", "-o", "json")
    assert (said.code, said.row["result"], said.row["exit_code"]) == (5, "failed", 5)
    assert "prod does not answer: nothing was done (O2). Do it again when `flowbridge backend check prod`" in said.err
    assert re.search(r"prod \(http://127\.0\.0\.1:\d+/v2\) does not answer", said.err)


def test_O6_the_history_says_of_each_outcome_which_verb_it_is_of(flowbridge: Flowbridge) -> None:
    assert flowbridge("run", HELLO).code == 0
    assert flowbridge("re-run", "last").code == 0
    assert flowbridge("pause", "last").code == 3
    rows = [row for row in flowbridge("history", "-o", "json").data if row["kind"] in ("operation", "outcome")]
    told = [row["what"].partition(":")[0] for row in rows]
    # A re-run from the beginning is the start of another execution, which begins and ends within it.
    assert sorted(told[2:6]) == ["re-run", "re-run done", "start", "start done"]
    assert told[:2] + told[6:] == ["start", "start done", "pause", "pause rejected"]


def test_backend_check_and_doctor_end_with_the_code_of_what_is_wrong(flowbridge: Flowbridge, silent: str) -> None:
    assert silent
    checked = flowbridge("backend", "check", "-o", "json")
    assert checked.code == 5
    assert {row["name"]: row["answers"] for row in checked.data} == {"actionchain": True, "memory": True, "prod": False}
    assert flowbridge("backend", "check", "memory").code == 0
    assert flowbridge("doctor").code == 5


def test_everything_is_well_in_a_new_installation(flowbridge: Flowbridge, home: Path) -> None:
    assert flowbridge("doctor").code == 0
    assert flowbridge("plugins").code == 0
    assert {row["name"] for row in flowbridge("plugins", "-o", "json").data} >= {"memory", "mistral"}
    assert flowbridge("list", "-o", "json").data == []
    assert flowbridge("list").out == "nothing found\n"
    assert flowbridge("recover", "-o", "json").data == []
    assert flowbridge("ledger", "path").out.strip() == str(home / "ledger.db")
    assert flowbridge("ledger", "check", "-o", "json").data["sound"] is True
    assert flowbridge("config", "path").out.strip().startswith(str(home / "config"))
    assert flowbridge("config", "show", "-o", "json").data["actor"] == "ada"


def test_get_deep_reads_what_is_below_and_get_alone_does_not(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    (home / "w.yaml").write_text(
        "version: '2.0'\nmain:\n  tasks:\n    t:\n      workflow: sub\n      input: {a: 1}\n"
        "sub:\n  input: [a]\n  output: {a: <% $.a %>}\n  tasks:\n    s:\n      action: std.noop\n"
    )
    assert flowbridge("run", "w.yaml").code == 0
    (child,) = flowbridge("get", "last", "-o", "json").data["tasks"][0]["children"]
    assert "input" not in child
    (child,) = flowbridge("get", "last", "--deep", "-o", "json").data["tasks"][0]["children"]
    assert (child["input"], child["output"]) == ({"a": 1}, {"a": 1})
    root = flowbridge("get", "last", "-o", "json").data
    assert (child["parent_id"], child["parent_task"]) == (root["id"], "t")
    assert flowbridge("get", child["id"], "-o", "json").data["parent_task"] == "t"


def test_prune_forgets_what_ended_long_ago_and_asks_first(
    flowbridge: Flowbridge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flowbridge("run", HELLO, "--reason", "a try").code == 0
    assert flowbridge("ledger", "prune", "--older-than", "1d", "-o", "json").data == {"found": 0, "forgotten": 0}
    planned = flowbridge("ledger", "prune", "--older-than", "0s", "--dry-run", "-o", "json")
    assert planned.data == {"found": 1, "forgotten": 0}
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert flowbridge("ledger", "prune", "--older-than", "0s").code == 2
    assert len(flowbridge("list", "-o", "json").data) == 1
    assert flowbridge("ledger", "prune", "--older-than", "0s", "--yes", "-o", "json").data["forgotten"] == 1
    assert flowbridge("list", "-o", "json").data == []
    assert "start (a try)" in flowbridge("history").out


def test_the_documents_have_these_keys(flowbridge: Flowbridge) -> None:
    document = json.loads(flowbridge("run", HELLO, "-o", "json").out)
    listed = flowbridge("list", "-o", "json").data[0]
    assert set(listed) == {
        "id", "status", "workflow", "backend", "engine_id", "engine_state", "held", "held_by", "gone", "parent_id",
        "item", "rerun_of", "superseded_by", "error", "actor", "created_at", "observed_at", "possible", "stale",
        "trouble", "waits_for_driver", "hung",
    }  # fmt: skip
    assert set(document) - set(listed) == {
        "parent_task", "unknown", "tasks", "active_tasks", "updated_at", "held_since", "unfinished", "input", "output",
        "linked", "waits_for",
    }  # fmt: skip
    assert set(document["tasks"][0]) == {
        "id", "name", "status", "engine_state", "active", "item_count", "running", "error", "children", "result",
        "published", "started_at", "finished_at",
    }  # fmt: skip


NESTED = """
version: '2.0'
top: {tasks: {t1: {workflow: middle}}}
middle: {tasks: {t2: {with-items: 'i in [0, 1]', workflow: low, input: {n: <% $.i %>}}}}
low: {input: [n], output: {n: <% $.n %>}, tasks: {t3: {action: std.echo, input: {output: hey}}}}
"""


def test_a_child_is_shown_by_the_tasks_on_the_way_to_it(flowbridge: Flowbridge, home: Path) -> None:
    (home / "nested.yaml").write_text(NESTED)
    flowbridge("run", "nested.yaml", "--workflow", "top")
    found = flowbridge("get", "last", "--path", "t1.t2[0]", "-o", "json").data
    assert (found["workflow"], found["output"]) == ("low", {"n": 0})
    assert flowbridge("get", "last", "--path", "t1", "-o", "json").data["workflow"] == "middle"
    leaf = flowbridge("get", "last", "--path", "t1.t2[1].t3", "-o", "json").data
    assert (leaf["name"], leaf["status"], leaf["children"]) == ("t3", "succeeded", [])
    assert flowbridge("get", "last", "--path", "t1.t2[1].t3").out == "+ t3  succeeded\n"
    assert "result of t3" in flowbridge("get", "last", "--path", "t1.t2[1].t3", "--result").out
    several = flowbridge("get", "last", "--path", "t1.t2.t3")
    assert (several.code, several.out) == (2, "")
    assert "t2: has several items" in several.err
    assert "and t3 stands inside of one; name one of: t2[0], t2[1]" in several.err
    assert "t2[7]: no such item in execution" in flowbridge("get", "last", "--path", "t1.t2[7].t3").err
    missing = flowbridge("get", "last", "--path", "t1.nonsense")
    assert missing.code == 4
    assert "nonsense: no such task" in missing.err
    assert "t2" in missing.err


def test_a_watch_tells_of_items_in_their_order(flowbridge: Flowbridge) -> None:
    deploy = str(Path(HELLO).with_name("deploy.yaml"))
    assert flowbridge("run", deploy, "--workflow", "release", "pace=0").code == 0
    told = re.findall(r"one_host\[(\d)\]  succeeded", flowbridge("watch", "last").err)
    assert told == ["0", "1", "2", "3", "4"]
