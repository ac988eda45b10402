"""Driving local runs in threads of the test process: as a runner process would, without its start-up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from flowbridge.ledger.database import Database
from flowbridge.ledger.leases import Lease, Leases
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref
from flowbridge.runners import drive


class ThreadLauncher:
    """A `Launcher`. `build` makes a backend like the one under test, for the thread's own use."""

    def __init__(self, ledger: Path, build: Callable[[], LocalBackend]) -> None:
        self._ledger = ledger
        self._build = build
        self._threads: list[threading.Thread] = []

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        thread = threading.Thread(target=self._drive, args=(root, lease), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _drive(self, root: Ref, lease: Lease) -> None:
        database = Database(self._ledger, durable=False)
        try:
            drive(database, self._build(), root, lease)
        except BaseException:
            Leases(database).give(lease)  # a runner that dies holds nothing any more, and this process lives on
            raise
        finally:
            database.close()

    def join(self, seconds: float = 20.0) -> None:
        """Wait until every run is settled."""
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive()
