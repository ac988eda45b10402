"""The reference engine as a backend: a local engine whose state lives in the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

from flowbridge._version import __version__
from flowbridge.backend import Definition, Deployed, Health, Listed
from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.errors import InvalidInput
from flowbridge.local import Flush
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Verb
from flowbridge.plugins import one_line
from flowbridge_memory.actions import ActionRegistry
from flowbridge_memory.books import Library
from flowbridge_memory.clock import Clock
from flowbridge_memory.session import MemorySession, open_session
from flowbridge_memory.shelf import Shelf, no_workflow
from flowbridge_memory.values import shown
from flowbridge_memory.world import MAX_TASKS

_VERSION = re.compile(r"""^\s*["']?version["']?\s*:\s*["']?2""", re.MULTILINE)

#: More threads than this are no help to anybody.
MAX_WORKERS = 256

_OPTIONS = ("actions", "cascades", "max_tasks", "workers", "workflows")


class MemoryBackend(LocalBackend):
    """The reference engine.

    Options, all of them optional: `actions` maps action names to Python callables as `module:function`; `workers` is
    how many actions with effects run at once (8); `max_tasks` is how many tasks one tree may have (250,000);
    `cascades` lists what the engine does by itself (all of it); `workflows` lists definition files whose workflows can
    be started, and called, by name. `clock` is for tests.

    Raises `InvalidInput` for an option that is unknown or wrong. A file that is not there is told by `check`, and by
    `validate` before a run begins: what runs already can be looked at, paused and canceled without it.
    """

    type: ClassVar[str] = "memory"
    open_options: ClassVar[frozenset[str]] = frozenset(_OPTIONS)

    def __init__(self, name: str, options: Mapping[str, Any], *, clock: Clock | None = None) -> None:
        super().__init__(name, options)
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise InvalidInput(f"backend {name}: unknown option {unknown[0]!r}; allowed are: {', '.join(_OPTIONS)}")
        self.actions = ActionRegistry(lambda action: self.resolve(action) is not None)
        for action, call in _callables(name, options.get("actions")):
            self.actions.register(action, call)
        self._cascades = _cascades(name, options.get("cascades")) | {Cascade.RERUN_UP}
        self._workers = _number(name, "workers", options.get("workers", 8), most=MAX_WORKERS)
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
        self._shelf.check()
        library = Library(self.actions, self._shelf.find)
        book = library.add(definition)
        names = library.names(book)
        for name in names:
            library.check(book, name)
        return Deployed(names, links=library.links(book))

    def deploy(self, definition: Definition) -> Deployed:
        """The same as `validate`: a definition travels with each execution."""
        return self.validate(definition)

    def check_name(self, workflow: str) -> None:
        definition = self._shelf.find(workflow)
        if definition is None:
            raise no_workflow(workflow)
        library = Library(self.actions, self._shelf.find)
        library.check(library.add(definition), workflow)

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
        self._shelf.check()
        return Health(__version__, "runs in this process")


def _callables(backend: str, chosen: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    if chosen is not None and not isinstance(chosen, Mapping):
        allowed = "a mapping of action names, each to a Python callable as module:function"
        raise InvalidInput(f"backend {backend}: actions must be {allowed}, not {shown(chosen)}")
    for action, place in (chosen or {}).items():
        yield str(action), _callable(backend, str(action), place)


def _callable(backend: str, action: str, place: object) -> Callable[..., Any]:
    module, _, name = place.partition(":") if isinstance(place, str) else ("", "", "")
    if not module or not name:
        wrong = f"action {action!r} must be a text such as module:function, not {shown(place)}"
        raise InvalidInput(f"backend {backend}: actions: {wrong}")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        # Importing runs the module's own code, which may raise anything.
        why = one_line(error)
        raise InvalidInput(f"backend {backend}: actions: {action!r} is not at {place!r}: {why}") from error
    if not callable(found):
        raise InvalidInput(f"backend {backend}: actions: {action!r}: {place!r} cannot be called")
    return found  # type: ignore[no-any-return]  # callable() proves no more than that


def _number(backend: str, option: str, count: Any, *, most: int | None = None) -> int:
    right = isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= (most or count)
    if not right:
        allowed = f"a whole number from 1 to {most}" if most else "a whole number from 1 up"
        raise InvalidInput(f"backend {backend}: {option} must be {allowed}, not {shown(count)}")
    return int(count)


def _cascades(backend: str, chosen: Any) -> frozenset[Cascade]:
    if chosen is None:
        return frozenset(Cascade)
    allowed = f"allowed are: {', '.join(Cascade)}"
    if not isinstance(chosen, list | tuple | set | frozenset):
        raise InvalidInput(f"backend {backend}: cascades must be a list, not {shown(chosen)}; {allowed}")
    for name in chosen:
        if name not in list(Cascade):
            raise InvalidInput(f"backend {backend}: cascades: there is no {shown(name)}; {allowed}")
    return frozenset(Cascade(name) for name in chosen)
