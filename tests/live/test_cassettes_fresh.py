"""The committed cassettes against a real Mistral: recorded again, every scenario makes the same requests.

Where this fails because the client was changed on purpose, `python tests/cassettes/record.py` records them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cassettes import tape
from cassettes.record import record
from cassettes.scenarios import SCENARIOS

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_recorded_again_the_requests_are_the_same(name: str, mistral_url: str, tmp_path: Path) -> None:
    assert list(record(mistral_url, tmp_path, [name], tmp_path)) == [name]
    assert tape.requests(tmp_path / f"{name}.yaml") == tape.requests(tape.FOLDER / f"{name}.yaml")
