"""What local engines have in common in carrying out a command: see `local`."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol, TypeVar

from flowbridge.errors import EngineRefused, NotFound
from flowbridge.local import Command


class Run(Protocol):
    """One execution of an engine, as far as it concerns every engine. `revision` is the one that its looks show."""

    @property
    def id(self) -> str:
        """Its id at the engine."""

    @property
    def revision(self) -> int:
        """See `model.ExecutionLook.revision`."""


RunT = TypeVar("RunT", bound=Run)
RunT_co = TypeVar("RunT_co", bound=Run, covariant=True)


class Tree(Protocol[RunT_co]):
    """One native tree of an engine. `commands` are the ids of those that were carried out already."""

    @property
    def root(self) -> RunT_co | None:
        """The root execution, None before the start."""

    @property
    def by_id(self) -> Mapping[str, RunT_co]:
        """Every execution by its id."""

    @property
    def commands(self) -> Container[str]:
        """The ids of the commands that were carried out."""

    def note_command(self, id: str) -> None:
        """Remember that a command was carried out."""


TreeT = TypeVar("TreeT", bound=Tree[Any])
Args = Mapping[str, Any]


def carry_out(
    tree: TreeT,
    command: Command,
    start: Callable[[TreeT, str, Args], None],
    verbs: Mapping[str, Callable[[TreeT, RunT, Args], None]],
) -> None:
    """Carry out a command once, by the function of its name. A session holds one tree: it is started once.

    Raises `EngineRefused` for a verb that there is not, or a second tree; `NotFound`; and what the functions raise,
    which have changed nothing then.
    """
    if command.id in tree.commands:
        return
    if command.name == "start":
        if tree.root is None:
            start(tree, command.execution, command.args)
        elif tree.root.id != command.execution:
            raise EngineRefused(f"Execution {tree.root.id} runs here; {command.execution} needs a session of its own.")
    else:
        run = tree.by_id.get(command.execution)
        if run is None:
            raise NotFound(f"There is no execution {command.execution} here.")
        verb = verbs.get(command.name)
        if verb is None:
            raise EngineRefused(f"There is no verb '{command.name}'. Allowed: start, {', '.join(verbs)}.")
        verb(tree, run, command.args)
    tree.note_command(command.id)


def require_seen(run: Run, args: Args) -> None:
    """Refuse a command that was given for another state of the execution (see `backend.Backend.resume`).

    Raises `EngineRefused`.
    """
    seen = args.get("revision")
    if seen is not None and seen != str(run.revision):
        raise EngineRefused(f"Execution {run.id} has changed since it was looked at (now {run.revision}, not {seen}).")
