"""Processes that outlive the one that starts them: runners of local runs, drivers of trees."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Those that this process has begun and that were not seen to end. Whoever touches them has the lock: once one is
#: reaped, its number may be that of another.
_begun: set[int] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Detached:
    """Starts such processes. `environment` leads them to the same ledger and configuration, `log` takes their words."""

    environment: Mapping[str, str]
    log: Path

    def start(self, module: str, arguments: Sequence[str]) -> int:
        """Start `python -m MODULE ARGUMENTS` in a session of its own; gives its process id. Raises `OSError`."""
        with open(self.log, "ab", opener=_private) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        # It outlives this process on purpose, so nobody here waits for it.
        process.returncode = 0
        reap()
        with _lock:
            _begun.add(process.pid)
        return process.pid


def reap() -> None:
    """Let the system forget those that have ended.

    They would stay in its table for as long as this process lives, and one that begins many would fill it.
    """
    with _lock:
        for pid in tuple(_begun):
            with suppress(ChildProcessError):  # begun by the process that this one was forked from, or reaped by itself
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            _begun.discard(pid)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
