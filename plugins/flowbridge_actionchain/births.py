"""What a task is given before it begins: its action, its parameters, and a child execution where it runs a chain."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowbridge.backend import Definition
from flowbridge.errors import FlowbridgeError, InvalidInput, NotFound
from flowbridge_actionchain.context import first_names, names_of, remember
from flowbridge_actionchain.language import Chain, Node, parse
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.parameters import bind
from flowbridge_actionchain.state import Run, Task
from flowbridge_actionchain.templates import TemplateError
from flowbridge_actionchain.world import World, path_up

#: The runner type of a chain, and those that another engine runs.
CHAIN = "action-chain"
ELSEWHERE = frozenset({"mistral-v2"})

#: A chain that calls itself without end is stopped here.
MAX_DEPTH = 64

_OF_THE_RUNNER = ("display_published", "skip_notify")


class ChainError(Exception):
    """The chain's own error: it ends the chain, whatever its tasks say of failures."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def set_variables(world: World, run: Run) -> None:
    """The chain's vars, which may name its parameters. Raises `TemplateError`."""
    found = world.services.templates.all(run.chain.vars, first_names(world, run))
    run.vars = remember(world, run, found)


def action_of(world: World, task: Task) -> PackAction:
    """The action that a task names. Raises `ChainError` where there is none that could be run."""
    try:
        action = world.services.catalog.get(task.node.ref)
    except (NotFound, InvalidInput) as error:
        raise ChainError(f"task {task.node.name!r} cannot be run: {error.message}") from error
    if not action.enabled:
        raise InvalidInput(f"action {action.ref} is disabled: its 'enabled' says false")
    return action


def rendered(world: World, task: Task) -> dict[str, Any]:
    """A task's parameters as the templates give them. Raises `ChainError`."""
    if task.run.single:
        return dict(task.node.parameters)
    try:
        return world.services.templates.all(task.node.parameters, names_of(world, task.run))
    except TemplateError as error:
        raise ChainError(
            f"task {task.node.name!r}: parameter {error.key!r} cannot be told: {error.message} ({error.text})"
        ) from error


def values_of(world: World, task: Task, action: PackAction) -> dict[str, Any]:
    """A task's parameters as its action wants them: cast, with defaults. What is secret among them is known from then on.

    Raises `ChainError` where they cannot be told or cast, `InvalidInput` where the action does not accept them.
    """
    given = world.opened(task.run) if task.run.single else rendered(world, task)
    values = bind(action, given, renderer(world, task.run))
    world.services.learn(value for name, value in values.items() if is_secret(action, name))
    return values


def renderer(world: World, run: Run) -> Callable[[str], Any]:
    """Renders the defaults of parameters."""
    names = names_of(world, run)
    return lambda text: world.services.templates.render(text, names)


def is_secret(action: PackAction, name: str) -> bool:
    """Whether an action declares a parameter secret."""
    return name in action.parameters and action.parameters[name].secret


def sealed(world: World, action: PackAction, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be written."""
    vault, services = world.services.vault, world.services
    return {
        name: vault.seal(value) if is_secret(action, name) else services.sealed(value)
        for name, value in values.items()
    }


def bear(world: World, task: Task, action: PackAction, values: Mapping[str, Any]) -> None:
    """Start the chain that a task names, as a child execution. Raises `ChainError`."""
    if sum(1 for _ in path_up(task.run)) > MAX_DEPTH:
        raise ChainError(f"task {task.node.name!r}: more than {MAX_DEPTH} chains inside each other are not run")
    try:
        definition = definition_of(action)
        chain = parse(definition)
    except FlowbridgeError as error:
        raise ChainError(f"task {task.node.name!r} cannot be run: {error.message}") from error
    id = str(uuid.uuid5(uuid.NAMESPACE_OID, task.key))
    child = Run(len(world.runs), id, chain, action.ref, action.pack, task, {})
    child.book = world.book(definition)
    fill(world, child, action, values)
    task.child = child
    world.adopt(child)


def fill(world: World, run: Run, action: PackAction, values: Mapping[str, Any]) -> None:
    """Give an execution of a catalog's chain its input, and what its runner takes beside it."""
    shown, quiet = values.get("display_published"), values.get("skip_notify")
    run.show_published = shown if isinstance(shown, bool) else True
    run.quiet = tuple(map(str, quiet)) if isinstance(quiet, list) else ()
    run.input = sealed(world, action, {name: value for name, value in values.items() if name not in _OF_THE_RUNNER})


def definition_of(action: PackAction) -> Definition:
    """The text of a chain in a pack. Raises `InvalidInput`."""
    path = action.entry_point
    if path is None:
        raise InvalidInput(f"action {action.ref} names no file: its 'entry_point' is missing", source=str(action.folder))
    try:
        return Definition(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InvalidInput(f"the chain of {action.ref} cannot be read: {error.strerror}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the chain of {action.ref} is not UTF-8 text", source=str(path)) from error


def only(action: PackAction) -> Chain:
    """One action as a chain of one task."""
    name = action.name
    return Chain({name: Node(name, action.ref)}, name, {}, str(action.folder))


def folder_of(world: World, task: Task) -> Path:
    """Where the files of a task's action are kept."""
    root = world.runs[0]
    return world.services.files(root.id) / f"{task.run.number}-{task.number}-{task.starts}"
