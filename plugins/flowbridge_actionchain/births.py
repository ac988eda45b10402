"""What a task is given before it begins: its action, its parameters, and a child execution where it runs a chain."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from flowbridge.backend import Definition
from flowbridge.errors import FlowbridgeError, InvalidInput, NotFound
from flowbridge_actionchain.casts import cast
from flowbridge_actionchain.context import Names, first_names, names_of, parent_context, remember
from flowbridge_actionchain.jobs.model import RunContext
from flowbridge_actionchain.language import Chain, Node, parse
from flowbridge_actionchain.packs.metadata import text_of
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.packs.parameters import Render, bind
from flowbridge_actionchain.packs.runnertypes import require_runnable
from flowbridge_actionchain.services import Services
from flowbridge_actionchain.state import Run, Task
from flowbridge_actionchain.templates import TemplateError
from flowbridge_actionchain.world import World, path_up

#: A chain that calls itself without end is stopped here.
MAX_DEPTH = 64

#: The built-in action that runs anything elsewhere: what `target` names, with `input`. It takes the parameters of a
#: link of other engines too, and proposes those two.
LINK = "flowbridge.run"
LINK_PROPOSES = ("target", "input")
LINK_TAKES = (*LINK_PROPOSES, "owner")

_OF_THE_RUNNER = ("display_published", "skip_notify")


class ChainError(Exception):
    """The chain's own error: it ends the chain, whatever its tasks say of failures."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Link(NamedTuple):
    """What runs elsewhere for a task, as it may be written: what is secret in `input` is sealed, and nowhere else is
    anything secret."""

    target: str
    input: Mapping[str, Any]
    owner: str = ""
    env: Mapping[str, Any] = {}
    workflow: str = ""
    task_name: str = ""


def set_variables(world: World, run: Run) -> None:
    """The chain's vars, which may name its parameters. Raises `TemplateError`."""
    found = world.services.templates.all(run.chain.vars, first_names(world, run))
    run.vars = remember(world, run, found)


def action_of(world: World, task: Task) -> PackAction:
    """The action that a task names. Raises `ChainError` where there is none, `InvalidInput` where it is disabled, and
    `EngineRefused` where it is of a type that is not run here."""
    try:
        action = world.services.catalog.get(task.node.ref)
    except (NotFound, InvalidInput) as error:
        raise ChainError(f"task {task.node.name!r} cannot be run: {error.message}") from error
    if not action.enabled:
        raise InvalidInput(f"{action.ref} is disabled by its pack ({action.source})")
    try:
        require_runnable(action)
    except InvalidInput as error:
        raise ChainError(f"task {task.node.name!r} cannot be run: {error.message}") from error
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
    """A task's parameters as its action wants them: cast, with defaults. What is secret of them is known from then on.

    Raises `ChainError` where they cannot be told or cast, `InvalidInput` where the action does not accept them.
    """
    services = world.services
    if task.run.single:
        values = dict(world.opened(task.run))  # bound when it was started
        services.learn(value for name, value in values.items() if name in action.secrets)
        return values
    given = rendered(world, task)
    # A message about a value must not hold what is secret in it, nor a part of that.
    secrets = action.secrets
    hidden = secrets | {name for name, value in given.items() if services.is_tainted(value)}
    given = _cast(action, given, hidden)
    try:
        values = bind(action, given, renderer(world, task.run, action))
    except InvalidInput as error:
        if tainted := sorted(hidden - secrets):
            why = f"a parameter with something secret in it does not fit; such are: {', '.join(tainted)}"
            raise InvalidInput(f"{action.ref}: {why}") from error
        raise
    if secrets:
        services.learn(value for name, value in values.items() if name in secrets)
    return values


def _cast(action: PackAction, given: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        parameter = action.parameters.get(name)
        type = parameter.type if parameter is not None else ""
        try:
            found[name] = cast(value, type)
        except ValueError:
            shown = "the value given" if name in hidden else repr(value)[:80]
            raise ChainError(
                f"{action.ref}: the parameter {name!r} must be of type {type}, and {shown} is not"
            ) from None
    return found


def renderer(world: World, run: Run | None, action: PackAction) -> Render:
    """Renders the defaults of parameters, which may refer to others."""
    own = {"action_context": {"parent": parent_context(world, run)}} if run is not None else {}

    def render(value: Any, others: Mapping[str, Any]) -> Any:
        return world.services.templates.render(value, Names((own, others), world.services, action.pack))

    return render


def bound(services: Services, action: PackAction, given: Mapping[str, Any], render: Render) -> dict[str, Any]:
    """The parameters of an action that is started by itself. Raises `InvalidInput`, which tells nothing secret."""
    services.learn(value for name, value in given.items() if name in action.secrets)
    try:
        return bind(action, given, render)
    except (InvalidInput, TemplateError) as error:
        raise InvalidInput(services.masked(error.message)) from error


def run_context(world: World, execution: str, action: PackAction) -> RunContext:
    """What a leaf action is told of the run it belongs to."""
    services = world.services
    return RunContext(
        execution=execution,
        user=services.user,
        config=services.config(action.pack),
        datastore=services.datastore,
        secrets=tuple(services.secrets),
        secret_arguments=services.open_arguments,
    )


def sealed(world: World, action: PackAction, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be written."""
    vault, services, secrets = world.services.vault, world.services, action.secrets
    return {name: vault.seal(value) if name in secrets else services.sealed(value) for name, value in values.items()}


def link_of(world: World, task: Task) -> Link:
    """What a task of `flowbridge.run` runs elsewhere. Raises `ChainError`."""
    given, services = rendered(world, task), world.services
    target, input = str(given.get("target") or ""), given.get("input") or {}
    if not target or not isinstance(input, Mapping):
        raise ChainError(f"task {task.node.name!r}: {LINK} takes target, a text, and input, a mapping")
    sealed_input = {name: services.sealed(value) for name, value in input.items()}
    return _open_but_for_input(world, task, Link(target, sealed_input, str(given.get("owner") or "")))


def link_to(world: World, task: Task, action: PackAction, values: Mapping[str, Any]) -> Link:
    """What a task runs elsewhere whose action is a workflow. What is immutable is not handed on: it comes from the
    metadata again where the workflow is started. Raises `ChainError`."""
    given = {name: value for name, value in values.items() if not action.parameters[name].immutable}
    workflow, goal = given.pop("workflow", None) or "", given.pop("task", None) or ""
    if world.services.is_tainted(given.get("context")):
        raise ChainError(
            f"task {task.node.name!r}: there is a secret in context; only a value of input can carry one elsewhere"
        )
    link = Link(action.ref, sealed(world, action, given), workflow=workflow, task_name=goal)
    return _open_but_for_input(world, task, link)


_SAID_AS = {"input": "a name of input", "env": "the environment", "task_name": "task"}


def _open_but_for_input(world: World, task: Task, link: Link) -> Link:
    """A link where only the values of the input are secret: all else is written, and sent on, as it is."""
    written = link._asdict() | {"input": list(link.input)}
    if found := [_SAID_AS.get(name, name) for name, value in written.items() if world.services.is_tainted(value)]:
        raise ChainError(
            f"task {task.node.name!r}: there is a secret in {found[0]}; only a value of input can carry one elsewhere"
        )
    return link


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
    """Give an execution of a catalog's chain its input, and what its runner takes beside it.

    In a chain every parameter that its metadata declares has a value, None where nobody gave one.
    """
    if not run.single:
        declared = [name for name, parameter in action.parameters.items() if not parameter.runner]
        values = {**dict.fromkeys(declared), **values}
    shown, quiet = values.get("display_published"), values.get("skip_notify")
    run.show_published = shown if isinstance(shown, bool) else True
    run.quiet = tuple(map(str, quiet)) if isinstance(quiet, list) else ()
    run.notify = action.notify or (run.parent.node.notify if run.parent is not None else {})
    run.input = sealed(world, action, {name: value for name, value in values.items() if name not in _OF_THE_RUNNER})


def definition_of(action: PackAction) -> Definition:
    """The text of a chain in a pack. Raises `InvalidInput`."""
    if action.entry_point is None:
        raise InvalidInput(f"action {action.ref} names no file: its `entry_point` is missing", source=action.source)
    return Definition(text_of(action.entry_point), str(action.entry_point))


def only(action: PackAction) -> Chain:
    """One action as a chain of one task."""
    name = action.name
    return Chain({name: Node(name, action.ref)}, name, {}, action.source)
