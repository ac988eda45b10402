"""The reference engine against the law: once with the engine's own cascades, once with the bridge doing all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Cascade
from flowbridge.config import Config
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge_memory.backend import MemoryBackend
from support.threads import ThreadLauncher
from support.v2yaml import workbook


class MemoryHarness(Harness):
    """Shapes are written in the engine's language; its gates are links that nobody follows."""

    def definition(self, shape: Shape) -> Definition:
        return Definition(workbook(shape, "flowbridge.run"), shape.name)


@pytest.fixture(scope="module", params=["native", "bridged"])
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryHarness]:
    options = {"cascades": list(Cascade) if request.param == "native" else []}
    name = f"memory-{request.param}"
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend(name, options))
    backend = MemoryBackend(name, options)
    with Bridge(Config(ledger=ledger, actor="me"), backends=[backend], launch=launcher, durable=False) as bridge:
        yield MemoryHarness(bridge, name)
        launcher.join()
