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
from flowbridge.capabilities import Capabilities, ResumeUp
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
    """A tree whose engines change with each level: `engines` are the instances by depth, over and over.

    `nested` refuses the shapes that have no sub-workflow, and with that stay on one engine.
    """

    across = True

    def __init__(self, bridge: Bridge, engines: Sequence[str], *, nested: bool = False) -> None:
        super().__init__(bridge, engines[0])
        self._engines = engines
        self._nested = nested
        self._flows: dict[str, Target] = {}
        self._deployed: set[str] = set()
        self.knowing(bridge)

    def knowing(self, bridge: Bridge) -> Bridge:
        """A bridge that finds the flows by their names."""
        bridge.hooks.register(self, "across")
        return bridge

    @property
    def column(self) -> str:
        """Not that of the root's engine alone."""
        return " over ".join(self._engines)

    @property
    def facts(self) -> Capabilities:
        """No engine reaches into another one: every cascade is the bridge's, and no resume goes up by itself."""
        return replace(self.backend.capabilities, cascades=frozenset(), resume_up=ResumeUp.NEVER)

    @hookimpl
    def flowbridge_resolve(self, ref: str) -> Target | None:
        """The flows of the shapes that were started, by name."""
        return self._flows.get(ref)

    def definition(self, shape: Shape) -> Definition | str:
        if self._nested and len(shape.flows) == 1:
            raise Unsupported(f"all of {shape.name} is on one engine")
        flows = {flow.name: flow for flow in shape.flows}
        target = self._target(shape, flows, shape.flows[0], 0)
        return target.definition or target.workflow

    def _target(self, shape: Shape, flows: Mapping[str, Flow], flow: Flow, depth: int) -> Target:
        """A flow at a depth, and all that it links to. A server is given each of them once."""
        engine = self._engines[depth % len(self._engines)]

        def name(child: str) -> str:
            return f"across.{shape.name}_{child}_{depth + 1}"

        for step in flow.steps:
            if step.runs in flows and name(step.runs) not in self._flows:
                self._flows[name(step.runs)] = self._target(shape, flows, flows[step.runs], depth + 1)
        if engine == "actionchain":
            return Target(chain(shape, flow, name), backend=engine)
        definition = v2(shape, flow, name)
        backend = self.bridge.instances.get(engine)
        if isinstance(backend, LocalBackend):
            return Target(definition, backend=engine)
        if definition.source not in self._deployed:
            backend.deploy(definition)
            self._deployed.add(definition.source)
        return Target(None, definition.source, engine)

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        return tuple(waiting for waiting in look.waiting if waiting.owner == "the kit")

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        self.bridge.instances.get(ref.backend).report(ref.id, gate.key, status, result)


@contextmanager
def _driven(open: Callable[[], Bridge], interval: float) -> Iterator[None]:
    """An agent that drives every tree meanwhile, in a thread of this process, with bridges of its own."""
    stop = threading.Event()
    agent = threading.Thread(target=Agent(open, interval=interval).run, args=(stop,))
    agent.start()
    try:
        yield
    finally:
        stop.set()
        agent.join()


class Launchers:
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


def engine_of(name: str, url: str) -> Backend:
    if name.startswith("mistral"):
        return MistralBackend(name, {"url": url})
    return ActionChainBackend(name, {}) if name == "actionchain" else MemoryBackend(name, {})


def _like(backend: LocalBackend) -> LocalBackend:
    """The same engine for a thread of its own."""
    mine = engine_of(backend.name, "")
    assert isinstance(mine, LocalBackend)
    mine.attach(backend.host)
    mine.resolve = backend.resolve
    return mine


@contextmanager
def harness_over(
    ledger: Path, engines: Sequence[str], url: str = "", *, nested: bool = False
) -> Iterator[AcrossHarness]:
    """A harness over trees whose engines change with each level, and an agent that drives them."""
    launcher = Launchers(ledger)
    config = Config(ledger=ledger, actor="me", default_backend=engines[0])

    def opened() -> Bridge:
        backends = [engine_of(name, url) for name in dict.fromkeys(engines)]
        return Bridge(config, backends=backends, launch=launcher, durable=False)

    with opened() as bridge:
        made = AcrossHarness(bridge, engines, nested=nested)
        # Every look of a test drives its tree too: a server need not be asked without a pause besides.
        with _driven(lambda: made.knowing(opened()), 0.3 if url else 0.02):
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
