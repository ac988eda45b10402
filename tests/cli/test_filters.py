"""Verbs over a filter where an engine of the house is silent: no other waits for it (O2)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.clikit import Gates, seen_ten_minutes_ago
from cli.conftest import Flowbridge
from flowbridge import deadline
from flowbridge.bridge import Bridge
from flowbridge.model import Ref, Status

WAITS = """
version: '2.0'
w:
  tasks:
    one: {{action: std.http, input: {{url: '{url}/one'}}}}
"""


@pytest.fixture
def hung(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ids of executions of a Mistral that takes requests and answers none; they are newer than all others."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        (home / "config.yaml").write_text(f"backends: {{prod: {{type: mistral, url: '{url}', timeout: 0.2}}}}\n")
        monkeypatch.setenv("FLOWBRIDGE_CONFIG", str(home / "config.yaml"))
        ids = [f"{place}0000000-2222-3333-4444-555555555555" for place in range(3)]
        with Bridge() as bridge:
            records = [seen_ten_minutes_ago(Ref("prod", id)) for id in ids]
            bridge.ledger.executions.put(replace(record, created=record.created + 1200) for record in records)
            yield ids
            bridge.ledger.executions.put(replace(record, status=Status.CANCELED) for record in records)


def test_O2_those_of_an_engine_that_is_silent_come_last_and_get_no_second_time_out_for_their_plans(
    flowbridge: Flowbridge, home: Path, gates: Gates, hung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "w.yaml").write_text(WAITS.format(url=gates.url))
    answering = flowbridge("run", "w.yaml", "--detach").out.strip()
    gates.arrived("one")
    allowed: dict[str, float | None] = {}
    plan = Bridge.plan

    def planned(self: Bridge, verb: object, id: str, **more: object) -> object:
        allowed[id] = deadline.left()
        return plan(self, verb, id, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Bridge, "plan", planned)
    said = flowbridge("cancel", "--status", "running", "--yes", "-o", "json")
    rows = {row["target"]: row for row in said.data}
    assert next(iter(rows)) == answering
    assert set(list(rows)[1:]) == set(hung)
    assert rows[answering]["result"] == "done"
    assert {rows[id]["exit_code"] for id in hung} == {5}
    assert allowed[answering] is None
    assert all((allowed[id] or 9.0) <= 1.0 for id in hung)


def test_O2_where_all_answer_the_newest_comes_first(flowbridge: Flowbridge, home: Path, gates: Gates) -> None:
    (home / "w.yaml").write_text(WAITS.format(url=gates.url))
    ids = [flowbridge("run", "w.yaml", "--detach").out.strip() for _ in range(2)]
    gates.arrived("one", 2)
    said = flowbridge("cancel", "--status", "running", "--yes", "-o", "json")
    assert [row["target"] for row in said.data] == ids[::-1]
