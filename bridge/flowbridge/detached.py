"""Processes that outlive the one that starts them: runners of local runs, drivers of trees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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
        return process.pid


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
