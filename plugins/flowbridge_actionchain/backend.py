"""StackStorm's chains and actions as a backend: a local engine whose state lives in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from flowbridge._version import __version__
from flowbridge.backend import Definition, Deployed, Health, Listed, Said
from flowbridge.capabilities import Capabilities, Cascade
from flowbridge.errors import InvalidInput
from flowbridge.local import Flush
from flowbridge.localbackend import LocalBackend
from flowbridge.model import Ref, Verb
from flowbridge_actionchain import language
from flowbridge_actionchain.checks import require_sound
from flowbridge_actionchain.elsewhere import may_link
from flowbridge_actionchain.jobs.jobs import Jobs, written
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.runnertypes import require_runnable
from flowbridge_actionchain.saying import said
from flowbridge_actionchain.services import Services, services_with
from flowbridge_actionchain.session import ChainSession, open_session
from flowbridge_actionchain.stores import read_stores

_OPTIONS: Mapping[str, type] = {"datastore": str, "max_steps": int, "native_types": bool, "secret_arguments": bool}


class ActionChainBackend(LocalBackend):
    """ActionChains and the actions of packs, run where the bridge runs.

    Options, all of them optional: `datastore`, a YAML file with what `st2kv` names; `max_steps`, how many tasks a chain
    may run (10000); `native_types` keeps the type of a template that is one expression, where StackStorm makes it text;
    `secret_arguments` allows secrets in the arguments of a program.

    Raises `InvalidInput` for an option that is unknown or wrong.
    """

    type: ClassVar[str] = "actionchain"
    open_options: ClassVar[frozenset[str]] = frozenset(_OPTIONS)
    opens_sealed: ClassVar[bool] = True

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        for option, value in options.items():
            _check(name, option, value)

    @classmethod
    def implicit(cls, environ: Mapping[str, str]) -> Mapping[str, Any]:
        """The engine needs nothing to be there."""
        del environ
        return {}

    @property
    def capabilities(self) -> Capabilities:
        """Every verb and every cascade; nothing that breaks the law."""
        return Capabilities(verbs=frozenset(Verb), cascades=frozenset(Cascade), hosts_children=True)

    @classmethod
    def recognizes(cls, definition: Definition) -> bool:
        """Whether it is a chain."""
        return language.recognizes(definition)

    def validate(self, definition: Definition) -> Deployed:
        """Check a chain, every action that it names, and what it gives to them; its name is its file's."""
        odd = require_sound(definition, self._catalog)
        chain = language.parse(definition)
        return Deployed((Path(definition.source).stem,), links=may_link(chain, self._catalog), warnings=odd)

    def deploy(self, definition: Definition) -> Deployed:
        """The same as `validate`: a definition travels with each execution."""
        return self.validate(definition)

    def check_name(self, workflow: str) -> None:
        require_runnable(self._catalog.get(workflow))

    def open_session(self, rows: Mapping[str, str], flush: Flush) -> ChainSession:
        return open_session(self.name, rows, flush, self._services())

    def said(self, id: str, task: str, mark: str = "") -> Said:
        """What the action of a task has written, from a mark on."""
        root = self.host.root_of(Ref(self.name, id))
        session = self.open_session(self.host.rows(root), lambda _: None)
        try:
            folder = self.host.folder(root)
            return said(session.task(id, task), mark, lambda job, stream, at: written(job, folder, stream, at))
        finally:
            session.close()

    def list_executions(self, *, limit: int, state: str | None = None) -> Iterable[Listed]:
        """Nothing: every execution of this engine is in the ledger already."""
        del limit, state
        return ()

    def check(self) -> Health:
        return Health(__version__, "runs in this process")

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self.host.catalog.packs)

    @cached_property
    def _stores(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        return read_stores(self.options.get("datastore"))

    def _services(self) -> Services:
        host = self.host
        return services_with(
            self._catalog, self._stores, self.options, host.vault, lambda root: Jobs(host.folder(Ref(self.name, root)))
        )


def _check(backend: str, option: str, value: Any) -> None:
    if option not in _OPTIONS:
        raise InvalidInput(f"backend {backend}: unknown option {option!r}; allowed are: {', '.join(_OPTIONS)}")
    kind = _OPTIONS[option]
    too_few = kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 1)
    if too_few or not isinstance(value, kind):
        words = {str: "text", int: "a whole number from 1 up", bool: "true or false"}
        raise InvalidInput(f"backend {backend}: {option} must be {words[kind]}, not {value!r}")
