"""Record the tapes of the conformance kit again: `pytest -n 4 tests/cassettes/record_kit.py`; with `-k NAME` some.

Each of the processes starts a real Mistral. Takes some minutes: every look waits until the server is at rest. A test
that fails keeps the tape that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cassettes.kit import KitServer, OnTape, lab, path_of, recorded  # noqa: F401  (a fixture)
from flowbridge.conformance.suite import *  # noqa: F403
from live.mistral_server import MistralServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KitServer]:
    with MistralServer(tmp_path_factory.mktemp("mistral")) as running:
        server = KitServer(running.url)
        yield server
        server.close()


@pytest.fixture
def harness(server: KitServer, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnTape]:
    path, failed = path_of(request.node), request.session.testsfailed
    with recorded(server, path.stem, tmp_path) as (harness, recorder):
        yield harness
    if request.session.testsfailed == failed:
        recorder.save(path)
