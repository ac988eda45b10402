"""Leases: who may act on a tree, who drives a local run (O5, S6).

A lease ends when it is released, or when its holder is a process of this host that no longer lives: a killed runner
is known at once, and a slow one keeps what it has. Of a holder on another host only its time can tell: it runs out.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flowbridge.errors import LedgerError, Timeout
from flowbridge.ledger.database import Database
from flowbridge.model import Ref

_POLL_SECONDS = 0.05
TTL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken. `token` proves it."""

    name: str
    token: str


class Last(NamedTuple):
    """Who took a lease last, in words, and in which process."""

    holder: str
    pid: int


class Leases:
    """The leases of one ledger.

    One that cannot be given back (a full disk) is given back by the next question: a process that lives on is not to
    keep everybody, itself included, waiting for what it no longer uses.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._left: set[Lease] = set()

    def take(self, name: str, holder: str) -> Lease | None:
        """Take a lease that is free, or gives None. `holder` says in words who holds it and why."""
        self._give_what_is_left()
        with self._db.transaction():
            if self._holder(name) is not None:
                return None
            token = uuid.uuid4().hex
            pid = os.getpid()
            self._db.run(
                "INSERT OR REPLACE INTO leases VALUES (?,?,?,?,?,?,?)",
                (name, token, holder, _host(), pid, _started(pid), time.time() + TTL_SECONDS),
            )
        return Lease(name, token)

    def holder(self, name: str) -> str | None:
        """Who holds a lease now, in words, or None where it is free."""
        self._give_what_is_left()
        return self._holder(name)

    def _holder(self, name: str) -> str | None:
        row = self._db.one("SELECT holder, host, pid, started, expires FROM leases WHERE name = ?", (name,))
        if row is None:
            return None
        holder, host, pid, started, expires = row
        if host == _host():
            return str(holder) if _lives(pid, started) else None
        return str(holder) if expires > time.time() else None

    def is_driven(self, root: Ref) -> bool:
        """Whether somebody who lives drives a local run."""
        return self.holder(run_lease(root)) is not None

    def last(self, name: str) -> Last | None:
        """Who took a lease last and did not give it back, be that process alive or not."""
        row = self._db.one("SELECT holder, pid FROM leases WHERE name = ?", (name,))
        return None if row is None else Last(*row)

    def holders(self, prefix: str) -> list[str]:
        """Who holds leases whose names begin so, in words."""
        names = self._db.all("SELECT name FROM leases WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
        return [holder for (name,) in names if (holder := self.holder(name)) is not None]

    def renew(self, lease: Lease) -> bool:
        """Hold a lease for longer. False where it was lost."""
        changed = self._db.run(
            "UPDATE leases SET expires = ? WHERE name = ? AND token = ?",
            (time.time() + TTL_SECONDS, lease.name, lease.token),
        )
        return changed == 1

    def keep(self, lease: Lease) -> bool:
        """Renew a lease if it is time to. False where it was lost."""
        row = self._db.one("SELECT expires FROM leases WHERE name = ? AND token = ?", (lease.name, lease.token))
        if row is None:
            return False
        return row[0] > time.time() + TTL_SECONDS * 2 / 3 or self.renew(lease)

    def ours(self, lease: Lease) -> bool:
        """Whether a lease is still held by whoever took it. Writes nothing."""
        return self._db.one("SELECT 1 FROM leases WHERE name = ? AND token = ?", (lease.name, lease.token)) is not None

    def hand_over(self, lease: Lease, pid: int, holder: str) -> bool:
        """Make a process of this host the holder. False where the lease was lost."""
        changed = self._db.run(
            "UPDATE leases SET holder = ?, host = ?, pid = ?, started = ?, expires = ? WHERE name = ? AND token = ?",
            (holder, _host(), pid, _started(pid), time.time() + TTL_SECONDS, lease.name, lease.token),
        )
        return changed == 1

    def give(self, lease: Lease) -> None:
        """Give a lease back. One that was lost is left alone."""
        self._left.add(lease)
        self._db.run("DELETE FROM leases WHERE name = ? AND token = ?", (lease.name, lease.token))
        self._left.discard(lease)

    def leave(self, lease: Lease) -> None:
        """Use a lease no more that another process may have been begun for: it still can be handed over to that one, as
        long as nobody else takes it. One that was lost or handed over is left alone."""
        self._db.run(
            "UPDATE leases SET host = '', expires = 0 WHERE name = ? AND token = ? AND host = ? AND pid = ?",
            (lease.name, lease.token, _host(), os.getpid()),
        )

    def _give_what_is_left(self) -> None:
        if self._db.inside:  # that may be rolled back, and nobody would know of them any more
            return
        for lease in tuple(self._left):
            with suppress(LedgerError):
                self.give(lease)

    @contextmanager
    def held(self, name: str, holder: str, *, what: str, timeout: float) -> Iterator[Lease]:
        """Hold a lease for a while; waits for its holder up to `timeout` seconds.

        Raises `Timeout`, which says who holds it; `what` names the thing for that message.
        """
        deadline = time.monotonic() + timeout
        while (lease := self.take(name, holder)) is None:
            if time.monotonic() >= deadline:
                raise Timeout(
                    f"{what} is in use by {self.holder(name) or 'another command'}; nothing was done. "
                    f"Wait for it, or try again with a longer --timeout (O5)."
                )
            time.sleep(_POLL_SECONDS)
        try:
            yield lease
        finally:
            self.give(lease)


def run_lease(root: Ref) -> str:
    """The name of the lease of who drives a local run."""
    return f"run:{root}"


def runner_of(root: Ref, pid: int) -> str:
    """What a runner is called as the holder of that lease; any other holder is about to start one, or starts none."""
    return f"the runner of {root} (process {pid})"


@cache
def _host() -> str:
    """This host, and the space of process ids that this process sees: a container has one of its own."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _started(pid: int) -> str:
    """When a process began, as the system counts it: a pid that was given out anew is another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _lives(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if _is_zombie(pid):
        return False
    now = _started(pid)
    return not (started and now) or started == now


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
