"""The kit's shapes on a Mistral, real or in memory, and its gates there."""

from __future__ import annotations

import socket
from functools import cached_property
from typing import Any

from flowbridge.backend import Backend, Definition
from flowbridge.conformance import Harness, Shape
from flowbridge.conformance.shapes import ALL
from flowbridge.model import ExecutionLook, Ref, TaskStatus, WaitingChild
from flowbridge_mistral.backend import MistralBackend
from live.gates import Gates
from support.v2yaml import LINK, workbook


class MistralHarness(Harness):
    """Shapes are deployed once, as workbooks; a gate is an ad-hoc action that waits to be told."""

    patience = 60.0

    @cached_property
    def _gates(self) -> Gates:
        assert isinstance(self.backend, MistralBackend)
        return Gates(self.backend)

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        return tuple(WaitingChild(gate.key, gate.task, gate.item, gate.target) for gate in self._gates.of([look]))

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        self._gates.end(gate.key, status, result)

    @property
    def outside(self) -> Backend:
        return MistralBackend("mistral", self.backend.options)

    def unreachable(self) -> Backend:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        return MistralBackend("mistral", {"url": f"http://127.0.0.1:{port}"})

    def deploy(self) -> None:
        """Make every shape known to the server."""
        for shape in ALL:
            self.backend.deploy(Definition(workbook(shape, "flowbridge_link", LINK), shape.name))

    def definition(self, shape: Shape) -> str:
        return f"kit_{shape.name}.{shape.flows[0].name}"
