"""Driving local runs: the bridge's side of a local engine, and the runner's loop (S6).

A run is driven by whoever holds its lease. The loop carries out commands from the inbox, lets the session work,
writes what changed, and ends when the run is settled and its inbox is empty: both are judged in one transaction,
so no command is lost in between.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from flowbridge import deaths
from flowbridge.config import CatalogConfig
from flowbridge.detached import Detached
from flowbridge.errors import (
    DamagedRow,
    EngineRefused,
    FlowbridgeError,
    InvalidInput,
    LedgerError,
    NotFound,
    Unavailable,
)
from flowbridge.ledger.database import Database
from flowbridge.ledger.executions import Executions
from flowbridge.ledger.leases import TTL_SECONDS, Lease, Leases, run_lease, runner_of
from flowbridge.ledger.rows import Rows
from flowbridge.local import Changes, Command, Session
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref
from flowbridge.patience import ANSWER_SECONDS, Patience
from flowbridge.plugins import one_line
from flowbridge.runfiles import folder
from flowbridge.vault import Vault

_IDLE_SECONDS = 0.02


class Launcher(Protocol):
    """Starts a runner for a run whose lease was already taken for it."""

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        """Start it. Returns at once."""


class Host:
    """A `LocalHost` over one ledger."""

    def __init__(
        self,
        database: Database,
        launch: Launcher,
        vault: Vault,
        catalog: CatalogConfig | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._db = database
        self._patience = patience or Patience()
        self._vault, self._catalog = vault, catalog or CatalogConfig()
        self._rows = Rows(database)
        self._leases = Leases(database)
        self._executions = Executions(database)
        self._launch = launch

    @property
    def vault(self) -> Vault:
        """Opens the sealed values of this ledger."""
        return self._vault

    @property
    def catalog(self) -> CatalogConfig:
        """Where catalogs look."""
        return self._catalog

    def folder(self, root: Ref) -> Path:
        """Where the files of a run may be kept."""
        return folder(self._db.path, root)

    def rows(self, root: Ref) -> dict[str, str]:
        """Every row of a run."""
        return self._rows.load(str(root))

    def root_of(self, ref: Ref) -> Ref:
        """The root of an execution's native tree, by the ledger's links."""
        while (record := self._executions.current(ref)) and record.native and record.parent:
            ref = record.parent
        return ref

    def driven(self, root: Ref) -> bool:
        """Whether a living process holds the run."""
        return self._leases.is_driven(root)

    def died(self, root: Ref) -> str:
        """What the run's last runner died of, in words; "" where nobody knows."""
        return deaths.why(self._db, root)

    def deliver(self, backend: LocalBackend, root: Ref) -> None:
        """Have every command that was sent already carried out, and what it calls for begun: a look then shows it.

        Raises `Unavailable` where the run's runner does not get to it in time.
        """
        if not self._is_undelivered(root):
            return
        with self._patience.waiting() as deadline:
            while self._is_undelivered(root):
                self._deliver_one(backend, root, deadline)

    def _deliver_one(self, backend: LocalBackend, root: Ref, deadline: float) -> None:
        try:
            self._advance(backend, root, "deliver", deadline)
        except DamagedRow:
            raise
        except LedgerError as error:
            if not self._db.is_hurried:
                raise
            # Whoever only looks is shown how it was last seen, and why that is all.
            raise Unavailable(f"what was sent to {root} is not carried out yet: {error.message}") from error

    def _is_undelivered(self, root: Ref) -> bool:
        """Whether a command waits, or whoever carried one out died before a runner had the run: nothing drove it."""
        if self._rows.pending(str(root)):
            return True
        last = self._leases.last(run_lease(root))
        return last is not None and last.holder != runner_of(root, last.pid) and not self.driven(root)

    def submit(self, backend: LocalBackend, root: Ref, command: Command) -> bool:
        """Have a command carried out, by the run's runner or here; gives whether it may have been here.

        Raises `EngineRefused`, `InvalidInput` or `NotFound` as the session said, `Unavailable` where no answer came in
        time, the command is then taken back, and where it was carried out but nobody can be started to go on.
        """
        command, sent = self._patience.to_send(root, command)
        self._rows.send(str(root), command, time.time())
        self._patience.sent()
        here = False
        with self._patience.waiting(sent) as deadline:
            while (outcome := self._rows.outcome(command.id)) is None:
                try:
                    here |= self._advance(backend, root, command.name, deadline, command.id)
                except Unavailable as error:
                    if not error.unsent or self._rows.withdraw(command.id):
                        raise
        _raise(outcome)
        return here

    def _advance(self, backend: LocalBackend, root: Ref, why: str, deadline: float, command: str = "") -> bool:
        """Carry out what waits where nobody drives the run, which is then given; otherwise give its runner a moment.

        Nothing is done where the `command` that is waited for, by its id, was answered in the meantime.
        """
        lease = self._leases.take(run_lease(root), f"{why} of {root}")
        if lease is not None and command and self._rows.outcome(command) is not None:
            self._leases.give(lease)  # its runner was faster, and had no more to do
            return False
        if lease is not None:
            self._carry_out(backend, root, lease)
            return True
        if time.monotonic() > deadline:
            words = f"the runner of {root} did not answer; all runners together have {ANSWER_SECONDS:.0f} s at most"
            raise Unavailable(words, unsent=True)
        time.sleep(_IDLE_SECONDS / 5)
        return False

    def _carry_out(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        """Carry out what waits, then hand the run to a runner if there is work left."""
        journal = _Journal(self._db, root, lease)
        session: Session | None = None
        launching = False
        try:
            session = backend.open_session(journal.load(), journal.write)
            drain(journal, session)
            # A leaf whose end nobody saw waits for `recover`: no runner can go on before that (S6).
            idle = session.settled or any(look.unknown for look in session.look())
            if idle:
                self._leases.give(lease)
            else:
                launching = True
                self._launch(backend, root, lease)
        except BaseException as error:
            if launching and isinstance(error, KeyboardInterrupt):
                self._leases.leave(lease)  # the runner may have been begun already: then it is the runner's
            else:
                self._leases.give(lease)
            raise
        finally:
            if session is not None:
                session.close()


class _LeaseLostError(Exception):
    """Another process drives the run now; nothing of ours may be written over its rows."""


class _Journal:
    """The rows and the inbox of one run, written only while its lease is held."""

    def __init__(self, database: Database, root: Ref, lease: Lease) -> None:
        self._db, self._root, self._lease = database, str(root), lease
        self._rows, self._leases = Rows(database), Leases(database)

    def load(self) -> dict[str, str]:
        """Every row."""
        return self._rows.load(self._root)

    def pending(self) -> list[Command]:
        """The commands that wait."""
        return self._rows.pending(self._root)

    def write(self, changes: Changes, answer: tuple[str, object] | None = None) -> None:
        """Write changed rows, and the answer to a command with them.

        Raises `_LeaseLostError`, having written nothing.
        """
        with self._db.transaction():
            if not self._leases.ours(self._lease):
                raise _LeaseLostError
            self._rows.write(self._root, changes)
            if answer is not None:
                self._rows.answer(*answer)


def drain(journal: _Journal, session: Session) -> None:
    """Carry out every waiting command: what it changed and its answer are written in one transaction."""
    for command in journal.pending():
        outcome: dict[str, str] = {}
        if not command.name:
            message = f"{command.args['damaged']}; what it asked for was not done"
            journal.write({}, (command.id, {"error": EngineRefused.__name__, "message": message}))
            continue
        try:
            session.apply(command)
        except (EngineRefused, InvalidInput, NotFound) as error:
            outcome = {"error": type(error).__name__, "message": error.message}
        except Exception as error:
            # A bug in the engine: the session is given up as it is, and the command is not tried again.
            message = f"{command.name} failed in the engine: {one_line(error)}"
            journal.write({}, (command.id, {"error": EngineRefused.__name__, "message": message}))
            raise
        journal.write(session.changes(), (command.id, outcome or "done"))


def drive(database: Database, backend: LocalBackend, root: Ref, lease: Lease) -> None:
    """The runner's loop: returns when the run is settled and its lease is given back, or when the lease was lost."""
    leases = Leases(database)
    # From here on the run is driven: should this process die, that is the end of a runner (S6).
    if not leases.hand_over(lease, os.getpid(), runner_of(root, os.getpid())):
        return
    journal = _Journal(database, root, lease)
    session = backend.open_session(journal.load(), journal.write)
    pulse = _Pulse(database, leases, lease)
    try:
        while pulse.beat():
            if pulse.news:
                drain(journal, session)
            session.advance(until=pulse.due)
            if session.settled and _give_if_idle(database, Rows(database), leases, lease, root):
                return
            session.wait(_IDLE_SECONDS)
            if not pulse.due():  # nothing was written since the last look: what has ended is taken up at once
                session.advance(until=pulse.due)
    except _LeaseLostError:
        return
    finally:
        session.close()


class _Pulse:
    """Renews the lease in time and notices that another process has written (`news`: before the last beat)."""

    def __init__(self, database: Database, leases: Leases, lease: Lease) -> None:
        self._database, self._leases, self._lease = database, leases, lease
        self._stamp = -1
        self._next = 0.0
        self.news = True

    def beat(self) -> bool:
        """Renew when it is time. False where the lease was lost: then another process drives the run."""
        stamp, now = self._database.stamp(), time.monotonic()
        self.news, self._stamp = stamp != self._stamp, stamp
        if now >= self._next:
            self._next = now + TTL_SECONDS / 3
            return self._leases.renew(self._lease)
        return not self.news or self._leases.ours(self._lease)

    def due(self) -> bool:
        """Whether the loop should come back: another process wrote, or the lease wants renewing."""
        return self._database.stamp() != self._stamp or time.monotonic() >= self._next


def _give_if_idle(database: Database, rows: Rows, leases: Leases, lease: Lease, root: Ref) -> bool:
    with database.transaction():
        if rows.pending(str(root)):
            return False
        leases.give(lease)
        return True


class ProcessLauncher:
    """Starts a detached runner process."""

    def __init__(self, leases: Leases, detached: Detached) -> None:
        self._leases = leases
        self._detached = detached

    def __call__(self, backend: LocalBackend, root: Ref, lease: Lease) -> None:
        """Start the process and make it the lease's holder; its output goes to the runner log."""
        try:
            pid = self._detached.start("flowbridge.runner", [backend.name, root.id, lease.token])
        except OSError as error:
            where = error.filename or sys.executable
            raise Unavailable(
                f"the runner of {root} cannot be started: {where}: {error.strerror}; "
                f"`flowbridge recover {root.id}` goes on once that is mended"
            ) from error
        self._leases.hand_over(lease, pid, runner_of(root, pid))


def lease_for(root: Ref, token: str) -> Lease:
    """The lease of a run that another process took for us."""
    return Lease(run_lease(root), token)


_ANSWERS: Mapping[str, type[FlowbridgeError]] = {
    kind.__name__: kind for kind in (EngineRefused, InvalidInput, NotFound)
}


def _raise(outcome: object) -> None:
    if isinstance(outcome, dict):
        raise _ANSWERS[outcome["error"]](str(outcome["message"]))
