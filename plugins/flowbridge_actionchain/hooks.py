"""The catalog of packs as hooks of flowbridge. Nothing of it is imported or read before a name is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flowbridge.hookspecs import hookimpl

if TYPE_CHECKING:
    from flowbridge.backend import Target
    from flowbridge.catalog import CatalogEntry
    from flowbridge.config import Config


@hookimpl
def flowbridge_resolve(ref: str, config: Config) -> Target | None:
    """The action or workflow `pack.name`; None where there is no such pack."""
    pack, dot, name = ref.partition(".")
    if not (pack and dot and name) or "/" in ref:
        return None
    from flowbridge_actionchain.packs.targets import target_of  # noqa: PLC0415  most targets are files

    return target_of(ref, config)


@hookimpl
def flowbridge_catalog(config: Config) -> Iterable[CatalogEntry]:
    """Every action and workflow of the packs."""
    return _entries(config)


def _entries(config: Config) -> Iterator[CatalogEntry]:
    from flowbridge_actionchain.packs.targets import entries_of  # noqa: PLC0415  only to list or show

    yield from entries_of(config)
