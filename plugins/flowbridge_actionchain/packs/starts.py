"""How a workflow of a pack is started on the engine that runs it: with what its metadata makes of what was given.

Chains and single actions are bound by their own engine. The engine of a workflow knows nothing of metadata, so it is
applied before the start, wherever that comes from: the command line, a chain, or a workflow of another engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowbridge.backend import Definition, Given
from flowbridge.config import Config
from flowbridge.errors import InvalidInput
from flowbridge.vault import Vault, is_sealed
from flowbridge.yamltext import load
from flowbridge_actionchain.births import bound
from flowbridge_actionchain.context import Names
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.model import PackAction
from flowbridge_actionchain.services import Services, services_of


def binder(action: PackAction, definition: Definition, catalog: Catalog, config: Config) -> Callable[[Given], Given]:
    """What makes of what is given what the workflow of an action is started with."""

    def started(given: Given) -> Given:
        found = _with_metadata(action, given, catalog, config) if action.parameters else given
        return found._replace(workflow=_workflow(action, definition, found.workflow))

    return started


def _with_metadata(action: PackAction, given: Given, catalog: Catalog, config: Config) -> Given:
    """As StackStorm does it: what the runner's `context` holds is input too, below what was given by name, and every
    parameter that the metadata declares has a value, None where nobody gave one."""
    services = services_of(config, catalog, Vault(config.ledger.with_name("vault.key")))
    try:
        values = bound(services, action, given.input, _renderer(services, action))
    finally:
        services.templates.close()
    declared = [name for name, parameter in action.parameters.items() if not parameter.runner]
    own = {name: values.get(name) for name in declared if name not in _OF_THE_RUNNER}
    return Given(
        {**_context(action, values), **own},
        given.workflow or values.get("workflow") or "",
        given.env,
        given.task_name or values.get("task") or "",
        frozenset(name for name, value in own.items() if services.is_tainted(value)),
    )


_OF_THE_RUNNER = ("workflow", "task", "context", "skip_notify")


def _context(action: PackAction, values: Mapping[str, Any]) -> Mapping[str, Any]:
    found = values.get("context") or {}
    if not isinstance(found, Mapping) or is_sealed(found):
        raise InvalidInput(f"{action.ref}: the parameter 'context' must be an object, with no secret in it")
    return found


def _renderer(services: Services, action: PackAction) -> Callable[[Any, Mapping[str, Any]], Any]:
    def render(value: Any, others: Mapping[str, Any]) -> Any:
        parent = {"user": services.user, "pack": action.pack}
        return services.templates.render(
            value, Names(({"action_context": {"parent": parent}}, others), services, action.pack)
        )

    return render


def _workflow(action: PackAction, definition: Definition, wanted: str) -> str:
    """The workflow of a file to start.

    Of a workbook it is the one that is wanted, by its full name or its own, else the only one: StackStorm picks none of
    several, whatever they are called. Of any other file it is the one that is wanted, else the one that is named like
    the action, else (empty) the file's own default.
    """
    data = load(definition.text, definition.source).data
    if not isinstance(data, dict):
        return wanted
    inside = data.get("workflows")
    if not isinstance(inside, dict) or not isinstance(data.get("name"), str):
        return wanted or next((name for name in data if name in (action.ref, action.name)), "")
    full = [f"{data['name']}.{name}" for name in inside]
    last = wanted.rpartition(".")[2]
    if wanted and (last not in inside or wanted not in (last, f"{data['name']}.{last}", f"{action.ref}.{last}")):
        raise InvalidInput(
            f"{action.ref}: there is no workflow {wanted!r} in the workbook {definition.source}; it has: "
            f"{', '.join(full) or 'none'}"
        )
    if not wanted and len(full) > 1:
        raise InvalidInput(
            f"{action.ref}: the workbook {definition.source} has several workflows, and the action's parameter "
            f"'workflow' names none of them: give it, or its default in {action.source}; there is: {', '.join(full)}"
        )
    return f"{data['name']}.{last}" if wanted else next(iter(full), "")
