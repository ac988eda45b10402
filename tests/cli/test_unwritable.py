"""A ledger that can be read and not written: looks show what there is, verbs change nothing and say why (O2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.clikit import Gates
from cli.conftest import Flowbridge
from flowbridge.bridge import Bridge
from flowbridge.ledger.database import Database

Stuck = Callable[[], AbstractContextManager[None]]

FLOW = """
version: '2.0'
main:
  tasks:
    t: {{action: std.http url='{url}/t', on-success: u}}
    u: {{action: std.http url='{url}/u'}}
"""


@pytest.fixture(params=["read-only disk", "somebody else's file"])
def stuck(request: pytest.FixtureRequest) -> Stuck:
    """From here on this process cannot write its ledger; the runner of a run still can."""

    @contextmanager
    def read_only() -> Iterator[None]:
        prepare = Database._prepare  # what SQLite itself says of a write is what is wanted here

        def prepared(self: Database, **how: Any) -> None:
            prepare(self, **how)
            self._connection.execute("PRAGMA query_only=1")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "_prepare", prepared)
            yield

    @contextmanager
    def not_ours() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "access", lambda *_, **__: False)
            yield

    return read_only if request.param == "read-only disk" else not_ours


@pytest.fixture
def running(home: Path, gates: Gates, flowbridge: Flowbridge) -> str:
    (home / "flow.yaml").write_text(FLOW.format(url=gates.url))
    id = flowbridge("run", "flow.yaml", "--detach", "-o", "json").data["id"]
    gates.arrived("t")
    return str(id)


def _seqs() -> list[int]:
    with Bridge() as bridge:
        return [entry.seq for entry in bridge.history()]


def test_a_look_shows_what_it_cannot_write_down(
    running: str, gates: Gates, flowbridge: Flowbridge, stuck: Stuck
) -> None:
    flowbridge("get", running)
    before = _seqs()
    with stuck():
        gates.set(t=200)
        gates.arrived("u")
        for words in (("get", running), ("tree", running), ("list",), ("watch", running, "--timeout", "0.01")):
            said = flowbridge(*words)
            assert said.code == (9 if "watch" in words else 0)
            assert "running" in said.out
            assert words == ("list",) or "u" in said.out
            assert words == ("list",) or "this look could not be written down: ledger " in said.err, words
        assert flowbridge("history", running).code == 0
    assert _seqs() == before
    assert "could not be written" not in flowbridge("get", running).err


@pytest.mark.parametrize(
    "words", [("pause", "ID"), ("cancel", "ID"), ("re-run", "ID"), ("skip", "ID", "--tasks", "t"), ("run", "flow.yaml")]
)
def test_a_verb_changes_nothing_and_says_why_in_one_line(
    words: tuple[str, ...], running: str, flowbridge: Flowbridge, stuck: Stuck
) -> None:
    flowbridge("get", running)
    before = _seqs()
    with stuck():
        said = flowbridge(*(running if word == "ID" else word for word in words))
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert "ledger.db" in said.err
    assert _seqs() == before
    assert flowbridge("get", running, "-o", "json").data["status"] == "running"
