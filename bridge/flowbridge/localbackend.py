"""What every local engine shares: its verbs travel through the ledger, its runs are driven by a runner.

A verb becomes a `Command` in the run's inbox. Where a runner holds the run, that runner carries it out; where none
does, this process takes the run's lease, carries it out itself, and starts a runner if there is work left.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from flowbridge.backend import Backend, Definition, StartRequest
from flowbridge.config import CatalogConfig
from flowbridge.errors import EngineRefused, NotFound
from flowbridge.local import Changes, Command, Flush, Session
from flowbridge.model import EngineState, ExecutionLook, ExecutionRead, Ref, TaskRerun, TaskStatus
from flowbridge.vault import Vault


class LocalHost(Protocol):
    """What the bridge gives to a local backend: the run's rows, its inbox, its lease."""

    @property
    def vault(self) -> Vault:
        """Opens the sealed values of this ledger."""

    @property
    def catalog(self) -> CatalogConfig:
        """Where catalogs look, by the bridge's configuration."""

    def folder(self, root: Ref) -> Path:
        """Where the files of a run may be kept, beside the ledger; made by whoever needs it, gone when it is pruned."""

    def rows(self, root: Ref) -> Mapping[str, str]:
        """Every row of a run; empty where there is none."""

    def root_of(self, ref: Ref) -> Ref:
        """The root of the native tree that an execution belongs to."""

    def submit(self, backend: LocalBackend, root: Ref, command: Command) -> bool:
        """Have a command carried out, by the run's runner or here; gives whether it may have been here.

        Raises what the session raised.
        """

    def driven(self, root: Ref) -> bool:
        """Whether a living process holds the run."""

    def died(self, root: Ref) -> str:
        """What the last process that drove the run died of, in words; "" where nobody knows."""

    def deliver(self, backend: LocalBackend, root: Ref) -> None:
        """Have every command that was sent already carried out: what is in the inbox counts as sent."""


class LocalBackend(Backend):
    """A backend whose engine runs where the bridge runs. A type gives `open_session` and the definition's checks."""

    _host: LocalHost | None = None

    def attach(self, host: LocalHost) -> None:
        """Called once by the bridge, before any other call."""
        self._host = host

    @property
    def host(self) -> LocalHost:
        """The bridge's side. Raises `EngineRefused` where the backend is used without a bridge."""
        if self._host is None:
            raise EngineRefused(f"{self.name}: a local engine is used through a bridge")
        return self._host

    @abstractmethod
    def open_session(self, rows: Mapping[str, str], flush: Flush) -> Session:
        """A session from the rows of a run; no rows make an empty one, which `start` fills."""

    def check_start(self, request: StartRequest) -> bool:
        """Start it in a session that is thrown away: the start is checked by itself."""
        session = self.open_session({}, _keep)
        try:
            session.apply(_start_command(request))
        finally:
            session.close()
        return True

    def start(self, request: StartRequest) -> Ref:
        ref = Ref(self.name, request.id)
        self.host.submit(self, ref, _start_command(request))
        return ref

    def observe(self, ids: Sequence[str]) -> Mapping[str, tuple[ExecutionLook, ...]]:
        found = {}
        for id in ids:
            looks = self._look(self.host.root_of(Ref(self.name, id)))
            if looks:
                found[id] = looks
        return found

    def _look(self, root: Ref) -> tuple[ExecutionLook, ...]:
        self.host.deliver(self, root)
        driven = self.host.driven(root)
        rows = self.host.rows(root)
        if not rows:
            return ()
        session = self.open_session(rows, _keep)
        try:
            looks = session.look()
            dead = not driven and (not session.settled or any(look.unknown for look in looks))
        finally:
            session.close()
        # The runner may have begun or ended between the two questions: dead only where none drives it now either.
        if dead and not self.host.driven(root):
            return _abandoned(looks, self.host.died(root))
        return tuple(replace(look, unknown=()) if look.unknown else look for look in looks)

    def definition(self, id: str, workflow: str) -> Definition | None:
        """The very text that the execution runs, also where it was started by a name."""
        del workflow
        rows = self.host.rows(self.host.root_of(Ref(self.name, id)))
        if not rows:
            return None
        session = self.open_session(rows, _keep)
        try:
            return session.definition(id)
        finally:
            session.close()

    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        rows = self.host.rows(self.host.root_of(Ref(self.name, id)))
        if not rows:
            raise NotFound(f"{self.name} has no execution {id}")
        session = self.open_session(rows, _keep)
        try:
            return session.read(id, tasks)
        finally:
            session.close()

    def pause(self, id: str) -> None:
        self._send("pause", id)

    def resume(self, id: str, revision: str) -> None:
        self._send("resume", id, revision=revision)

    def cancel(self, id: str) -> None:
        is_undriven = self._send("cancel", id)
        # In an abandoned run nothing runs to completion any more: what nobody saw the end of counts as failed (S6).
        if is_undriven and any(look.unknown for look in self._look(self.host.root_of(Ref(self.name, id)))):
            self.recover(id, "failed")

    def rerun(self, id: str, tasks: Sequence[TaskRerun]) -> None:
        self._send("rerun", id, tasks=[list(task) for task in tasks])

    def skip(self, id: str, tasks: Sequence[str]) -> None:
        self._send("skip", id, tasks=list(tasks))

    def report(self, id: str, key: str, status: TaskStatus, result: Any) -> None:
        self._send("report", id, key=key, status=str(status), result=result)

    def recover(self, id: str, assume: str) -> None:
        """Go on with an abandoned run. `assume` is "failed" or "rerun", for leaves whose end nobody saw (S6)."""
        self._send("recover", id, assume=assume)

    def _send(self, name: str, id: str, **args: Any) -> bool:
        root = self.host.root_of(Ref(self.name, id))
        return self.host.submit(self, root, Command(uuid.uuid4().hex, name, id, args))


def _start_command(request: StartRequest) -> Command:
    args: dict[str, Any] = {"workflow": request.workflow, "input": dict(request.input), "env": dict(request.env)}
    if request.task_name:
        args["task_name"] = request.task_name
    if request.definition is not None:
        args |= {"definition": request.definition.text, "source": request.definition.source}
    return Command(f"start-{request.id}", "start", request.id, args)


def _keep(changes: Changes) -> None:
    """A session that only looks writes nothing."""


def _abandoned(looks: tuple[ExecutionLook, ...], why: str) -> tuple[ExecutionLook, ...]:
    """What ran is abandoned, an ended execution with a task under way too; what had settled is as it was."""
    return tuple(
        replace(look, state=EngineState.ABANDONED, error=why or look.error) if _was_running(look) else look
        for look in looks
    )


def _was_running(look: ExecutionLook) -> bool:
    return look.state in (EngineState.REQUESTED, EngineState.RUNNING) or any(task.active for task in look.tasks)
