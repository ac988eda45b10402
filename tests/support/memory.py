"""The reference engine under the conformance kit."""

from __future__ import annotations

from flowbridge.backend import Backend, Definition
from flowbridge.bridge import Bridge
from flowbridge.conformance import Harness, Shape
from flowbridge.localbackend import LocalBackend
from flowbridge_memory.backend import MemoryBackend
from support.v2yaml import workbook


class MemoryHarness(Harness):
    """Shapes are written in the engine's language; its gates are links that nobody follows."""

    def __init__(self, bridge: Bridge, instance: str) -> None:
        super().__init__(bridge, instance)
        assert isinstance(self.backend, LocalBackend)
        self._outside = MemoryBackend(instance, self.backend.options)
        self._outside.attach(self.backend.host)

    @property
    def outside(self) -> Backend:
        return self._outside

    def definition(self, shape: Shape) -> Definition:
        return Definition(workbook(shape, "flowbridge.run"), shape.name)
