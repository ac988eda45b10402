"""The Mistral backend against the law without a server: the kit on recordings of a real Mistral, the network closed.

Its column is not in the matrix, which shows what the live tests see: a few rules cannot be tried on a recording.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cassettes import tape
from cassettes.kit import OnTape, harness_on, lab, path_of  # noqa: F401  (a fixture)
from cassettes.kit_tape import FOLDER, Player
from flowbridge.conformance import suite
from flowbridge.conformance.suite import *  # noqa: F403
from support.closed import close_network

TAPES = sorted(FOLDER.glob("*.jsonl"))


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnTape]:
    close_network(monkeypatch)
    # A second look is on the tape or nowhere, so that nothing is waited for.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    path, failed = path_of(request.node), request.session.testsfailed
    player = Player(path)
    with harness_on(player, path.stem, tmp_path) as harness:
        yield harness
    if request.session.testsfailed == failed:  # a test that failed has stopped somewhere
        player.assert_over()


def test_every_tape_is_one_of_a_test_of_the_kit() -> None:
    assert {f"test_{path.stem.partition('.')[0]}" for path in TAPES} <= vars(suite).keys()


@pytest.mark.parametrize("path", TAPES, ids=lambda path: path.stem)
def test_no_tape_holds_a_secret_or_an_address_of_the_machine_it_was_recorded_on(path: Path) -> None:
    for text in path.read_text(encoding="utf-8").splitlines():
        assert not tape.SECRET.search(text)
        assert not tape.LOOPBACK.search(text)
