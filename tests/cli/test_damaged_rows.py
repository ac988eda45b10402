"""What the command line says of rows of the ledger that are damaged, and what it does all the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Flowbridge
from flowbridge.ledger.database import Database

CHAIN = "chain:\n  - {name: only, ref: core.noop}\n"


@pytest.fixture
def two(flowbridge: Flowbridge, home: Path) -> tuple[str, str]:
    """Two executions that have ended; the record of the first is damaged."""
    (home / "chain.yaml").write_text(CHAIN)
    broken, sound = (flowbridge("run", "chain.yaml", "-o", "json").data["id"] for _ in range(2))
    with closing(Database(home / "ledger.db")) as database:
        database.run("UPDATE executions SET doc = substr(doc, 1, 40) WHERE id = ?", (broken,))
    return broken, sound


def test_a_list_shows_the_others_and_names_what_it_leaves_out(flowbridge: Flowbridge, two: tuple[str, str]) -> None:
    broken, sound = two
    for words in (("list",), ("list", "--no-look"), ("list", "--status", "succeeded")):
        said = flowbridge(*words, "-o", "json")
        assert (said.code, [row["id"] for row in said.data]) == (2, [sound])
        (line,) = said.err.splitlines()
        assert f"left out: row {broken} of the table executions in the ledger is damaged" in line


def test_a_verb_on_it_is_one_line_and_the_others_are_acted_upon(flowbridge: Flowbridge, two: tuple[str, str]) -> None:
    broken, sound = two
    for words in (("get", broken), ("tree", broken), ("re-run", broken), ("pause", broken)):
        said = flowbridge(*words)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "put back a sound copy of the ledger" in said.err
    assert flowbridge("get", sound).code == 0
    assert flowbridge("re-run", sound).code == 0
    said = flowbridge("re-run", "--status", "succeeded", "--yes", "-o", "json")
    assert (said.code, len(said.data)) == (2, 2)
    assert broken in said.err


def test_a_check_of_the_ledger_names_every_such_row(flowbridge: Flowbridge, two: tuple[str, str], home: Path) -> None:
    broken, sound = two
    with closing(Database(home / "ledger.db")) as database:
        database.run("UPDATE looks SET doc = '[]' WHERE id = ?", (sound,))
    said = flowbridge("ledger", "check")
    assert said.code == 2
    for table, row in (("executions", broken), ("looks", sound)):
        assert f"row {row} of the table {table} in the ledger is damaged" in said.err
