"""The kit's shapes as trees across engines: each flow is a workflow of its own, on the engine of its depth."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from flowbridge.agent import Agent
from flowbridge.backend import Backend, Definition, Target
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Capabilities
from flowbridge.config import Config
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.shapes import Flow
from flowbridge.errors import Unsupported
from flowbridge.hookspecs import hookimpl
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.model import ExecutionLook, Ref, TaskStatus, WaitingChild
from flowbridge_actionchain.backend import ActionChainBackend
from flowbridge_memory.backend import MemoryBackend
from flowbridge_mistral.backend import MistralBackend
from support.chainyaml import chain_of_flow
from support.threads import ThreadLauncher
from support.v2yaml import flow_of


class AcrossHarness(Harness):
    """A tree whose engines change with each level: `engines` are the instances by depth, over and over."""

    across = True

    def __init__(self, bridge: Bridge, engines: Sequence[str]) -> None:
        super().__init__(bridge, engines[0])
        self._engines = engines
        self._flows: dict[str, Target] = {}
        self.knowing(bridge)

    def knowing(self, bridge: Bridge) -> Bridge:
        """A bridge that finds the flows by their names."""
        bridge.hooks.register(self, "across")
        return bridge

    @property
    def facts(self) -> Capabilities:
        """No engine reaches into another one: every cascade is the bridge's."""
        return replace(self.backend.capabilities, cascades=frozenset())

    @hookimpl
    def flowbridge_resolve(self, ref: str) -> Target | None:
        """The flows of the shapes that were started, by name."""
        return self._flows.get(ref)

    def definition(self, shape: Shape) -> Definition:
        flows = {flow.name: flow for flow in shape.flows}
        return self._written(shape, flows, shape.flows[0], 0)

    def _written(self, shape: Shape, flows: Mapping[str, Flow], flow: Flow, depth: int) -> Definition:
        engine = self._engines[depth % len(self._engines)]
        below = self._engines[(depth + 1) % len(self._engines)]

        def name(child: str) -> str:
            return f"across.{shape.name}_{child}_{depth + 1}"

        for step in flow.steps:
            if step.runs in flows and name(step.runs) not in self._flows:
                definition = self._written(shape, flows, flows[step.runs], depth + 1)
                self._flows[name(step.runs)] = Target(definition, backend=below)
        return (chain if engine == "actionchain" else v2)(shape, flow, name)

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        return tuple(waiting for waiting in look.waiting if waiting.owner == "the kit")

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        self.bridge.instances.get(ref.backend).report(ref.id, gate.key, status, result)


@contextmanager
def _driven(open: Callable[[], Bridge]) -> Iterator[None]:
    """An agent that drives every tree meanwhile, in a thread of this process, with bridges of its own."""
    stop = threading.Event()
    agent = threading.Thread(target=Agent(open, interval=0.02).run, args=(stop,))
    agent.start()
    try:
        yield
    finally:
        stop.set()
        agent.join()


class _Launchers:
    """A launcher for several engines."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._threads: list[ThreadLauncher] = []

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        launcher = ThreadLauncher(self._ledger, lambda: _like(backend))
        self._threads.append(launcher)
        launcher(backend, root, lease)

    def join(self) -> None:
        for launcher in self._threads:
            launcher.join()


def _engine(name: str, url: str) -> Backend:
    if name.startswith("mistral"):
        return MistralBackend(name, {"url": url})
    return ActionChainBackend(name, {}) if name == "actionchain" else MemoryBackend(name, {})


def _like(backend: LocalBackend) -> LocalBackend:
    """The same engine for a thread of its own."""
    mine = _engine(backend.name, "")
    assert isinstance(mine, LocalBackend)
    mine.attach(backend.host)
    mine.resolve = backend.resolve
    return mine


@contextmanager
def harness_over(ledger: Path, engines: Sequence[str], url: str = "") -> Iterator[AcrossHarness]:
    """A harness over trees whose engines change with each level, and an agent that drives them."""
    launcher = _Launchers(ledger)
    config = Config(ledger=ledger, actor="me", default_backend=engines[0])

    def opened() -> Bridge:
        backends = [_engine(name, url) for name in dict.fromkeys(engines)]
        return Bridge(config, backends=backends, launch=launcher, durable=False)

    with opened() as bridge:
        made = AcrossHarness(bridge, engines)
        with _driven(lambda: made.knowing(opened())):
            yield made
            launcher.join()


def v2(shape: Shape, flow: Flow, link: Callable[[str], str]) -> Definition:
    """A flow as a file of the workflow language v2."""
    name = f"{shape.name}_{flow.name}"
    text = yaml.safe_dump({"version": "2.0", name: flow_of(shape, flow, link)}, sort_keys=False)
    return Definition(text, name)


def chain(shape: Shape, flow: Flow, link: Callable[[str], str]) -> Definition:
    """A flow as a chain. Raises `Unsupported` where a chain cannot be like that."""
    try:
        return Definition(json.dumps(chain_of_flow(shape, flow, link)), f"{shape.name}_{flow.name}.yaml")
    except ValueError as error:
        raise Unsupported(str(error)) from error
