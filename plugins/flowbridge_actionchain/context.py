"""What a template of a chain can name, and what is remembered from one task to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowbridge_actionchain.results import result_of
from flowbridge_actionchain.services import Services
from flowbridge_actionchain.state import Run, State
from flowbridge_actionchain.world import World

RESULTS = "__results"


class Names(Mapping[str, Any]):
    """Every name a template knows, the later of two meanings first; a pack's configuration is read when it is named."""

    def __init__(self, layers: tuple[Mapping[str, Any], ...], services: Services, pack: str) -> None:
        self._layers = layers
        self._services = services
        self._pack = pack

    def __getitem__(self, name: str) -> Any:
        if name == "config_context":
            return self._services.config(self._pack)
        for layer in self._layers:
            if name in layer:
                return layer[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys(name for layer in self._layers for name in layer)
        yield "config_context"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name == "config_context" or any(name in layer for layer in self._layers)


def names_of(world: World, run: Run) -> Names:
    """What the templates of a chain's tasks can name."""
    now = memory(world, run)
    own = {RESULTS: run.results, "action_context": {"parent": parent_context(world, run)}}
    return Names((own, now, run.results, world.opened(run)), world.services, run.pack)


def first_names(world: World, run: Run) -> Names:
    """What a chain's vars can name: its parameters."""
    return Names((world.opened(run),), world.services, run.pack)


def parent_context(world: World, run: Run) -> dict[str, Any]:
    """What StackStorm calls the context of an execution, as its tasks see it."""
    found: dict[str, Any] = {"execution_id": run.id, "user": world.services.user, "pack": run.pack or "default"}
    if run.parent is not None:
        found["parent"] = parent_context(world, run.parent.run)
    return found


def memory(world: World, run: Run) -> dict[str, Any]:
    """The variables of an execution as they are now. Built from what is written, the first time."""
    if run.now is None:
        run.now = dict(world.services.opened(dict(run.vars)))
        run.results = {}
        for task in run.tasks:
            run.now |= world.services.opened(dict(task.published or {}))
            if task.state in (State.SUCCEEDED, State.ERRORED):
                run.results[task.node.name] = result_of(task)
    return run.now


def remember(world: World, run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    """Take in variables. Gives them as they may be written: what holds a secret is sealed."""
    now = memory(world, run)
    now |= values
    return {name: world.services.sealed(value) for name, value in values.items()}


def forget(run: Run) -> None:
    """Have the memory built anew: tasks were taken back."""
    run.now = None
