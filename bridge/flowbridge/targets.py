"""From what a user names to the request of a start: a file, a workflow the engine knows, or a catalog's name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from flowbridge.backend import Backend, Definition, Deployed, Given, Target
from flowbridge.config import Config
from flowbridge.defaults import validated
from flowbridge.errors import EngineRefused, InvalidInput, NotFound, Unavailable
from flowbridge.instances import Instances
from flowbridge.links import Start
from flowbridge.localbackend import LocalBackend
from flowbridge.model import WaitingChild
from flowbridge.plugins import Hooks
from flowbridge.vault import Vault, has_sealed
from flowbridge.written import read, require_json


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller gives beside the target. `workflow` and `backend` are empty where the target decides."""

    input: Mapping[str, Any] = field(default_factory=dict)
    backend: str = ""
    workflow: str = ""
    env: Mapping[str, Any] = field(default_factory=dict)
    task_name: str = ""


class Targets:
    """Finds what a target stands for. `default` names the instance to use where nothing else does."""

    def __init__(
        self,
        config: Config,
        instances: Instances,
        hooks: Callable[[], Hooks],
        vault: Vault,
        default: Callable[[Definition | None], str],
    ) -> None:
        self._config = config
        self._instances = instances
        self._hooks = hooks
        self._vault = vault
        self._default = default

    def request(self, target: Definition | str, wish: Wish) -> tuple[str, dict[str, Any]]:
        """The instance to start a target on, and what the ledger keeps of the start; secret inputs are sealed in it.

        Raises `InvalidInput` or `NotFound` for a target, a definition or a workflow that is wrong, and `EngineRefused`
        where the instance is a local one that would keep a secret input open in the ledger.
        """
        require_json(wish.input, "input")
        require_json(wish.env, "the environment's")
        found = Target(target) if isinstance(target, Definition) else self.find(target)
        name = wish.backend or self._instance_for(found)
        engine = self._instances.get(name)
        asked = given = Given(read(wish.input, found.text), wish.workflow, wish.env, wish.task_name)
        if found.bind is not None:
            given = found.bind(asked)
        named = given.workflow or found.workflow
        chosen, links = self._chosen(engine, found.definition, named) if found.definition else (named, found.links)
        hidden = found.secret | given.secret
        secret = sorted(name for name, value in given.input.items() if _is_secret(value, named=name in hidden))
        if secret and isinstance(engine, LocalBackend) and not engine.opens_sealed:
            raise EngineRefused(
                f"{name} would keep the secret input {secret[0]!r} in the ledger as it is; name another --backend"
            )
        request: dict[str, Any] = {
            "workflow": chosen,
            "input": self._vault.seal_inputs(given.input, hidden),
            "env": dict(given.env),
        }
        if hidden:
            request["secret"] = sorted(hidden)
        if links:
            request["links"] = True
        if found.text:
            request["text"] = sorted(found.text)
        if given.task_name:
            request["task_name"] = given.task_name
        if found.definition is not None:
            request |= {"definition": found.definition.text, "source": found.definition.source}
        if found.bind is not None and isinstance(target, str):
            request["given"] = self._given(target, asked, hidden)
        return name, request

    def checked(self, target: Definition | str, backend: str = "") -> tuple[str, Target, Deployed]:
        """The instance that a definition or a name would be started on, what it stands for, and what is in it. Nothing
        is sealed or kept.

        Raises `InvalidInput` where it is wrong, or there is no such instance, and `NotFound` where that engine has no
        workflow of the name, as a start of it would.
        """
        found = Target(target) if isinstance(target, Definition) else self.find(target)
        name = backend or self._instance_for(found)
        engine = self._instances.get(name)
        if found.definition is None:
            with self.known_elsewhere(target, backend):
                engine.check_name(found.workflow)
            return name, found, Deployed((found.workflow,), warnings=found.warnings)
        return name, found, validated(self._instances, engine, found.definition)

    def _chosen(self, engine: Backend, definition: Definition, named: str) -> tuple[str, bool]:
        """The workflow to start, and whether its file may come to wait for other engines."""
        try:
            deployed = validated(self._instances, engine, definition)
        except Unavailable as error:
            raise Unavailable(f"{error.message.rstrip('.')}; nothing was started", unsent=True) from error
        known = deployed.workflows
        if not known:
            raise InvalidInput(f"{definition.source} has no workflow in it, as {engine.name} reads it")
        return _named(definition, known, named) if named else _default(definition, known), deployed.links

    def _given(self, target: str, asked: Given, hidden: Collection[str]) -> dict[str, Any]:
        """What a start was asked with, before its target made of it what it is started with: for `overridden`."""
        input = self._vault.seal_inputs(asked.input, hidden)
        return {"target": target, "input": input, "workflow": asked.workflow, "task_name": asked.task_name}

    def overridden(self, request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """The request of a start with single values of its input overridden, as its target takes them now.

        Raises `InvalidInput` for what the target does not accept, and where there is no such target any more.
        """
        if changes and "given" in request:
            return self._bound_anew(request, changes)
        plain = read(changes, request.get("text", ()))
        sealed = self._vault.seal_inputs(plain, request.get("secret", ()))
        return {**request, "input": {**request.get("input", {}), **sealed}}

    def _bound_anew(self, request: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        asked, secret = request["given"], frozenset(request.get("secret", ()))
        found = self.catalog(asked["target"])
        if found is None or found.bind is None:
            raise InvalidInput(
                f"{asked['target']} is in no catalog any more, so nothing tells whether it takes "
                f"{', '.join(changes)}: re-run it with the input that it had, or put its pack back"
            )
        # What is secret by its name is sealed by its name again; what else is sealed stays so.
        before = {name: self._vault.open(value) if name in secret else value for name, value in asked["input"].items()}
        input = {**before, **read(changes, found.text)}
        given = found.bind(Given(input, asked["workflow"], request.get("env", {}), asked["task_name"]))
        hidden = found.secret | given.secret | secret
        return {
            **request,
            "workflow": given.workflow or request["workflow"],
            "input": self._vault.seal_inputs(given.input, hidden),
            "secret": sorted(hidden),
            "task_name": given.task_name,
            "given": {**asked, "input": self._vault.seal_inputs(input, hidden)},
        }

    def _instance_for(self, found: Target) -> str:
        if found.backend:
            return self._instances.meant(found.backend)
        try:
            return self._default(found.definition)
        except InvalidInput as error:
            if found.definition is not None:
                raise
            raise NotFound(
                f"{found.workflow!r} is no file, no workflow that was named with its instance (INSTANCE:NAME), and "
                f"{self.missing(found.workflow)}"
            ) from error

    @contextmanager
    def known_elsewhere(self, target: Definition | str, backend: str) -> Iterator[None]:
        """Say, where a backend that was named does not know a target, that a catalog has it for another one."""
        try:
            yield
        except NotFound as error:
            found = self.catalog(target) if backend and isinstance(target, str) else None
            meant = self._instances.meant(found.backend) if found is not None and found.backend else ""
            if meant in ("", backend):
                raise
            why = f"The catalog has {target!r}, for the backend {meant}: start it without naming {backend}."
            raise NotFound(f"{backend}: {error.message.rstrip('.')}. {why}") from error

    def missing(self, ref: str) -> str:
        """That no catalog has a name, which folders were looked in, and names that are near."""
        folders = ", ".join(map(str, self._config.catalog.packs))
        if not folders:
            place = self._config.source or "the configuration"
            return (
                f"there is no folder of packs to look for it in: set `catalog: {{packs: [FOLDER]}}` in {place}, or "
                f"FLOWBRIDGE_PACKS"
            )
        near = get_close_matches(ref, [entry.ref for entry in self._hooks().catalog("", self._config)], 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"no pack in {folders} has it{hint}"

    def linked(self, host: str, waiting: WaitingChild) -> Start:
        """Where and with what the target of a link is started. Raises `FlowbridgeError` where it stands for nothing."""
        instance, colon, name = waiting.target.partition(":")
        if not colon and self.catalog(waiting.target) is None:
            raise InvalidInput(f"{host} waits for {waiting.target!r}, which is no INSTANCE:NAME and in no catalog")
        backend = instance if colon else ""
        wish = Wish(dict(waiting.input), backend, waiting.workflow, dict(waiting.env), waiting.task_name)
        return Start(*self.request(name if colon else waiting.target, wish))

    def find(self, ref: str) -> Target:
        """What a name stands for; where no catalog knows it, a workflow that the engine may know."""
        return self.catalog(ref) or Target(workflow=ref)

    def catalog(self, ref: str) -> Target | None:
        """What a name stands for in a catalog, None where none knows it."""
        return self._hooks().resolve(ref, self._config)


def _is_secret(value: Any, *, named: bool) -> bool:
    """Whether there is something in an input that must not be written as it is."""
    return (named and value is not None) or has_sealed(value)


def _named(definition: Definition, known: Sequence[str], named: str) -> str:
    """A workflow by its name; one of a workbook (`book.flow`) also by its own, where that is clear."""
    found = [name for name in known if name == named] or [name for name in known if name.endswith(f".{named}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(f"{definition.source} has several workflows {named!r}; name one of: {', '.join(found)}")
    raise InvalidInput(f"{definition.source} has no workflow {named!r}; it has: {', '.join(known)}")


def _default(definition: Definition, known: Sequence[str]) -> str:
    """The workflow to start where none is named: the only one, else the one named `main`."""
    mains = [name for name in known if name.rpartition(".")[2] == "main"]
    if len(known) == 1 or mains:
        return (mains or known)[0]
    raise InvalidInput(
        f"{definition.source} has several workflows and none named main; name one of them with --workflow: "
        f"{', '.join(known)}"
    )
