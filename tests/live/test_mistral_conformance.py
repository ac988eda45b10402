"""A real Mistral against the law, through the bridge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge_mistral.backend import MistralBackend
from live.mistral_harness import MistralHarness

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def harness(mistral_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MistralHarness]:
    backend = MistralBackend("mistral", {"url": mistral_url})
    config = Config(ledger=tmp_path_factory.mktemp("ledger") / "ledger.db", actor="me")
    with Bridge(config, backends=[backend], durable=False) as bridge:
        harness = MistralHarness(bridge, "mistral")
        harness.deploy()
        yield harness
