"""The committed cassettes against a real Mistral: recorded again, every scenario makes the same requests.

Where this fails because the client was changed on purpose, `python tests/cassettes/record.py` records them anew, and
`pytest -n 4 tests/cassettes/record_kit.py` the tapes of the kit, of which a few stand here for all.
"""

# ruff: noqa: F401  (pytest finds what is imported)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cassettes import kit_tape, tape
from cassettes.kit import KitServer, OnTape, lab, recorded
from cassettes.record import record
from cassettes.scenarios import SCENARIOS
from flowbridge.conformance.suite import (
    test_C3_canceling_reaches_every_level,
    test_K1_a_skipped_task_ends_skipped_and_the_workflow_goes_on_behind_it,
    test_O3_starting_the_same_id_twice_starts_once,
    test_O12_a_resume_from_outside_lifts_the_hold,
    test_P2_pausing_a_root_pauses_every_descendant,
    test_P3_pausing_a_child_pauses_its_parent_and_peers,
    test_R2_every_held_descendant_resumes_with_its_root,
    test_S5_a_tree_of_three_levels_settles_at_every_level,
    test_X2_from_tasks_reuses_the_engine_execution_under_a_new_record,
    test_X5_dotted_names_reach_into_children_to_any_depth,
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_recorded_again_the_requests_are_the_same(name: str, mistral_url: str, tmp_path: Path) -> None:
    assert list(record(mistral_url, tmp_path, [name], tmp_path)) == [name]
    assert tape.requests(tmp_path / f"{name}.yaml") == tape.requests(tape.FOLDER / f"{name}.yaml")


@pytest.fixture(scope="module")
def kit_server(mistral_url: str) -> Iterator[KitServer]:
    with closing(KitServer(mistral_url)) as server:
        yield server


@pytest.fixture
def harness(kit_server: KitServer, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnTape]:
    with recorded(kit_server, request, tmp_path, asks_what_its_tape_has) as harness:
        yield harness


def asks_what_its_tape_has(recorder: kit_tape.Recorder, path: Path) -> None:
    """Fails where a test of the kit has made other requests than those of its tape."""
    assert kit_tape.requests_of(recorder.lines) == kit_tape.requests_of(kit_tape.read(path))
