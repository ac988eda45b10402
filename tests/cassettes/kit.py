"""The kit on a tape: the harness and the bridge of one test, the same while it is recorded and when it is replayed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import requests

from cassettes import tape
from cassettes.kit_tape import DOWN, FOLDER, Recorder, Wire
from cassettes.stage import numbered
from flowbridge.backend import Backend
from flowbridge.bridge import Bridge
from flowbridge.config import Config
from flowbridge.conformance import Shape
from flowbridge.conformance.lab import Lab
from flowbridge.errors import Unsupported
from flowbridge_mistral.backend import MistralBackend
from live.mistral_harness import MistralHarness

#: How long the server must have shown nothing new before a look: its own scheduler wakes up once a second.
REST_SECONDS = 1.5
#: How long it may take to come to rest, and how long a test may take for anything: every look waits.
REST_LATEST_SECONDS = 60.0
PATIENCE_SECONDS = 600.0

#: All that a server has on at one time, as far as it can change by itself.
_MOVES = {
    "executions": "id,state,state_info,updated_at",
    "tasks": "id,state,state_info,updated_at,runtime_context",
    "action_executions": "id,state,accepted",
}


class OnTape(MistralHarness):
    """The harness of a test that is recorded or replayed."""

    column = "mistral replayed"

    def definition(self, shape: Shape) -> str:
        if any(step.wait_before for flow in shape.flows for step in flow.steps):
            raise Unsupported("looks of a tape are taken at rest, and a delay is over then")
        return super().definition(shape)

    def unreachable(self) -> Backend:
        backend = MistralBackend("mistral", {"url": DOWN})
        backend._client._sleep = lambda _: None  # it is tried again at once
        return backend


@pytest.fixture
def lab(harness: OnTape) -> Lab:
    """The harness in use. What a test leaves running disturbs no other: each has a server, or a tape, to itself."""
    return Lab(harness)


def path_of(node: pytest.Item) -> Path:
    """The tape of a test."""
    return FOLDER / f"{node.name.removeprefix('test_').replace('[', '.').rstrip(']')}.jsonl"


@contextmanager
def recorded(
    server: KitServer, request: pytest.FixtureRequest, folder: Path, passed: Callable[[Recorder, Path], object]
) -> Iterator[OnTape]:
    """The harness of a test that is recorded; where the test has passed, `passed` gets what it asked, and its tape."""
    path, failed = path_of(request.node), request.session.testsfailed
    recorder = server.recorder()
    with harness_on(recorder, path.stem, folder) as harness:
        harness.patience = PATIENCE_SECONDS
        yield harness
    if request.session.testsfailed == failed:
        passed(recorder, path)


@contextmanager
def harness_on(wire: Wire, name: str, folder: Path) -> Iterator[OnTape]:
    """The harness of a test whose backend is at the end of a wire. Ids that the engine sees come from the name."""
    ids = numbered(name)
    known = SimpleNamespace(uuid4=ids.__next__)
    backend = MistralBackend("mistral", {"url": tape.URL, "timeout": 120})
    config = Config(ledger=folder / "ledger.db", actor="me")
    with ExitStack() as stack:
        for module in ("flowbridge.starting", *_rules_with_ids()):
            stack.enter_context(mock.patch(f"{module}.uuid", known))
        stack.enter_context(mock.patch("flowbridge.ledger.ledger.Ledger.id", str(next(ids))))
        stack.enter_context(wire.in_use())
        bridge = stack.enter_context(Bridge(config, backends=[backend], drive=lambda _: None, durable=False))
        yield OnTape(bridge, "mistral")


def _rules_with_ids() -> list[str]:
    """The modules of the kit whose tests make ids."""
    return [
        name
        for name, module in sys.modules.items()
        if name.startswith("flowbridge.conformance.rules_") and hasattr(module, "uuid")
    ]


class KitServer:
    """A real Mistral that tests of the kit are recorded from, one after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._is_at_rest = False
        backend = MistralBackend("mistral", {"url": url})
        OnTape.deploy(SimpleNamespace(backend=backend))  # type: ignore[arg-type]  # all that it needs of a harness
        backend.close()

    def recorder(self) -> Recorder:
        """A wire to the server, which has no execution but those of the test to come."""
        for each in self._listed("executions", "id,task_execution_id"):
            if not each["task_execution_id"]:
                self._session.delete(
                    f"{self._url}/executions/{each['id']}", params={"force": "true"}
                ).raise_for_status()
        self._disturb()
        return Recorder(self._url, self._rest, self._disturb)

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def _disturb(self) -> None:
        self._is_at_rest = False

    def _rest(self) -> None:
        """Wait until the server has shown nothing new for a while."""
        since, deadline = time.monotonic(), time.monotonic() + REST_LATEST_SECONDS
        last: Any = None
        while not self._is_at_rest:
            assert time.monotonic() < deadline, "the server does not come to rest"
            shown = {kind: self._listed(kind, fields) for kind, fields in _MOVES.items()}
            if shown != last:
                last, since = shown, time.monotonic()
            self._is_at_rest = time.monotonic() >= since + REST_SECONDS
            if not self._is_at_rest:
                time.sleep(0.1)

    def _listed(self, kind: str, fields: str) -> list[Mapping[str, Any]]:
        answer = self._session.get(f"{self._url}/{kind}", params={"fields": fields}, timeout=60)
        answer.raise_for_status()
        listed: list[Mapping[str, Any]] = answer.json()[kind]
        return listed
