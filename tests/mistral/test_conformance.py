"""The Mistral backend against the law without a server: on the Mistral in memory that is held to the cassettes.

What the law is on a real one is shown by the live tests, and stands in the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance import Shape
from flowbridge.conformance.suite import *  # noqa: F403
from flowbridge.errors import Unsupported
from flowbridge_mistral.backend import MistralBackend
from live.mistral_harness import MistralHarness
from support.fake_mistral import FakeMistral
from support.wire import answer, wired


class InMemory(MistralHarness):
    column = "mistral in memory"

    def definition(self, shape: Shape) -> str:
        if any(step.wait_before or step.pause_before for flow in shape.flows for step in flow.steps):
            raise Unsupported("the Mistral in memory delays no task and pauses nothing by itself")
        return super().definition(shape)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InMemory]:
    backend = MistralBackend("mistral", {"url": "http://mistral.example.org/v2"})
    config = Config(ledger=tmp_path_factory.mktemp("ledger") / "ledger.db", actor="me")
    with (
        wired(mistral=partial(answer, FakeMistral())),
        Bridge(config, backends=[backend], drive=lambda _: None, durable=False) as bridge,
    ):
        harness = InMemory(bridge, "mistral")
        harness.deploy()
        yield harness
