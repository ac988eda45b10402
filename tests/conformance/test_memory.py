"""The reference engine against the law: once with the engine's own cascades, once with the bridge doing all of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge import runners
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Cascade
from flowbridge.config import Config
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge_memory.backend import MemoryBackend
from support.memory import MemoryHarness
from support.threads import ThreadLauncher


@pytest.fixture(scope="module", params=["memory", "memory-bridged"])
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryHarness]:
    name = request.param
    options = {"cascades": list(Cascade) if name == "memory" else []}
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = ThreadLauncher(ledger, lambda: MemoryBackend(name, options))
    backend = MemoryBackend(name, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "_IDLE_SECONDS", 0.005)
        with Bridge(Config(ledger=ledger, actor="me"), backends=[backend], launch=launcher, durable=False) as bridge:
            yield MemoryHarness(bridge, name)
            launcher.join()
