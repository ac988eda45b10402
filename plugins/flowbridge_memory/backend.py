"""The reference engine as a backend: a local engine whose state lives in the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar

from flowbridge._version import __version__
from flowbridge.backend import Definition, Deployed, Health, Listed
from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.errors import InvalidInput
from flowbridge.local import Flush
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Verb
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.books import Library
from flowbridge_memory.clock import Clock
from flowbridge_memory.session import MemorySession, open_session
from flowbridge_memory.shelf import Shelf
from flowbridge_memory.world import MAX_TASKS

_VERSION = re.compile(r"""^\s*["']?version["']?\s*:\s*["']?2""", re.MULTILINE)

_OPTIONS = ("actions", "cascades", "max_tasks", "workers", "workflows")


class MemoryBackend(LocalBackend):
    """The reference engine.

    Options, all of them optional: `actions` maps action names to Python callables as `module:function`; `workers` is
    how many actions with effects run at once (8); `max_tasks` is how many tasks one tree may have (250,000);
    `cascades` lists what the engine does by itself (all of it); `workflows` lists definition files whose workflows can
    be started, and called, by name. `clock` is for tests.

    Raises `InvalidInput` for an option that is unknown or wrong.
    """

    type: ClassVar[str] = "memory"
    open_options: ClassVar[frozenset[str]] = frozenset(_OPTIONS)

    def __init__(self, name: str, options: Mapping[str, Any], *, clock: Clock | None = None) -> None:
        super().__init__(name, options)
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise InvalidInput(f"backend {name}: unknown option {unknown[0]!r}; allowed are: {', '.join(_OPTIONS)}")
        self.actions = ActionRegistry(lambda action: self.resolve(action) is not None)
        for action, place in (options.get("actions") or {}).items():
            self.actions.register(action, _callable(name, action, place))
        self._cascades = _cascades(name, options.get("cascades")) | {Cascade.RERUN_UP}
        self._workers = _number(name, "workers", options.get("workers", 8))
        self._max_tasks = _number(name, "max_tasks", options.get("max_tasks", MAX_TASKS))
        self._clock = clock
        self._shelf = Shelf(name, options.get("workflows"))

    @classmethod
    def implicit(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:
        """The engine needs nothing to be there."""
        del environ
        return {}

    @property
    def capabilities(self) -> Capabilities:
        """Every verb, and the cascades that were chosen; nothing that breaks the law."""
        return Capabilities(
            verbs=frozenset(Verb),
            cascades=self._cascades,
            hosts_children=True,
        )

    @classmethod
    def recognizes(cls, definition: Definition) -> bool | None:
        """Whether it says that it is of the language's version 2."""
        return True if _VERSION.search(definition.text) else None

    def validate(self, definition: Definition) -> Deployed:
        """Check a definition and every action and sub-workflow that it names."""
        library = Library(self.actions, self._shelf.find)
        book = library.add(definition)
        names = library.names(book)
        for name in names:
            library.check(book, name)
        return Deployed(names, links=library.links(book))

    def deploy(self, definition: Definition) -> Deployed:
        """The same as `validate`: a definition travels with each execution."""
        return self.validate(definition)

    def open_session(self, rows: Mapping[str, str], flush: Flush) -> MemorySession:
        return open_session(
            self.name,
            rows,
            flush,
            actions=self.actions,
            clock=self._clock,
            catalog=self._shelf.find,
            cascades=self._cascades,
            workers=self._workers,
            max_tasks=self._max_tasks,
        )

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        """Nothing: every execution of this engine is in the ledger already."""
        del limit, state
        return ()

    def check(self) -> Health:
        return Health(__version__, "runs in this process")


def _callable(backend: str, action: str, place: object) -> Callable[..., Any]:
    module, _, name = str(place).partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"backend {backend}: action {action!r} is not at {place!r}: {error}") from error
    if not callable(found):
        raise InvalidInput(f"backend {backend}: action {action!r}: {place!r} cannot be called")
    return found  # type: ignore[no-any-return]  # callable() proves no more than that


def _number(backend: str, option: str, count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidInput(f"backend {backend}: {option} must be a whole number from 1 up, not {count!r}")
    return count


def _cascades(backend: str, chosen: Any) -> frozenset[Cascade]:
    if chosen is None:
        return frozenset(Cascade)
    try:
        return frozenset(Cascade(name) for name in chosen)
    except ValueError as error:
        allowed = ", ".join(Cascade)
        raise InvalidInput(f"backend {backend}: cascades: {error}; allowed are: {allowed}") from error
