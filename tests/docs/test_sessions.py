"""Every page with a terminal on it is played: what a reader types gives what the page shows, but for ids and times."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import sessions
from flowbridge_cli.main import run

PAGES = [sessions.ROOT / "README.md", *sorted((sessions.ROOT / "docs").glob("*.md"))]
PLAYED = [page for page in PAGES if any(block.language == "console" for block in sessions.blocks(page))]


#: By how much actions take longer from one try to the next: a reader is quicker than a machine under heavy load.
PACES = (1, 5)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PLAYED, ids=lambda page: page.stem)
def test_every_session_comes_out_as_it_is_shown(page: Path, tmp_path: Path) -> None:
    found = []
    for pace in PACES:
        (folder := tmp_path / str(pace)).mkdir()
        differs = _first_difference(page, sessions.Session(folder, pace=pace))
        if differs is None:
            return
        found.append(differs)
    last = found[-1]
    assert last.came == last.shown, f"{last.command}; `python tests/docs/sessions.py {page}` writes the page anew"


def _first_difference(page: Path, session: sessions.Session) -> sessions.Said | None:
    every = (one for _, said in sessions.play(page, session) for one in said)
    return next((one for one in every if one.came != one.shown), None)


def test_a_command_that_is_not_run_is_at_least_one_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    notes = [block for page in PLAYED for block in sessions.blocks(page) if "not run" in block.notes]
    lines = [command.split() for block in notes for command, _ in block.commands()]
    checked = [words for words in lines if words[0] == "flowbridge"]
    assert checked
    for _, verb, *words in checked:
        assert run([verb, "--help"]) == 0
        said = capsys.readouterr().out
        assert all(word in said for word in words if word.startswith("--")), words
