"""The law over trees across engines: the kit on trees whose engine changes with each level, three levels deep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref
from flowbridge_actionchain.backend import ActionChainBackend
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_memory.backend import MemoryBackend
from support.across import AcrossHarness, chain, v2
from support.threads import ThreadLauncher

WRITERS = {"memory": v2, "second": v2, "actionchain": chain}
TREES = {
    "memory-memory": ("memory", "second"),
    "memory-chain": ("memory", "actionchain"),
    "chain-memory": ("actionchain", "memory"),
}


class _Launchers:
    """A launcher for several engines."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._threads: list[ThreadLauncher] = []

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        launcher = ThreadLauncher(self._ledger, lambda: like(backend))
        self._threads.append(launcher)
        launcher(backend, root, lease)

    def join(self) -> None:
        for launcher in self._threads:
            launcher.join()


def engine(name: str) -> LocalBackend:
    return ActionChainBackend(name, {}, catalog=Catalog([])) if name == "actionchain" else MemoryBackend(name, {})


def like(backend: LocalBackend) -> LocalBackend:
    """The same engine for a thread of its own."""
    mine = engine(backend.name)
    mine.attach(backend.host)
    mine.resolve = backend.resolve
    return mine


@pytest.fixture(scope="module", params=TREES)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcrossHarness]:
    engines = TREES[request.param]
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    launcher = _Launchers(ledger)
    config = Config(ledger=ledger, actor="me", default_backend=engines[0])
    backends = [engine(name) for name in dict.fromkeys(engines)]
    with Bridge(config, backends=backends, launch=launcher, durable=False) as bridge:
        yield AcrossHarness(bridge, engines, WRITERS)
        launcher.join()
