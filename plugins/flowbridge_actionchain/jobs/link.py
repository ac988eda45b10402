"""The way to a keeper: starting it, asking it, and reading what it left behind."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from flowbridge.errors import EngineRefused, Unavailable
from flowbridge_actionchain.jobs.asking import unpacked
from flowbridge_actionchain.jobs.keeper import DEAF, PERMIT
from flowbridge_actionchain.jobs.process import born

_KEEPER = Path(__file__).with_name("keep.py")


class Keeper:
    """A keeper of our own, and the socket to it. For one thread."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self.folder = folder
        self._heard = b""
        self._ends: dict[str, Mapping[str, Any]] = {}
        self._socket, theirs = socket.socketpair()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # It is there before any job is written down: where it is missing later, somebody removed it.
            os.close(os.open(log_of(folder, self.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._process = _started(theirs.fileno(), log_of(folder, self.name))
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"no action can be started: {error.filename}: {error.strerror}") from error
        finally:
            theirs.close()
        self.pid, self.born = self._process.pid, born(self._process.pid)

    @property
    def lives(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def ask(self, packed: bytes) -> None:
        """Ask for a job (see `asking`). A keeper that has gone is found by who waits for its answer."""
        try:
            self._socket.sendall(packed)
        except OSError:
            return

    def end(self, id: str, seconds: float) -> Mapping[str, Any] | None:
        """How a job ended, as soon as that is known, waiting at most so long.

        Raises `EOFError` where the keeper is gone, or was given back, and has not told.
        """
        if self._socket.fileno() < 0:
            raise EOFError
        deadline = time.monotonic() + seconds
        while id not in self._ends:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            self._hear()
        return self._ends[id]

    def _hear(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        heard, self._heard = unpacked(self._heard + data)
        for told in heard:
            self._ends[told["id"]] = told["end"]

    def close(self, *, idle: bool) -> None:
        """Ask for nothing more. Where it is `idle` it leaves at once, and its log is wanted no more."""
        self._socket.close()
        if idle:
            log = log_of(self.folder, self.name)
            log.unlink(missing_ok=True)  # so that it does not stay to write down what is wanted no more
            self._process.wait()
            log.unlink(missing_ok=True)  # one that had only just been started has made it again
            with suppress(OSError):  # something is kept there
                self.folder.rmdir()
        else:
            self._process.returncode = 0  # it outlives this process on purpose, so nobody here waits for it


def _started(fd: int, log: Path) -> subprocess.Popen[bytes]:
    is_deaf = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_KEEPER), str(fd), str(log), *([DEAF] if is_deaf else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[fd],
        start_new_session=True,
    )


def log_of(folder: Path, keeper: str) -> Path:
    """Where a keeper writes down what began and how it ended."""
    return folder / f"{keeper}.log"


def permit_of(folder: Path, id: str) -> Path:
    """What a job that was made ready early needs to begin. Whoever removes it has its way: the keeper that begins the
    job, or somebody who withdraws it. So it begins never where somebody has, in whatever process."""
    return folder / f"{id}.{PERMIT}"


def noted(folder: Path, keeper: str, id: str) -> dict[str, Any] | None:
    """All that a keeper's log says of a job; None where there is no such log. Raises `EngineRefused`."""
    found: dict[str, Any] = {}
    try:
        with open(log_of(folder, keeper), "rb") as file:
            for line in file:
                if line.endswith(b"\n") and (doc := json.loads(line))["id"] == id:
                    found |= doc
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineRefused(f"{error.filename}: {error.strerror}") from error
    return found


@cache
def boot() -> str:
    """Which run of the machine this is, where the system tells: process numbers mean nothing in another one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def alive(pid: int, since: str) -> bool:
    """Whether the process that began then is still there."""
    if since:
        return born(pid) == since
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
