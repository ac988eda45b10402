"""Chains against the law. What a chain cannot be (branches side by side, items, joins) is shown as not possible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import CatalogConfig, Config
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge.errors import Unsupported
from flowbridge_actionchain.backend import ActionChainBackend
from support.chainyaml import write_pack
from support.threads import ThreadLauncher


class ChainHarness(Harness):
    """Shapes are chains of a pack; their gates are links that nobody follows."""

    def __init__(self, bridge: Bridge, instance: str, packs: Path) -> None:
        super().__init__(bridge, instance)
        self._packs = packs

    def definition(self, shape: Shape) -> str:
        try:
            return write_pack(self._packs, shape)
        except ValueError as error:
            raise Unsupported(str(error)) from error


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainHarness]:
    folder = tmp_path_factory.mktemp("ledger")
    packs = folder / "packs"
    backend = ActionChainBackend("actionchain", {})
    launcher = ThreadLauncher(folder / "ledger.db", lambda: _like(backend))
    config = Config(ledger=folder / "ledger.db", actor="me", catalog=CatalogConfig((packs,)))
    with Bridge(config, backends=[backend], launch=launcher, durable=False) as bridge:
        yield ChainHarness(bridge, "actionchain", packs)
        launcher.join()


def _like(backend: ActionChainBackend) -> ActionChainBackend:
    mine = ActionChainBackend(backend.name, {})
    mine.attach(backend.host)
    return mine
