"""What the core is told of an action: where it is started, and what there is to know of it."""

from __future__ import annotations

from collections.abc import Iterator

from flowbridge.backend import Definition, Target
from flowbridge.catalog import CatalogEntry
from flowbridge.config import Config
from flowbridge.errors import EngineRefused, InvalidInput
from flowbridge_actionchain.checks import require_sound
from flowbridge_actionchain.elsewhere import calls_elsewhere
from flowbridge_actionchain.packs.configured import catalog_of
from flowbridge_actionchain.packs.metadata import parameter_view, text_of
from flowbridge_actionchain.packs.model import Broken, PackAction
from flowbridge_actionchain.packs.runnertypes import CHAIN, ELSEWHERE, require_runnable
from flowbridge_actionchain.packs.starts import binder

#: The type of backend that runs chains and single actions.
CHAINS = "actionchain"

#: The type of backend that runs workflows where the configuration names no instance for them: the reference engine.
WORKFLOWS = "memory"


def target_of(ref: str, config: Config) -> Target | None:
    """Where `pack.name` is started; None where there is no such pack.

    Raises `NotFound` where the pack has no such action, `InvalidInput` where a file of it is broken, `EngineRefused`
    where it is disabled or of a runner type that is not run here.
    """
    catalog = catalog_of(config)
    if not catalog.has_pack(ref.partition(".")[0]):
        return None
    action = catalog.get(ref)
    require_runnable(action)
    odd: tuple[str, ...] = ()
    if action.runner_type == CHAIN and action.entry_point is not None:
        odd = require_sound(Definition(text_of(action.entry_point), str(action.entry_point)), catalog)
    if action.runner_type not in ELSEWHERE:
        links = calls_elsewhere(ref, catalog)
        return Target(None, ref, CHAINS, action.secrets, action.texts, links=links, warnings=odd)
    assert action.entry_point is not None  # noqa: S101  as was required
    definition = Definition(text_of(action.entry_point), str(action.entry_point))
    instance = config.catalog.workflows or WORKFLOWS
    return Target(
        definition, "", instance, action.secrets, action.texts, bind=binder(action, definition, catalog, config)
    )


def entry_of(ref: str, config: Config) -> list[CatalogEntry]:
    """The entry of one name, as `target_of` finds it; none where there is no such pack."""
    catalog = catalog_of(config)
    return [_entry(catalog.get(ref), config)] if catalog.has_pack(ref.partition(".")[0]) else []


def entries_of(config: Config) -> Iterator[CatalogEntry]:
    """An entry for everything in the packs, what is broken too."""
    for one in catalog_of(config):
        yield (
            CatalogEntry(one.ref, source=one.source, problem=one.problem)
            if isinstance(one, Broken)
            else _entry(one, config)
        )


def _entry(action: PackAction, config: Config) -> CatalogEntry:
    elsewhere = action.runner_type in ELSEWHERE
    try:
        require_runnable(action)
        problem = ""
    except (EngineRefused, InvalidInput) as error:
        problem = error.message
    return CatalogEntry(
        action.ref,
        action.runner_type,
        action.description.strip(),
        "" if problem else (config.catalog.workflows or WORKFLOWS) if elsewhere else CHAINS,
        action.source,
        {name: parameter_view(parameter) for name, parameter in action.parameters.items()},
        problem,
    )
