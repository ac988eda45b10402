"""What a backend's author writes: how the rules reach the backend under test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from flowbridge.backend import Backend, Definition
from flowbridge.bridge import Bridge
from flowbridge.capabilities import Capabilities
from flowbridge.conformance.shapes import Shape
from flowbridge.model import ExecutionLook, Ref, TaskStatus, WaitingChild


class Harness(ABC):
    """A backend under test: a bridge that knows it, and its shapes in its own language.

    `patience` is how many seconds the engine may take for anything. `across` tells that sub-workflows live on other
    engines: the end of one is then told to a held parent after its resume (R3).
    """

    patience: float = 20.0
    across: bool = False

    def __init__(self, bridge: Bridge, instance: str) -> None:
        self.bridge = bridge
        self.instance = instance

    @abstractmethod
    def definition(self, shape: Shape) -> Definition | str:
        """A shape as `Bridge.run` takes it: a definition, or the name of a workflow that is deployed already.

        Every flow of a shape takes an input `n`, 0 by default. Raise `flowbridge.errors.Unsupported`, with the reason,
        for a shape that the engine's language cannot say: its rules are then shown as not possible, for that reason.
        """

    @property
    def backend(self) -> Backend:
        """The backend under test."""
        return self.bridge.instances.get(self.instance)

    @property
    def column(self) -> str:
        """Under which name the matrix shows what was seen; the instance's, where the harness says no other."""
        return self.instance

    @property
    def facts(self) -> Capabilities:
        """What is expected of the engine: what its backend declares."""
        return self.backend.capabilities

    @property
    def outside(self) -> Backend:
        """The same engine as somebody else reaches it, who knows nothing of the bridge (O12).

        A second instance of the backend shows what one that keeps anything in memory would get wrong.
        """
        return self.backend

    def unreachable(self) -> Backend | None:
        """A backend of the same type whose engine does not answer, by an address where nothing listens (O2)."""
        return None

    def gates(self, look: ExecutionLook) -> tuple[WaitingChild, ...]:
        """The gates of one execution that wait now. An engine that hosts no children overrides this and `open`."""
        return look.waiting

    def open(self, ref: Ref, gate: WaitingChild, status: TaskStatus, result: Any) -> None:
        """Release one gate with an outcome."""
        self.backend.report(ref.id, gate.key, status, result)
