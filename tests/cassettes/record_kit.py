"""Record the tapes of the conformance kit again: `pytest -n 4 tests/cassettes/record_kit.py`; with `-k NAME` some.

Each of the processes starts a real Mistral. Takes some minutes: every look waits until the server is at rest. A test
that fails keeps the tape that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cassettes.kit import KitServer, OnTape, lab, recorded  # noqa: F401  (a fixture)
from cassettes.kit_tape import Recorder
from flowbridge.conformance.suite import *  # noqa: F403
from live.mistral_server import MistralServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KitServer]:
    with MistralServer(tmp_path_factory.mktemp("mistral")) as running, closing(KitServer(running.url)) as server:
        yield server


@pytest.fixture
def harness(server: KitServer, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnTape]:
    with recorded(server, request, tmp_path, Recorder.save) as harness:
        yield harness
