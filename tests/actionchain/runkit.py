"""Chains that really run: a bridge with a ledger of its own, real commands, and gates that a test opens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flowbridge.backend import Definition
from flowbridge.bridge import Bridge
from flowbridge.config import CatalogConfig, Config
from flowbridge.ledger.leases import Lease
from flowbridge.localbackend import LocalBackend
from flowbridge.looks import Look
from flowbridge.model import Ref, Status
from flowbridge_actionchain.backend import ActionChainBackend
from support.threads import ThreadLauncher

BOUND = 60.0
_Found = TypeVar("_Found")


class Gate:
    """A command that runs until the test opens it: it reads from a pipe that has a name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # Open for both, so that neither side waits for the other to be there.
        self._fd = os.open(path, os.O_RDWR)

    @property
    def command(self) -> str:
        return f"read word < {self.path}; echo $word"

    def open(self, word: str = "") -> None:
        if self._fd >= 0:
            os.write(self._fd, f"{word}\n".encode())

    def close(self) -> None:
        """Whoever reads on comes to the end."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Shop:
    """A bridge whose chains are driven by threads of this process, and whose actions are real processes."""

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        self.folder, self.packs = folder, folder / "packs"
        self.packs.mkdir(exist_ok=True)
        self._options = dict(options or {})
        self.backend = ActionChainBackend("actionchain", self._options)
        self._launchers: list[ThreadLauncher] = []
        config = Config(ledger=folder / "ledger.db", actor="ada", catalog=CatalogConfig((self.packs,)))
        self.bridge = Bridge(config, backends=[self.backend], launch=self._launch, durable=False)
        self._gates: list[Gate] = []

    def _launch(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        launcher = ThreadLauncher(self.folder / "ledger.db", lambda: _like(backend))
        self._launchers.append(launcher)
        launcher(backend, root, lease)

    def gate(self, name: str = "gate") -> Gate:
        gate = Gate(self.folder / name)
        self._gates.append(gate)
        return gate

    def run(self, target: str, **input: Any) -> str:
        """Start a chain: its text, or a name of the catalog."""
        what = Definition(target, "chain.yaml") if ("chain" in target and "\n" in target) or "{" in target else target
        return self.bridge.run(what, input, backend="actionchain").id

    def ended(self, target: str, **input: Any) -> Any:
        """Run a chain to its end; gives its output."""
        id = self.run(target, **input)
        self.bridge.wait(id, timeout=BOUND)
        return self.output(id)

    def output(self, id: str) -> Any:
        return self.bridge.read(id).output

    def reaches(self, id: str, *statuses: Status) -> Look:
        return self.until(
            lambda: look if (look := self.bridge.get(id)).record.status in statuses else None, str(statuses)
        )

    def until(self, seen: Callable[[], _Found | None], what: str) -> _Found:
        deadline = time.monotonic() + BOUND
        while not (found := seen()):
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.01)
        return found

    def child(self, id: str) -> str:
        """The record's id of the only child execution."""

        def seen() -> str | None:
            look = self.bridge.get(id)
            return next((n.record.id for n in look.snapshot.nodes if n.record.id != look.record.id), None)

        return self.until(seen, "a child execution")

    def close(self) -> None:
        for gate in self._gates:
            gate.open()
        for launcher in self._launchers:
            launcher.join(BOUND)
        for gate in self._gates:
            gate.close()
        self.bridge.close()


def _like(backend: LocalBackend) -> LocalBackend:
    """The same engine for a thread of its own."""
    mine = type(backend)(backend.name, backend.options)
    mine.attach(backend.host)
    mine.resolve = backend.resolve
    return mine
