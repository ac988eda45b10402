"""The kit's shapes as trees across engines: each flow is a workflow of its own, on the engine of its depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from flowbridge.backend import Definition, Target
from flowbridge.bridge import Bridge
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.shapes import Flow, Step
from flowbridge.errors import Unsupported
from flowbridge.hookspecs import hookimpl
from flowbridge.model import ExecutionLook, Ref, TaskStatus, WaitingChild
from support.chainyaml import chain_of_flow
from support.v2yaml import flow_of

#: Writes one flow of a shape in an engine's language; the third argument names what a sub-workflow is linked to.
Write = Callable[[Shape, Flow, Callable[[str], str]], Definition]


class AcrossHarness(Harness):
    """A tree whose engines change with each level: `engines` are the instances by depth, over and over."""

    def __init__(self, bridge: Bridge, engines: Sequence[str], writers: Mapping[str, Write]) -> None:
        super().__init__(bridge, engines[0])
        self._engines = engines
        self._writers = writers
        self._flows: dict[str, Target] = {}
        bridge.hooks.register(self, "across")

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
        return self._writers[engine](shape, flow, name)

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        return tuple(waiting for waiting in look.waiting if waiting.owner == "the kit")

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        self.bridge.instances.get(ref.backend).report(ref.id, gate.key, status, result)


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


__all__ = ["AcrossHarness", "Step", "chain", "v2"]
