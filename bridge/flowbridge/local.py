"""The role of an engine that runs where the bridge runs.

A local engine keeps one native tree (a root execution and its sub-workflows) in a `Session`. The session's state
is a set of rows, key to JSON text; whatever changes is handed to `flush` in one batch, which the ledger writes in
one transaction. A session loaded from the rows of another process goes on exactly there.

Verbs arrive as `Command`s through the ledger, so any process can control a run that another one holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from flowbridge.backend import Definition
from flowbridge.errors import EngineRefused
from flowbridge.model import NOTHING, ExecutionLook, ExecutionRead

#: Rows to write; None deletes the row.
Changes = Mapping[str, str | None]
Flush = Callable[[Changes], None]


class Command(NamedTuple):
    """One verb for one execution of a session. `args` is plain JSON data.

    =========  ==========================================================================
    name       args
    =========  ==========================================================================
    start      workflow, input, env, definition (text), source
    pause
    resume     revision: the one the caller saw; another one now means it is refused
    cancel
    rerun      tasks: list of [task id, reset]
    skip       tasks: list of task ids
    report     key (of the waiting action), status, result
    recover    assume: "failed" or "rerun", for leaves whose end nobody saw
    =========  ==========================================================================
    """

    id: str
    name: str
    execution: str
    args: Mapping[str, Any] = NOTHING


@contextmanager
def readable_rows() -> Iterator[None]:
    """Around what is built from rows: raises `EngineRefused` where it fails as it only does with rows that are not as
    they were written."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
        raise EngineRefused(
            f"the rows of this run in the ledger are damaged ({type(error).__name__}: {error}); they are left as they "
            f"are: restore the ledger from a backup"
        ) from error


class Session(ABC):
    """One native tree in this process. Not safe for several threads: one thread calls all of it.

    Loading runs nothing: `look` and `read` work at once; only `advance` goes on with the work.
    """

    @abstractmethod
    def apply(self, command: Command) -> None:
        """Carry out a verb on the state, flushing nothing by itself. The same command id twice does nothing.

        Raises `EngineRefused`, `InvalidInput` or `NotFound` and has then changed nothing.
        """

    @abstractmethod
    def look(self) -> tuple[ExecutionLook, ...]:
        """The whole tree, the root first, parents before children."""

    @abstractmethod
    def read(self, id: str, tasks: Sequence[str] | None = None) -> ExecutionRead:
        """Inputs, results and items of one execution."""

    def definition(self, id: str) -> Definition | None:
        """The text that one execution runs; None where it runs without one."""
        del id
        return None

    @abstractmethod
    def changes(self) -> Changes:
        """The rows that changed since they were last asked for or flushed."""

    @abstractmethod
    def advance(self, *, until: Callable[[], bool]) -> None:
        """Do all that can be done now without waiting; `until()` true ends it early, at a task boundary.

        Whoever calls has just asked it, so at least one step is taken: where others write all the time it is always
        true, and the run goes on all the same. Before any action with an effect outside begins, it is flushed which
        one that is, so that whoever loads the rows finds it; all changes are when there is nothing more to do.
        """

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Return when an action has ended, a timer is due, or after `seconds`."""

    @property
    @abstractmethod
    def settled(self) -> bool:
        """True when nothing runs here and nothing will without a command: every execution paused or ended."""

    @abstractmethod
    def close(self) -> None:
        """Stop threads and timers. Actions under way are left as they are, without a result."""
